package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Where the command that scripts and documents run finds the schema, and notes which
// properties it has printed.
const (
	schemaVariable = "XDP_LOAD_TEST_SCHEMA"
	seenVariable   = "XDP_LOAD_TEST_SEEN"
)

const exitInvalid = 99

// runChecked is run, whose JSON has to be as the schema has it.
func runChecked(args []string) int {
	file := os.Getenv(schemaVariable)
	if file == "" || !wantsJSON(args) || slices.Contains(args, "--help") || isFull(os.Stdout) {
		return run(args)
	}
	cmd, _, err := newRoot(&flags{}).Find(args)
	if err != nil {
		return run(args)
	}
	command := cmd.Name()
	if !cmd.HasParent() {
		command = "load"
	}

	var code int
	var errs []byte
	out := teed(&os.Stdout, func() {
		errs = teed(&os.Stderr, func() { code = run(args) })
	})
	if err := checkOutput(file, command, out, errs); err != nil {
		fmt.Fprintf(os.Stderr, "not as in the schema: %v\n", err)
		return exitInvalid
	}
	return code
}

// isFull reports whether what is written to a file may be refused, which a pipe would not.
func isFull(file *os.File) bool {
	info, err := file.Stat()
	return err != nil || info.Mode()&os.ModeDevice != 0
}

// teed returns what is written to a file meanwhile. It is written there, too.
func teed(file **os.File, do func()) []byte {
	real := *file
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	*file = w
	var buffer bytes.Buffer
	var copying sync.WaitGroup
	copying.Go(func() { io.Copy(io.MultiWriter(real, &buffer), r) })
	do()
	w.Close()
	copying.Wait()
	*file = real
	return buffer.Bytes()
}

// checkOutput validates what a command has printed, and notes which properties it had.
func checkOutput(file, command string, stdout, stderr []byte) error {
	schema, err := openSchema(file)
	if err != nil {
		return err
	}
	if len(stdout) > 0 {
		if outputs[command] == nil {
			return fmt.Errorf("%s prints something: %s", command, stdout)
		}
		if err := schema.check(command, stdout); err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
	}
	for line := range bytes.Lines(stderr) {
		if err := schema.check(stderrLine, line); err != nil {
			return fmt.Errorf("stderr: %w", err)
		}
	}
	return schema.note()
}

// openedSchema is a schema, with the properties that values have had.
type openedSchema struct {
	compiler *jsonschema.Compiler
	defs     map[string]any
	seen     map[string]bool
}

func openSchema(file string) (*openedSchema, error) {
	text, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer text.Close()
	document, err := jsonschema.UnmarshalJSON(text)
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("schema.json", document); err != nil {
		return nil, err
	}
	defs := document.(map[string]any)["$defs"].(map[string]any)
	return &openedSchema{compiler, defs, make(map[string]bool)}, nil
}

func (s *openedSchema) check(def string, text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return fmt.Errorf("%w: %s", err, text)
	}
	if decoder.More() {
		return fmt.Errorf("more than one value: %s", text)
	}
	at := "/$defs/" + def
	if err := s.validate(at, value); err != nil {
		return err
	}
	s.visit(at, def, s.defs[def], value)
	return nil
}

func (s *openedSchema) validate(at string, value any) error {
	compiled, err := s.compiler.Compile("schema.json#" + at)
	if err != nil {
		return err
	}
	return compiled.Validate(value)
}

// visit notes the properties of a value that is valid by a schema, which is at some place
// in the definition def.
func (s *openedSchema) visit(at, def string, schema, value any) {
	of, _ := schema.(map[string]any)
	if of == nil {
		return
	}
	if ref, _ := of["$ref"].(string); ref != "" {
		at = strings.TrimPrefix(ref, "#")
		def = strings.TrimPrefix(at, "/$defs/")
		s.visit(at, def, s.defs[def], value)
		return
	}
	forms, _ := of["anyOf"].([]any)
	for i, form := range forms {
		if at := fmt.Sprintf("%s/anyOf/%d", at, i); s.validate(at, value) == nil {
			s.visit(at, def, form, value)
		}
	}
	switch value := value.(type) {
	case []any:
		for _, item := range value {
			s.visit(at+"/items", def, of["items"], item)
		}
	case map[string]any:
		properties, _ := of["properties"].(map[string]any)
		for name, value := range value {
			if property := properties[name]; property != nil {
				s.seen[def+"."+name] = true
				s.visit(at+"/properties/"+name, def, property, value)
			} else {
				s.visit(at+"/additionalProperties", def, of["additionalProperties"], value)
			}
		}
	}
}

// note writes which properties there were to a file of this process's own.
func (s *openedSchema) note() error {
	dir := os.Getenv(seenVariable)
	if dir == "" {
		return nil
	}
	var lines strings.Builder
	for property := range s.seen {
		fmt.Fprintln(&lines, property)
	}
	file, err := os.CreateTemp(dir, "")
	if err != nil {
		return err
	}
	_, err = file.WriteString(lines.String())
	return errors.Join(err, file.Close(), os.Chmod(filepath.Clean(file.Name()), 0o644))
}
