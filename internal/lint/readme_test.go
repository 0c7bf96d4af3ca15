package lint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root(t), path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestReadme: the main() that README shows is the one that is compiled as drain's package example, and short.
func TestReadme(t *testing.T) {
	example := read(t, "drain/example_test.go")
	begin := strings.Index(example, "func Example() {")
	if begin < 0 {
		t.Fatal("drain/example_test.go has no Example")
	}
	body, _, _ := strings.Cut(example[begin:], "\n}\n")
	main := strings.Replace(body, "func Example()", "func main()", 1) + "\n}\n"
	if !strings.Contains(read(t, "README.md"), main) {
		t.Errorf("README.md does not show drain's Example as it is:\n%s", main)
	}
	if n := strings.Count(main, "\n"); n > 60 {
		t.Errorf("main has %d lines, 60 are the most", n)
	}
}

// TestCommands: the two commands that README promises are there, and CI runs them.
func TestCommands(t *testing.T) {
	readme, ci := read(t, "README.md"), read(t, ".ci/run")
	for _, cmd := range []string{"go run ./examples/quickstart", "go test ./..."} {
		if !strings.Contains(readme, cmd) {
			t.Errorf("README.md lacks %q", cmd)
		}
	}
	for _, cmd := range []string{"go run ./examples/quickstart", "go test -race ./..."} {
		if !strings.Contains(ci, cmd) {
			t.Errorf(".ci/run lacks %q", cmd)
		}
	}
}
