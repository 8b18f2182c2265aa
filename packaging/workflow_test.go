package packaging

import (
	"bufio"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestWorkflow compares what the workflow runs with what .ci/run does, and its kernels with
// those that there are.
func TestWorkflow(t *testing.T) {
	content, err := os.ReadFile("../.github/workflows/ci.yml")
	if err != nil {
		t.Fatal(err)
	}
	var workflow struct {
		Jobs map[string]struct {
			Strategy struct {
				Matrix struct{ Target, Kernel []string }
			}
			Steps []struct{ Run string }
		}
	}
	if err := yaml.Unmarshal(content, &workflow); err != nil {
		t.Fatal(err)
	}
	var runs []string
	for name, job := range workflow.Jobs {
		if matrix := job.Strategy.Matrix; len(matrix.Target)+len(matrix.Kernel) == 0 {
			t.Errorf("job %s is not compared with .ci/run", name)
		}
		last := job.Steps[len(job.Steps)-1].Run
		for _, target := range job.Strategy.Matrix.Target {
			runs = append(runs, strings.ReplaceAll(last, "${{ matrix.target }}", target))
		}
		if len(job.Strategy.Matrix.Kernel) > 0 {
			all, isOne := strings.CutSuffix(last, " KERNELS=${{ matrix.kernel }}")
			if !isOne {
				t.Errorf("the workflow runs %q for each kernel", last)
			}
			runs = append(runs, all)
			if want := kernels(t); !slices.Equal(job.Strategy.Matrix.Kernel, want) {
				t.Errorf("the workflow has kernels %q, make test-kernels has %q", job.Strategy.Matrix.Kernel, want)
			}
		}
	}
	slices.Sort(runs)
	if want := steps(t); !slices.Equal(runs, want) {
		t.Errorf("the workflow runs %q, .ci/run %q", runs, want)
	}
}

// steps returns the commands of .ci/run, sorted.
func steps(t *testing.T) (steps []string) {
	t.Helper()
	file, err := os.Open("../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "make ") {
			steps = append(steps, lines.Text())
		}
	}
	slices.Sort(steps)
	return steps
}

// kernels returns the names of those that make test-kernels has, which are in what it says of
// one that there is not.
func kernels(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("go", "run", "./internal/kernels", "none")
	cmd.Dir = ".."
	output, _ := cmd.CombinedOutput()
	_, names, found := strings.Cut(string(output), "no kernel none: there are ")
	if !found {
		t.Fatalf("lists no kernels: %s", output)
	}
	names, _, _ = strings.Cut(names, "\n")
	return strings.Split(names, ", ")
}
