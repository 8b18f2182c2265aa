package rewrite_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/rewrite"
)

// stackFunction is a function of a test program: how deep it uses the stack,
// what it calls, or has a helper call, and whether it has an access that takes
// a register more than there are.
type stackFunction struct {
	name    string
	depth   int
	calls   []string
	takes   []string // the address of
	crowded bool
}

const stackSource = `#include "cost.h"
struct md_0 { __u32 number; %s; } %s;

#define AT(depth) asm volatile("*(u64 *)(r10 - " #depth ") = %%0" : : "r"(0ULL) : "memory")

/* A value in every register but the one with md. */
#define CROWDED(md) ({								\
	__u64 a, b, c, d, e, f, g, h, i;					\
	asm volatile("%%0 = 1; %%1 = 2; %%2 = 3; %%3 = 4; %%4 = 5; %%5 = 6; %%6 = 7; %%7 = 8; %%8 = 9"	\
		     : "=r"(a), "=r"(b), "=r"(c), "=r"(d), "=r"(e),		\
		       "=r"(f), "=r"(g), "=r"(h), "=r"(i));			\
	md->crowded = a;							\
	asm volatile("%%0 += %%1; %%0 += %%2; %%0 += %%3; %%0 += %%4; %%0 += %%5; %%0 += %%6; %%0 += %%7; %%0 += %%8"	\
		     : "+r"(a)							\
		     : "r"(b), "r"(c), "r"(d), "r"(e), "r"(f), "r"(g), "r"(h), "r"(i));	\
	out_unsigned = a;							\
})
#define TAKE(f) bpf_loop(1, f, 0, 0)
#define CALL(f) out_signed += f(md)

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} progs SEC(".maps");
`

// stackObject compiles a program of some functions, of which the last is the
// program.
func stackObject(t *testing.T, functions []stackFunction) []byte {
	t.Helper()
	var c strings.Builder
	fmt.Fprintf(&c, stackSource, "__u32 crowded", "__attribute__((preserve_access_index))")
	head := func(f stackFunction) string {
		return fmt.Sprintf("static __attribute__((noinline)) long %s(struct md_0 *md)", f.name)
	}
	for _, f := range functions[:len(functions)-1] {
		fmt.Fprintf(&c, "%s;\n", head(f))
	}
	for i, f := range functions {
		var body strings.Builder
		body.WriteString("asm volatile(\"\"); ")
		if f.depth > 0 {
			fmt.Fprintf(&body, "AT(%d); ", f.depth)
		}
		for _, callee := range f.calls {
			fmt.Fprintf(&body, "CALL(%s); ", callee)
		}
		if f.name == "tail" {
			body.WriteString("bpf_tail_call((void *)md, &progs, 0); ")
		}
		for _, callee := range f.takes {
			fmt.Fprintf(&body, "TAKE(%s); ", callee)
		}
		if f.crowded {
			body.WriteString("CROWDED(md); ")
		}
		if i == len(functions)-1 {
			fmt.Fprintf(&c, "PROGRAM(%s, struct md_0, %s)\n", f.name, body.String())
		} else {
			fmt.Fprintf(&c, "%s { %sreturn 0; }\n", head(f), body.String())
		}
	}
	return costCompile(t, "clang-19", c.String(), "el", "v3")
}

// The stack is shared by all functions that are called at a time. A register is
// only spilled where that leaves it room, with what was spilled in the others.
func TestSpillsFitTheStack(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-19")
	layout := parseLayout(t, "stack-el", costCompile(t, "clang-19", fmt.Sprintf(stackSource, "__u32 crowded : 9", "layout"), "el", "v3"))
	for name, test := range map[string]struct {
		functions []stackFunction
		refused   []string // functions with an access that is
		unloaded  bool     // the kernel would not take it anyway
	}{
		"alone, room": {
			functions: []stackFunction{{"prog", 504, nil, nil, true}},
		},
		"alone, full": {
			functions: []stackFunction{{"prog", 512, nil, nil, true}},
			refused:   []string{"prog"},
		},
		"the caller has it": {
			functions: []stackFunction{{"sub", 256, nil, nil, true}, {"prog", 256, []string{"sub"}, nil, false}},
			refused:   []string{"sub"},
		},
		"the called one has it": {
			functions: []stackFunction{{"sub", 256, nil, nil, false}, {"prog", 256, []string{"sub"}, nil, true}},
			refused:   []string{"prog"},
		},
		"both fit": {
			functions: []stackFunction{{"sub", 256, nil, nil, true}, {"prog", 216, []string{"sub"}, nil, true}},
		},
		"one after the other": {
			functions: []stackFunction{{"one", 480, nil, nil, false}, {"two", 472, nil, nil, true}, {"prog", 8, []string{"one", "two"}, nil, true}},
		},
		"one of the spills fits": {
			functions: []stackFunction{{"sub", 256, nil, nil, true}, {"prog", 224, []string{"sub"}, nil, true}},
			refused:   []string{"prog"}, // which comes after sub in the object
		},
		"a small frame takes 32 bytes": {
			functions: []stackFunction{{"leaf", 8, nil, nil, false}, {"sub", 448, []string{"leaf"}, nil, true}, {"prog", 8, []string{"sub"}, nil, false}},
			refused:   []string{"sub"},
		},
		"no frame, too": {
			functions: []stackFunction{{"leaf", 0, nil, nil, false}, {"sub", 448, []string{"leaf"}, nil, true}, {"prog", 0, []string{"sub"}, nil, false}},
			refused:   []string{"sub"},
		},
		"in the middle of the chain": {
			functions: []stackFunction{{"leaf", 160, nil, nil, false}, {"sub", 160, []string{"leaf"}, nil, true}, {"prog", 160, []string{"sub"}, nil, false}},
		},
		"in the middle of the chain, too deep": {
			functions: []stackFunction{{"leaf", 160, nil, nil, false}, {"sub", 192, []string{"leaf"}, nil, true}, {"prog", 160, []string{"sub"}, nil, false}},
			refused:   []string{"sub"},
		},
		"of two callers one is deep": {
			functions: []stackFunction{{"leaf", 192, nil, nil, true}, {"deep", 256, []string{"leaf"}, nil, false}, {"prog", 64, []string{"leaf", "deep"}, nil, true}},
			refused:   []string{"leaf", "prog"},
		},
		"above a tail call": {
			functions: []stackFunction{{"tail", 8, nil, nil, false}, {"prog", 216, []string{"tail"}, nil, true}},
			unloaded:  true, // without the ctx
		},
		"above a tail call, too deep": {
			functions: []stackFunction{{"tail", 8, nil, nil, false}, {"prog", 256, []string{"tail"}, nil, true}},
			refused:   []string{"prog"},
		},
		"a callback": {
			functions: []stackFunction{{"back", 256, nil, nil, false}, {"prog", 256, nil, []string{"back"}, true}},
			refused:   []string{"prog"},
		},
		"a callback, room": {
			functions: []stackFunction{{"back", 256, nil, nil, false}, {"prog", 200, nil, []string{"back"}, true}},
		},
		"a callback that is its own": { // as a timer's may be
			functions: []stackFunction{{"back", 200, nil, []string{"back"}, false}, {"prog", 200, nil, []string{"back"}, true}},
			unloaded:  true,
		},
		"in a circle, room": {
			functions: []stackFunction{{"arm", 64, nil, []string{"back"}, true}, {"back", 64, []string{"arm"}, nil, true}, {"prog", 200, []string{"arm"}, nil, true}},
			unloaded:  true,
		},
		"in a circle": {
			functions: []stackFunction{{"arm", 160, nil, []string{"back"}, false}, {"leaf", 96, nil, nil, true}, {"back", 64, []string{"arm", "leaf"}, nil, false}, {"prog", 192, []string{"arm"}, nil, true}},
			refused:   []string{"leaf", "prog"},
			unloaded:  true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			object := stackObject(t, test.functions)
			out, _, err := rewrite.Rewrite(object, layout, rewrite.Options{Types: []string{"md_*"}})
			var refused *rewrite.RefusedError
			var names []string
			if errors.As(err, &refused) {
				for _, refusal := range refused.Refusals {
					names = append(names, refusal.Access.Program)
					if !strings.Contains(refusal.Reason, "room on the stack") {
						t.Error(refusal.String())
					}
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if slices.Sort(names); !slices.Equal(names, test.refused) {
				t.Errorf("refused in %v, want %v", names, test.refused)
			}
			if err == nil && !test.unloaded {
				kernelLoad(t, out)
			}
		})
	}
}
