// Package apidoc has no code: its tests hold what go doc shows of the exported packages against
// what is there.
package apidoc

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// packages are those that are made for others. Besides, there are those with the objects that come
// with xdp-load.
var packages = []string{"loader", "nic", "rewrite", "reloc", "accessor", "verify", "meta"}

// withoutExample are functions that none could call to an end that is told in a few lines.
var withoutExample = map[string]string{
	"loader.NewWatch":  "it is for package verify, with an object of two programs that only that has",
	"verify.Accessors": "it takes the types of a kernel, as its tests have them",
	"verify.Run":       "it waits for the traffic of a NIC",
}

// exported is a package as go doc shows it, and what its tests say.
type exported struct {
	name  string
	doc   *doc.Package
	tests string // the text of the test files
}

func read(t *testing.T, name string) *exported {
	t.Helper()

	files, err := filepath.Glob(filepath.Join("../..", name, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no files, %v", name, err)
	}
	p := &exported{name: name}
	fset := token.NewFileSet()
	var parsed []*ast.File
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, "_test.go") {
			p.tests += string(text)
		}
		syntax, err := parser.ParseFile(fset, file, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, syntax)
	}
	if p.doc, err = doc.NewFromFiles(fset, parsed, "github.com/xdp-load/xdp-load/"+name); err != nil {
		t.Fatal(err)
	}
	return p
}

// functions returns those that are not methods, constructors included.
func (p *exported) functions() []*doc.Func {
	all := p.doc.Funcs
	for _, typ := range p.doc.Types {
		all = append(all, typ.Funcs...)
	}
	return all
}

// docs returns the comments of everything exported, by name.
func (p *exported) docs() map[string]string {
	docs := map[string]string{"the package": p.doc.Doc}
	for _, f := range p.functions() {
		docs[f.Name] = f.Doc
	}
	values := append(p.doc.Vars, p.doc.Consts...)
	for _, typ := range p.doc.Types {
		docs[typ.Name] = typ.Doc
		for _, m := range typ.Methods {
			if ast.IsExported(m.Name) {
				docs[typ.Name+"."+m.Name] = m.Doc
			}
		}
		values = append(append(values, typ.Vars...), typ.Consts...)
	}
	for _, group := range values {
		for _, spec := range group.Decl.Specs {
			value := spec.(*ast.ValueSpec)
			for _, name := range value.Names {
				if ast.IsExported(name.Name) {
					docs[name.Name] = group.Doc + value.Doc.Text() + value.Comment.Text()
				}
			}
		}
	}
	return docs
}

// sentinels returns the names of the errors to be looked for with errors.Is.
func (p *exported) sentinels() (names []string) {
	for name := range p.docs() {
		if strings.HasPrefix(name, "Err") && p.isVariable(name) {
			names = append(names, name)
		}
	}
	return names
}

func (p *exported) isVariable(name string) bool {
	for _, group := range p.doc.Vars {
		for _, declared := range group.Names {
			if declared == name {
				return true
			}
		}
	}
	return false
}

// Every function has an example, of the library's packages at least.
func TestExamples(t *testing.T) {
	for _, name := range packages {
		p := read(t, name)
		for _, f := range p.functions() {
			reason, isExempt := withoutExample[name+"."+f.Name]
			switch {
			case len(f.Examples) == 0 && !isExempt:
				t.Errorf("%s.%s has no example", name, f.Name)
			case len(f.Examples) > 0 && isExempt:
				t.Errorf("%s.%s has an example: not %s?", name, f.Name, reason)
			}
			for _, example := range f.Examples {
				if example.Output == "" {
					t.Errorf("%s.%s: its example %s is never run: it has no output", name, f.Name, example.Name)
				}
			}
		}
	}
}

// Everything exported says what it is.
func TestDocumented(t *testing.T) {
	for _, name := range packages {
		for what, text := range read(t, name).docs() {
			if strings.TrimSpace(text) == "" && !isOfInterface(what) {
				t.Errorf("%s.%s is not documented", name, what)
			}
		}
	}
}

// isOfInterface reports whether a method is one that everybody knows.
func isOfInterface(name string) bool {
	for _, method := range []string{".Error", ".Unwrap", ".String", ".MarshalJSON", ".MarshalText"} {
		if strings.HasSuffix(name, method) {
			return true
		}
	}
	return false
}

// Each sentinel is told of by what returns it, and is looked for in a test.
func TestSentinels(t *testing.T) {
	all, tests := make(map[string]*exported), ""
	for _, name := range packages {
		all[name] = read(t, name)
		tests += all[name].tests
	}
	for name, p := range all {
		for _, sentinel := range p.sentinels() {
			if !p.tells(sentinel) {
				t.Errorf("%s.%s: the comment of no function or type tells of it", name, sentinel)
			}
			unqualified := regexp.MustCompile(`[^.\w]` + sentinel + `\b`)
			if !strings.Contains(tests, name+"."+sentinel) && !unqualified.MatchString(p.tests) {
				t.Errorf("%s.%s: no test wants it", name, sentinel)
			}
		}
	}
}

// tells reports whether a comment that is not the sentinel's own names it.
func (p *exported) tells(sentinel string) bool {
	named := regexp.MustCompile(`\b` + sentinel + `\b`)
	for what, text := range p.docs() {
		if what != sentinel && named.MatchString(text) {
			return true
		}
	}
	return false
}

// The errors that a comment names are there.
func TestErrorsInComments(t *testing.T) {
	known := make(map[string]map[string]string) // docs by package
	for _, name := range packages {
		known[name] = read(t, name).docs()
	}
	named := regexp.MustCompile(`(\w+\.)?\b(Err[A-Z]\w*|\w+Error)\b`)
	for _, name := range packages {
		for what, text := range known[name] {
			for _, match := range named.FindAllStringSubmatch(text, -1) {
				in := strings.TrimSuffix(match[1], ".")
				if in == "" {
					in = name
				}
				docs, isOurs := known[in]
				if _, isThere := docs[match[2]]; isOurs && !isThere {
					t.Errorf("%s.%s names %s, which is not there", name, what, match[0])
				}
			}
		}
	}
}
