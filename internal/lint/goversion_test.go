package lint

import (
	"go/version"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestGoVersion: go.mod requires the oldest Go version that its dependencies allow, and names the dependency that determines
// it. An embedder cannot use an older Go version than go.mod requires.
func TestGoVersion(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(root(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^go (\S+) // as (\S+) requires$`).FindSubmatch(mod)
	if line == nil {
		t.Fatal("go.mod does not say which module sets its Go version: write `go VERSION // as MODULE requires`")
	}
	// By package: listing all modules would fetch modules of which nothing is built.
	cmd := exec.Command("go", "list", "-deps", "-test", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.GoVersion}}{{end}}{{end}}", "./...")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	newest, setBy := "", map[string]string{}
	for l := range strings.Lines(string(out)) {
		path, v, _ := strings.Cut(strings.TrimSpace(l), " ")
		// Only modules that are required here: the others are in the module graph, but nothing of them is built.
		if v == "" || !strings.Contains(string(mod), "\t"+path+" v") {
			continue
		}
		setBy[path] = v
		if newest == "" || version.Compare("go"+v, "go"+newest) > 0 {
			newest = v
		}
	}
	if have := string(line[1]); version.Compare("go"+have, "go"+newest) != 0 {
		t.Errorf("go.mod asks for Go %s, the modules that it requires need %s", have, newest)
	}
	if by := string(line[2]); setBy[by] != newest {
		t.Errorf("go.mod says that %s sets the Go version; that one needs %q", by, setBy[by])
	}
}
