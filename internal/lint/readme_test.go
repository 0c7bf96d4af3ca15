package lint

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

// TestReadme: the main() in README is the compiled one from drain's package example, and is short.
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
	if n := strings.Count(main, "\n"); n > 40 {
		t.Errorf("main has %d lines, 40 are the most", n)
	}
}

// TestCommands: the two commands that README promises exist, and CI runs them.
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

// TestReadmeShort: README can be read in minutes, every file that it links to exists, and every footnote belongs to a claim.
func TestReadmeShort(t *testing.T) {
	readme := read(t, "README.md")
	if n := strings.Count(readme, "\n"); n > 250 {
		t.Errorf("README.md has %d lines, 250 are the most: move something to a page of the guide", n)
	}
	for _, m := range link.FindAllStringSubmatch(readme, -1) {
		if strings.Contains(m[1], ":") {
			continue // elsewhere
		}
		if _, err := os.Stat(filepath.Join(root(t), m[1])); err != nil {
			t.Errorf("README.md links to %s, which does not exist", m[1])
		}
	}
	notes := map[string]int{}
	for _, m := range footnote.FindAllStringSubmatch(readme, -1) {
		if m[2] != "" {
			notes[m[1]] |= 1 // the note
		} else {
			notes[m[1]] |= 2 // a claim
		}
	}
	for name, has := range notes {
		if has != 3 {
			t.Errorf("footnote %s of README.md has no text, or no claim", name)
		}
	}
}

// TestGuides: the files and tests that the guides for contributors name exist.
func TestGuides(t *testing.T) {
	tests := map[string]bool{}
	goFiles(t, func(rel string, src []byte) {
		for _, m := range testName.FindAllSubmatch(src, -1) {
			tests[string(m[1])] = true
		}
	})
	for _, guide := range []string{".github/CONTRIBUTING.md", ".github/SECURITY.md", "internal/docs/testing.md"} {
		for _, m := range quoted.FindAllStringSubmatch(read(t, guide), -1) {
			name, beginning := strings.CutSuffix(m[1], "…")
			switch {
			case strings.HasPrefix(name, "Test"), strings.HasPrefix(name, "Fuzz"):
				if !tests[name] && !(beginning && slices.ContainsFunc(slices.Collect(maps.Keys(tests)), func(n string) bool { return strings.HasPrefix(n, name) })) {
					t.Errorf("%s names %s, which does not exist", guide, name)
				}
			case strings.Contains(name, "/"):
				if _, err := os.Stat(filepath.Join(root(t), name)); err != nil {
					t.Errorf("%s names %s, which does not exist", guide, name)
				}
			}
		}
	}
}

var (
	link     = regexp.MustCompile(`\]\(([^)#]+)`)
	footnote = regexp.MustCompile(`\[\^(\w+)\](:?)`)
	testName = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	quoted   = regexp.MustCompile("`((?:Test|Fuzz)\\w+…?|[a-z][a-z0-9]*(?:/[a-zA-Z0-9_.]+)+\\.(?:go|md))`")
)
