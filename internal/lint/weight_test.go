package lint

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// weight is the cost of importing a package, not counting our own packages.
type weight struct {
	std     int // packages of the standard library that a program could import itself
	foreign int // packages of other modules
	modules int // other modules
}

// weights is a ceiling for each public package: what an embedder pays for an import. Raising one is a decision; give its reason
// in the commit.
var weights = map[string]weight{
	"":                     {},
	"compress":             {48, 18, 2},
	"drain":                {89, 25, 6},
	"drain/asg":            {93, 123, 21},
	"drain/draintest":      {95, 123, 21},
	"drain/ecs":            {89, 25, 6},
	"drain/monitor":        {102, 71, 15},
	"drain/kube":           {89, 25, 6},
	"drain/status":         {97, 26, 7},
	"ingest":               {78, 2, 2},
	"ingest/fluentforward": {80, 2, 2},
	"ingest/lumberjack":    {81, 2, 2},
	"ingest/relp":          {78, 2, 2},
	"ingest/udprelay":      {82, 2, 2},
	"ship":                 {75, 25, 6},
	"ship/audit":           {76, 25, 6},
	"ship/fileship":        {75, 25, 6},
	"ship/format":          {53, 18, 2},
	"ship/open":            {93, 147, 26},
	"ship/s3ship":          {93, 136, 25},
	"ship/sftpship":        {78, 36, 7},
	"ship/shiptest":        {78, 25, 6},
	"spool":                {54, 7, 4},
	"spool/object":         {46, 0, 0},
	"spool/segment":        {43, 0, 0},
}

// TestWeights compares the weight of each public package with its ceiling. If a figure of other modules becomes lower, the
// ceiling must be lowered too. The standard library may become smaller with a new Go version.
func TestWeights(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Deps,Standard,Module,Name", "./...")
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	type weighed struct {
		ImportPath, Name string
		Deps             []string
		Standard         bool
		Module           *struct{ Path string }
	}
	all := map[string]weighed{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p weighed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
	seen := map[string]bool{}
	for path, p := range all {
		name, own := strings.CutPrefix(path, module)
		name = strings.TrimPrefix(name, "/")
		if !own || p.Name == "main" || isInternal(name) || strings.HasPrefix(name, "examples/") {
			continue
		}
		seen[name] = true
		have, modules := weight{}, []string{}
		for _, dep := range p.Deps {
			switch d := all[dep]; {
			case d.Standard && !isInternal(dep) && !strings.HasPrefix(dep, "vendor/"):
				have.std++
			case d.Standard || strings.HasPrefix(dep, module):
			default:
				have.foreign++
				if !slices.Contains(modules, d.Module.Path) {
					modules = append(modules, d.Module.Path)
				}
			}
		}
		have.modules = len(modules)
		slices.Sort(modules)
		most, known := weights[name]
		switch {
		case !known:
			t.Errorf("package %q has no ceiling: add %+v", name, have)
		case have.std > most.std || have.foreign > most.foreign || have.modules > most.modules:
			t.Errorf("package %q pulls in %+v, %+v is the most; modules: %s", name, have, most, strings.Join(modules, ", "))
		case have.foreign < most.foreign || have.modules < most.modules:
			t.Errorf("package %q pulls in %+v, less than the ceiling %+v: lower it", name, have, most)
		}
	}
	for name := range weights {
		if !seen[name] {
			t.Errorf("there is a ceiling for package %q, which does not exist: remove it", name)
		}
	}
}

// isInternal reports whether programs outside the package's own tree cannot import it.
func isInternal(path string) bool { return slices.Contains(strings.Split(path, "/"), "internal") }
