package main

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

const schemaFile = "../../docs/schema.json"

// outputs are what commands print as JSON, by the command; loads of several interfaces print
// arrays. On stderr is a line of stderrLines for each error, warning, or line of the log.
var outputs = map[string][]any{
	"load":    {loaded{}, []loaded{}, planned{}, []planned{}},
	"reload":  {loaded{}, []loaded{}},
	"rewrite": {rewrite.Report{}},
	"check":   {[]checkResult{}},
	"explain": {[]row{}, []reloc.Access{}},
	"header":  {headerOutput{}},
	"drivers": {[]loader.KnownDriver{}},
	"nic":     {[]loader.Description{}},
	"status":  {[]statusOf{}},
	"run":     {ran{}},
	"verify":  {verified{}},
}

const stderrLine = "stderr"

// TestSchema wants docs/schema.json to be what the Go types of the outputs are; -update
// writes it.
func TestSchema(t *testing.T) {
	var want bytes.Buffer
	if err := printJSON(&want, newSchema(t)); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(schemaFile, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	present, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(present), want.String()); diff != "" {
		t.Errorf("it is not what is printed, go test -update writes it (-file +types):\n%s", diff)
	}
}

// object is one of the schema, or the whole of it.
type object map[string]any

// schemaWriter makes a schema of Go types.
type schemaWriter struct {
	t    *testing.T
	defs object
}

func newSchema(t *testing.T) object {
	w := &schemaWriter{t, make(object)}
	for command, values := range outputs {
		var forms []any
		for _, value := range values {
			forms = append(forms, w.of(reflect.TypeOf(value)))
		}
		w.define(command, oneOrAnyOf(forms))
	}
	failure := w.of(reflect.TypeOf(failure{}))
	w.define(stderrLine, oneOrAnyOf([]any{
		object{"type": "object", "properties": object{"error": failure}, "required": []string{"error"}, "additionalProperties": false},
		object{"type": "object", "properties": object{"warning": failure}, "required": []string{"warning"}, "additionalProperties": false},
		logLine,
	}))
	return object{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"title":       "What xdp-load prints with --json",
		"description": "On stdout is a value of $defs/COMMAND, on stderr one of $defs/stderr in each line.",
		"$defs":       w.defs,
	}
}

// logLine is what log/slog writes; what else there is depends on the message.
var logLine = object{
	"type": "object",
	"properties": object{
		"time":  object{"type": "string", "format": "date-time"},
		"level": object{"enum": []string{"DEBUG", "INFO", "WARN", "ERROR"}},
		"msg":   object{"type": "string"},
	},
	"required": []string{"level", "msg", "time"},
}

func oneOrAnyOf(forms []any) any {
	if len(forms) == 1 {
		return forms[0]
	}
	return object{"anyOf": forms}
}

func (w *schemaWriter) define(name string, schema any) {
	if w.defs[name] != nil {
		w.t.Errorf("two definitions of %s", name)
	}
	w.defs[name] = schema
}

var (
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
)

// of returns the schema of a type, as encoding/json writes it.
func (w *schemaWriter) of(typ reflect.Type) any {
	switch {
	case typ == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case typ.Implements(jsonMarshaler):
		w.t.Fatalf("what %s writes is its own idea", typ)
	case typ.Implements(textMarshaler):
		return object{"type": "string"}
	}
	switch typ.Kind() {
	case reflect.Pointer:
		return w.of(typ.Elem())
	case reflect.Struct:
		return w.reference(typ)
	case reflect.Slice:
		if typ.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "contentEncoding": "base64"}
		}
		return object{"type": "array", "items": w.of(typ.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": w.of(typ.Elem())}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer", "minimum": 0}
	case reflect.Float64:
		return object{"type": "number"}
	}
	w.t.Fatalf("%s is nothing for JSON", typ)
	return nil
}

// reference defines a struct once, and refers to it.
func (w *schemaWriter) reference(typ reflect.Type) any {
	name := strings.TrimPrefix(typ.String(), "main.")
	reference := object{"$ref": "#/$defs/" + name}
	if w.defs[name] != nil {
		return reference
	}
	w.defs[name] = object{} // which ends a recursion
	properties, required := make(object), []string{}
	for _, field := range reflect.VisibleFields(typ) {
		tag, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous && tag == "" || !field.IsExported() || tag == "-" {
			continue
		}
		if tag == "" {
			w.t.Errorf("%s.%s has no tag", typ, field.Name)
			tag = field.Name
		}
		properties[tag] = w.of(field.Type)
		if options == "" {
			required = append(required, tag)
		}
	}
	slices.Sort(required)
	w.defs[name] = object{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
	return reference
}

// unseen are the properties that scripts need not print, with what that would take.
var unseen = map[string][]string{
	"a NIC on a bus, or with firmware": {
		"loader.Description.bus", "loader.Description.firmware", "loader.Record.firmware",
		"nic.Target.bus", "nic.Target.firmware", "verified.firmware",
	},
	"a bond":                          {"loader.Description.receives"},
	"a driver with a kfunc alone":     {"loader.DriverField.kfunc"},
	"a driver that keeps too little":  {"verify.Field.inSkb", "verify.Field.limits", "verify.Limit.packets", "verify.Limit.why"},
	"an embedder":                     {"loader.Record.mapReplacements", "loader.Record.variables"},
	"a module's layout":               {"loader.Origin.base"},
	"a program array of two programs": {"loader.PinnedMap.taken"},
	"code that is there twice":        {"rewrite.Edit.copies", "rewrite.Patch.copies"},
	"an enumeration that GCC made":    {"reloc.Field.signUnknown"},
	"a comparison at that moment":     {"loader.Attachment.standIn"},
	"another namespace":               {"loader.Attachment.mountsOf", "statusOf.mountsOf", "statusOf.namespace"},
	"kernel.bpf_stats_enabled":        {"loader.Runs.count", "loader.Runs.nanoseconds", "statusOf.runs"},
	"libxdp": {
		"loader.Dispatched.program", "loader.Dispatched.programID", "loader.Dispatched.tag", "statusOf.dispatched",
	},
}

// checkSeen wants every property in the schema to be in the output of some script: what
// nobody has seen is nobody's promise. The scripts have noted in files in dir what they print.
func checkSeen(t *testing.T, dir string) {
	seen := make(map[string]bool)
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			seen[strings.TrimSpace(line)] = true
		}
	}
	known := make(map[string]bool)
	for name, schema := range newSchema(t)["$defs"].(object) {
		properties, _ := schema.(object)["properties"].(object)
		for property := range properties {
			path := fmt.Sprintf("%s.%s", name, property)
			known[path] = true
			if !seen[path] && !isUnseen(path) {
				t.Errorf("%s is in the schema, and no script prints it", path)
			}
		}
	}
	for _, properties := range unseen {
		for _, property := range properties {
			if !known[property] {
				t.Errorf("%s is not in the schema: delete it from unseen", property)
			}
		}
	}
}

func isUnseen(property string) bool {
	for _, properties := range unseen {
		if slices.Contains(properties, property) {
			return true
		}
	}
	return false
}
