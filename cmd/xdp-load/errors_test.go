package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// docs/errors.md has every message that the command prints as an error: what a command
// in a console block prints, which TestDocs runs, or a row of a table. In a row "…"
// stands for what differs.
const errorsDoc = "../../docs/errors.md"

const (
	top    = "../.."
	module = "github.com/xdp-load/xdp-load/"
)

// behind are messages that stand behind another, as the reason for it, and are not in
// docs/errors.md: the other one is, and says what to do. They are given by their files, or
// by packages, and by what they start with.
var behind = []struct {
	told string   // the message that they stand behind
	in   []string // where they are made
	why  string
}{
	{"damaged ELF file: ", []string{"internal/elfobj/elfobj.go"}, "what is wrong with a damaged file"},
	{": compile the object again from its source", []string{"internal/btfraw", "internal/insn", "reloc/access.go", "reloc/path.go"}, "what is wrong with a damaged record, or type"},
	{"the parts of the object do not fit together: ", []string{"internal/code", "internal/elfobj"}, "what contradicts what"},
	{"the function is not understood: ", []string{"internal/flow", "rewrite/body.go"}, "what is not understood of a function"},
	{"damaged mark of what it was rewritten for: ", []string{"rewrite/mark.go"}, "what is wrong with it"},
	{"accessors …: …: ", []string{"accessor/object.go", "internal/link", "rewrite/drivers.go"}, "what an object of accessors has that clang did not make"},
	{"damaged ELF file: ", []string{"nic/types.go"}, "what is wrong with a layout's file"},
}

// never are messages that nobody gets, with the reason.
var never = map[string]string{
	"the kernel does not number its programs":                              "all that have links do",
	"a link of type %T":                                                    "links of XDP programs have the method",
	"a metadata area of %d bytes comes back, in front of %d":               "the kernel's test run gives back what it has",
	"%d answers instead of one":                                            "that is what the kernel answers",
	"message of %d bytes is no struct ifinfomsg":                           "the kernel's messages are",
	"observation of %d bytes instead of %d":                                "our own program writes them",
	"map %s: the object has no program %v to put into slot %v":             "cilium/ebpf refuses such an object when it reads it",
	"reference to %s":                                                      "it is only the reason to load with cilium/ebpf",
	"no source of its fields":                                              "it is a name for errors.Is, of an error that says more",
	"features of drivers are unknown to this kernel":                       "it is for errors.Is",
	"types are nested too deeply to copy":                                  "it says that a copy has no convertible parts",
	"ambiguous layout":                                                     "it is for errors.Is",
	"layout %s: type %d is no function":                                    "only functions are asked for",
	"%s of %d bytes has no shift":                                          "package rewrite has said before that there is none",
	"the bit-field %s crosses an 8-byte boundary: no single load reads it": "package rewrite says it of the macro",
	"layout %s: base: %w":                                                  "the base was read before",
	"layout %s: type %d: %w":                                               "cilium/ebpf has read the types before",
	"no pointer":                                                           "a map of that declaration is told by cilium/ebpf",
	"no pointer to an array":                                               "a map of that declaration is told by cilium/ebpf",
}

// unmade are rows of docs/errors.md of which no test wants words of their own, with the
// reason. Once one does, the row has to go from here.
var unmade = map[string]string{
	`the instruction … accesses the field …, whose offset is kept where nothing tells what becomes of it`: "programs that would have it are refused for something else before, see TestStrangeOffsetBehindCall of package rewrite",
}

// message is the format of a message, at a place in the code.
type message struct {
	place, format string
}

// Every message in the code is in docs/errors.md.
func TestErrorsAreTold(t *testing.T) {
	told := strings.Join(slices.Concat(toldRows(t), consoleBlock.FindAllString(readText(t, errorsDoc), -1)), "\n")
	for _, b := range behind {
		if !pattern(strings.ReplaceAll(b.told, "…", "%s")).MatchString(told) {
			t.Errorf("docs/errors.md does not tell of %q, behind which are those of %s", b.told, b.in)
		}
	}
	count, seen := 0, make(map[string]bool)
	for _, dir := range commandPackages(t) {
		for _, m := range messages(t, dir) {
			count, seen[m.format] = count+1, true
			if !onlyWraps(m.format) && never[m.format] == "" && !standsBehind(m.place) && !pattern(m.format).MatchString(told) {
				t.Errorf("%s: docs/errors.md does not tell of\n\t%s\nadd a command that prints it to a console block (go test ./cmd/xdp-load -run Docs -update fills it in), "+
					"or where no command can, a row with\n\t`%s`\nand a test that makes it", m.place, m.format, formatVerb.ReplaceAllString(m.format, "…"))
			}
		}
	}
	for format := range never {
		if !seen[format] {
			t.Errorf("no code has this message: delete it from never\n\t%s", format)
		}
	}
	if count < 500 {
		t.Errorf("only %d messages found in the code", count)
	}
}

// standsBehind reports whether the message at a place stands behind another.
func standsBehind(place string) bool {
	for _, b := range behind {
		for _, in := range b.in {
			if strings.HasPrefix(place, in+":") || strings.HasPrefix(place, in+"/") {
				return true
			}
		}
	}
	return false
}

// Every row of docs/errors.md is a message that a test wants: in a string there are some
// words of it that no other message has.
func TestToldErrorsAreMade(t *testing.T) {
	rows := toldRows(t)
	if len(rows) < 50 {
		t.Errorf("only %d rows", len(rows))
	}
	made := madeRows(rows, wantedTexts(t))
	for i, row := range rows {
		switch reason := unmade[row]; {
		case !made[i] && reason == "":
			t.Errorf("no test wants this message, which docs/errors.md tells of: add one that makes it, with its words in a string, or delete the row\n\t%s", row)
		case made[i] && reason != "":
			t.Errorf("a test wants this message by now: delete it from unmade\n\t%s", row)
		}
	}
	for row := range unmade {
		if !slices.Contains(rows, row) {
			t.Errorf("docs/errors.md does not have this row: delete it from unmade\n\t%s", row)
		}
	}
}

// madeRows reports which rows are in a text as a whole, or have words there that are in
// no other row.
func madeRows(rows, texts []string) []bool {
	const someWords = 20                   // characters
	words := make(map[string]int)          // and the row that has them, -1 if several have
	sizes := map[int]bool{someWords: true} // less in rows where names are close
	for i, row := range rows {
		for _, part := range partsOf(row, someWords) {
			sizes[len(part)] = true
			if of, found := words[part]; found && of != i {
				words[part] = -1
			} else {
				words[part] = i
			}
		}
	}
	made := make([]bool, len(rows))
	for i, row := range rows {
		made[i] = slices.ContainsFunc(texts, pattern(strings.ReplaceAll(row, "…", "%s")).MatchString)
	}
	for _, text := range texts {
		for size := range sizes {
			for at := 0; at+size <= len(text); at++ {
				if of, found := words[text[at:at+size]]; found && of >= 0 {
					made[of] = true
				}
			}
		}
	}
	return made
}

// partsOf returns all parts of so many characters of what is fixed in a row; if nothing
// is as long, the longest of the fixed parts.
func partsOf(row string, size int) (parts []string) {
	longest := ""
	for _, fixed := range strings.Split(row, "…") {
		if len(fixed) > len(longest) {
			longest = fixed
		}
		for at := 0; at+size <= len(fixed); at++ {
			parts = append(parts, fixed[at:at+size])
		}
	}
	if len(parts) == 0 {
		parts = append(parts, strings.TrimSpace(longest))
	}
	return parts
}

var (
	formatVerb = regexp.MustCompile(`%(\[\d\])?[#.\d]*[a-zA-Z]`)
	words      = regexp.MustCompile(`[A-Za-z]`)
	tableRow   = regexp.MustCompile("(?m)^\\| `(.+?)` \\|")
)

// pattern matches what a format can become, on one line, from its first word to its last.
func pattern(format string) *regexp.Regexp {
	fixed := formatVerb.Split(format, -1)
	for len(fixed) > 1 && !words.MatchString(fixed[0]) {
		fixed = fixed[1:]
	}
	for len(fixed) > 1 && !words.MatchString(fixed[len(fixed)-1]) {
		fixed = fixed[:len(fixed)-1]
	}
	const between = ":;, "
	fixed[0] = strings.TrimLeft(fixed[0], between)
	fixed[len(fixed)-1] = strings.TrimRight(fixed[len(fixed)-1], between)
	for i := range fixed {
		fixed[i] = regexp.QuoteMeta(strings.ReplaceAll(fixed[i], "%%", "%"))
	}
	return regexp.MustCompile(strings.Join(fixed, ".+?"))
}

// onlyWraps reports whether a format has no words of its own but for what was being
// done: another message follows, and says what was wrong.
func onlyWraps(format string) bool {
	context := strings.TrimSuffix(strings.TrimSuffix(format, "%w"), "%v")
	if context == format {
		return !words.MatchString(formatVerb.ReplaceAllString(format, ""))
	}
	context = formatVerb.ReplaceAllString(strings.TrimSuffix(context, ": "), "…")
	for strings.HasPrefix(context, "…: ") {
		context = strings.TrimPrefix(context, "…: ")
	}
	return !strings.Contains(context, ", ") && !strings.Contains(context, ": ")
}

// toldRows are the messages in the tables of docs/errors.md.
func toldRows(t *testing.T) (rows []string) {
	for _, row := range tableRow.FindAllStringSubmatch(readText(t, errorsDoc), -1) {
		rows = append(rows, row[1])
	}
	return rows
}

// wantedTexts are the strings in the tests and what scripts and documents show, which
// are compared with what is printed, and the reasons in the comments of the C programs.
func wantedTexts(t *testing.T) (texts []string) {
	for _, path := range filesBelow(t, top, "_test.go") {
		if filepath.Base(path) != "errors_test.go" {
			ast.Inspect(parseFile(t, path, 0), func(node ast.Node) bool {
				if text, ok := node.(*ast.BasicLit); ok && text.Kind == token.STRING {
					texts = append(texts, unquoted(text))
				}
				return true
			})
		}
	}
	unescaped := strings.NewReplacer(`''`, `'`, `\d+`, `1`, `\w+`, `w`, `\`, ``)
	for _, path := range filesBelow(t, "testdata/script", ".txtar") {
		texts = append(texts, unescaped.Replace(readText(t, path)))
	}
	texts = append(texts, readText(t, filepath.Join(top, "packaging/windows.txt"))) // which make try-windows compares
	for _, path := range filesBelow(t, filepath.Join(top, "docs"), ".md") {
		texts = append(texts, consoleBlock.FindAllString(readText(t, path), -1)...)
	}
	for _, path := range filesBelow(t, filepath.Join(top, "testdata"), ".c") {
		for _, comment := range regexp.MustCompile(`/\* refused.*?: (.*) \*/`).FindAllStringSubmatch(readText(t, path), -1) {
			texts = append(texts, comment[1])
		}
	}
	return texts
}

// commandPackages are the directories of the module's packages that the command is
// made of.
func commandPackages(t *testing.T) []string {
	const command = "cmd/xdp-load"
	seen := map[string]bool{command: true}
	for queue := []string{command}; len(queue) > 0; queue = queue[1:] {
		for _, file := range goFiles(t, queue[0]) {
			for _, imported := range parseFile(t, file, parser.ImportsOnly).Imports {
				dir, ours := strings.CutPrefix(unquoted(imported.Path), module)
				if ours && !seen[dir] {
					seen[dir] = true
					queue = append(queue, dir)
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// goFiles are the files of a package without its tests.
func goFiles(t *testing.T, dir string) []string {
	files, err := filepath.Glob(filepath.Join(top, dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal(dir, err)
	}
	return slices.DeleteFunc(files, func(file string) bool { return strings.HasSuffix(file, "_test.go") })
}

// formatArgument says which argument of a function is the format of a message.
var formatArgument = map[string]int{"fmt.Errorf": 0, "errors.New": 0, "usagef": 0, "refuse.Because": 1}

// messages returns those that a package makes.
func messages(t *testing.T, dir string) (found []message) {
	constants := make(map[string]ast.Expr)
	var files []*ast.File
	for _, path := range goFiles(t, dir) {
		file := parseFile(t, path, 0)
		files = append(files, file)
		ast.Inspect(file, func(node ast.Node) bool {
			if spec, ok := node.(*ast.ValueSpec); ok && len(spec.Names) == len(spec.Values) {
				for i, name := range spec.Names {
					constants[name.Name] = spec.Values[i]
				}
			}
			return true
		})
	}
	for _, file := range files {
		ast.Inspect(file, func(node ast.Node) bool {
			at, isMessage := 0, false
			call, isCall := node.(*ast.CallExpr)
			if isCall {
				at, isMessage = formatArgument[called(call.Fun)]
			}
			if field, ok := node.(*ast.KeyValueExpr); ok && called(field.Key) == "Reason" { // of a refusal
				call, isMessage = field.Value.(*ast.CallExpr)
				isMessage = isMessage && called(call.Fun) == "fmt.Sprintf"
			}
			if !isMessage {
				return true
			}
			format := textOf(call.Args[at], constants)
			if len(call.Args) > at+1 { // a literal that is put into the format
				if inner, ok := call.Args[at+1].(*ast.BasicLit); ok && inner.Kind == token.STRING {
					format = strings.Replace(format, "%s", unquoted(inner), 1)
				}
			}
			place := parsed.Position(call.Pos())
			found = append(found, message{strings.TrimPrefix(place.String(), top+"/"), format})
			return true
		})
	}
	return found
}

// called returns the name of a function as it is written in a call.
func called(function ast.Expr) string {
	switch function := function.(type) {
	case *ast.Ident:
		return function.Name
	case *ast.SelectorExpr:
		if from, ok := function.X.(*ast.Ident); ok {
			return from.Name + "." + function.Sel.Name
		}
	}
	return ""
}

// textOf returns the text of an expression, with a verb for what is known only when it
// runs.
func textOf(expr ast.Expr, constants map[string]ast.Expr) string {
	switch expr := expr.(type) {
	case *ast.BasicLit:
		return unquoted(expr)
	case *ast.BinaryExpr:
		return textOf(expr.X, constants) + textOf(expr.Y, constants)
	case *ast.Ident:
		if value, ok := constants[expr.Name]; ok {
			return textOf(value, nil)
		}
	}
	return "%s"
}

func unquoted(text *ast.BasicLit) string {
	unquoted, _ := strconv.Unquote(text.Value) // the parser has read it
	return unquoted
}

var parsed = token.NewFileSet()

func parseFile(t *testing.T, path string, mode parser.Mode) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(parsed, path, nil, mode)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// filesBelow returns the files in a directory and those in it whose names end so.
func filesBelow(t *testing.T, dir, end string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, end) {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatal(dir, end, err)
	}
	return files
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
