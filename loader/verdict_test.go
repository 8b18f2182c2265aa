package loader

import (
	"strings"
	"testing"
)

// What the kernel writes, by version where it matters.
func TestSplitLog(t *testing.T) {
	for name, test := range map[string]struct {
		log        string
		slot       int
		located    bool
		reason     string
		suggestion string
	}{
		"call": {`0: R1=ctx() R10=fp0
; a line @ prog.c:3
12: (85) call unknown#195896080
invalid func unknown#195896080
processed 13 insns (limit 1000000)`, 12, true, "invalid func unknown#195896080", ""},

		"two lines": {`7: (61) r0 = *(u32 *)(r1 +8)
invalid access to packet, off=8 size=4, R1(id=0,off=8,r=0)
R1 offset is outside of the packet
processed 7 insns (limit 1000000)`, 7, true, "invalid access to packet, off=8 size=4, R1(id=0,off=8,r=0): R1 offset is outside of the packet", ""},

		"register, with statistics": {`7: (61) r0 = *(u32 *)(r1 +8)
R1 invalid mem access 'scalar'
verification time 31 usec
stack depth 0
processed 7 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0`, 7, true, "R1 invalid mem access 'scalar'", ""},

		"7.3: statistics": {`7: (61) r0 = *(u32 *)(r1 +8)
R1 invalid mem access 'scalar'
verification time 31 usec
stack depth max 16
subprog 0 (prog) main insns_self 8 insns_total 8 stack 16
processed 7 insns (limit 1000000)`, 7, true, "R1 invalid mem access 'scalar'", ""},

		"control flow": {`unreachable insn 7
processed 0 insns (limit 1000000)`, 7, true, "unreachable insn 7", ""},

		"before any instruction": {`missing btf func_info
processed 0 insns (limit 1000000)`, 0, false, "missing btf func_info", ""},

		"6.18: endless loop": {`10: (bf) r1 = r1                      ; frame1: R1=scalar(id=1)
; while (n) @ prog.c:13
11: (55) if r1 != 0x0 goto pc-2       ; frame1: R1=scalar(id=1)
; asm volatile("" : "+r"(n)); @ prog.c:14
10: (bf) r1 = r1
; while (n) @ prog.c:13
infinite loop detected at insn 11
cur state: frame1: R1=scalar(id=1) R10=fp0
old state: frame1: R1=Pscalar(id=1) R10=fp0
processed 19 insns (limit 1000000)`, 11, true, "infinite loop detected at insn 11", ""},

		"too large": {`2: (85) call bpf_get_prandom_u32#7    ; R0=scalar()
3: (0c) w0 += w7
BPF program is too large. Processed 1000001 insn
processed 1000001 insns (limit 1000000)`, 3, true, "BPF program is too large. Processed 1000001 insn", ""},

		"global function": {`0: (85) call pc+1
R1 type=ctx expected=fp
Caller passes invalid args into func#1 ('f')
processed 1 insns (limit 1000000)`, 0, true, "R1 type=ctx expected=fp: Caller passes invalid args into func#1 ('f')", ""},

		"states behind the instruction": {`5: (85) call pc+2
caller:
 R6=ctx() R10=fp0
callee:
 frame1: R1=ctx() R10=fp0
the combined stack size of 2 calls is 704. Too large
processed 30 insns (limit 1000000)`, 5, true, "the combined stack size of 2 calls is 704. Too large", ""},

		"precision": {`9: (07) r1 += 8
mark_precise: frame0: last_idx 9 first_idx 4 subseq_idx -1 
mark_precise: frame0: regs=r1 stack= before 8: (b7) r1 = 4
mark_precise: frame0: parent state regs= stack=:  R1=P4 R10=fp0
value 8 makes pkt pointer be out of bounds
processed 9 insns (limit 1000000)`, 9, true, "value 8 makes pkt pointer be out of bounds", ""},

		"5.10: precision, states with names of their own": {`9: (07) r1 += 8
 R0=inv(id=0) R1_w=pkt(id=0,off=8,r=0,imm=0) R10=fp0
last_idx 9 first_idx 4
regs=2 stack=0 before 8: (b7) r1 = 4
parent didn't have regs=2 stack=0 marks
R1 invalid mem access 'inv'
processed 9 insns (limit 1000000)`, 9, true, "R1 invalid mem access 'inv'", ""},

		"7.3: report": {`0: (61) r1 = *(u32 *)(r1 +0)          ; R1=pkt(r=0)
1: (71) r0 = *(u8 *)(r1 +20)
invalid access to packet, off=20 size=1, R1(id=0,off=20,r=0)
R1 min value is outside of the allowed memory range

Verification failed: Memory Safety: Access outside bounds

Reason:
  The verifier cannot prove offset + access_size <= object_size. Here, the minimal bound for a
  memory access is 20 and is outside of the object of size 0.

At:
  prog @ prog.c:62:84
  Source context:
      61 | ...
  >>> 62 |         return p[20];
         |         ^-- error: access may be outside object bounds
  Instruction context:
      0 | (61) r1 = *(u32 *)(r1 +0)
  >>> 1 | (71) r0 = *(u8 *)(r1 +20)
      2 | (64) w0 <<= 24

Suggestion:
  Add or adjust a bounds check that proves offset + access_size
  stays within the object.

processed 2 insns (limit 1000000)`, 1, true,
			"invalid access to packet, off=20 size=1, R1(id=0,off=20,r=0): R1 min value is outside of the allowed memory range",
			"Add or adjust a bounds check that proves offset + access_size stays within the object."},

		"7.3: report within the verdict": {`11: (95) exit
Unreleased reference id=2 alloc_insn=4

Verification failed: Resource Lifetime Safety: Unreleased resource

Reason:
  Owned resource (id=2) was acquired at instruction 4.

Suggestion:
  Release or transfer ownership.

BPF_EXIT instruction in main prog would lead to reference leak
processed 11 insns (limit 1000000)`, 11, true, "Unreleased reference id=2 alloc_insn=4", "Release or transfer ownership."},

		"unknown block": {`1: (71) r0 = *(u8 *)(r1 +20)
R1 invalid mem access 'scalar'

hint 9: see R1=pkt() above
insn 3 is where it came from
processed 2 insns (limit 1000000)
more to come`, 1, true, "R1 invalid mem access 'scalar'", ""},

		"unknown lines right behind": {`1: (71) r0 = *(u8 *)(r1 +20)
R1 invalid mem access 'scalar'
one
two
three
processed 2 insns (limit 1000000)`, 1, true, "R1 invalid mem access 'scalar': one: two", ""},

		"no verdict": {`1: (71) r0 = *(u8 *)(r1 +20)
processed 2 insns (limit 1000000)`, 1, true, "", ""},

		"nothing": {"", 0, false, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			log := splitLog(strings.Split(test.log, "\n"))
			if got := log.reason(); got != test.reason {
				t.Errorf("Reason %q instead of %q", got, test.reason)
			}
			if got := log.suggestion(); got != test.suggestion {
				t.Errorf("Suggestion %q instead of %q", got, test.suggestion)
			}
			slot, located := log.instruction()
			if slot != test.slot || located != test.located {
				t.Errorf("Instruction %d, %v instead of %d, %v", slot, located, test.slot, test.located)
			}
		})
	}
}
