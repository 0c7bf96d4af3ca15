package lint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// wayHeading is the heading in a package's documentation under which its files are named, in the order in which to read them.
const wayHeading = "# The way through the files"

// ways sets, for each package with a way through its files, how many percent of the arrows between its files may point upward.
// One file points at another if it uses a function, method, type, variable or constant that the other declares. An arrow to a
// file that comes earlier points upward.
var ways = map[string]float64{
	"spool":                    15,
	"spool/internal/index":     15,
	"spool/internal/statefile": 15,
	"ship":                     100,
	"ingest":                   15,
}

// TestArrows counts the arrows between the files of packages, and how many point upward.
func TestArrows(t *testing.T) {
	exports := exportsOf(t)
	for name, ceiling := range ways {
		t.Run(name, func(t *testing.T) {
			files, arrows := arrowsOf(t, name, exports)
			if len(files) == 1 {
				return
			}
			order := wayOf(t, name, files)
			if order == nil {
				return
			}
			var up []string
			for a := range arrows {
				if slices.Index(order, a[0]) > slices.Index(order, a[1]) {
					up = append(up, a[0]+" → "+a[1])
				}
			}
			share := 100 * float64(len(up)) / float64(max(1, len(arrows)))
			t.Logf("%d of %d arrows between %d files point upward: %.1f %%", len(up), len(arrows), len(files), share)
			if slices.Sort(up); share > ceiling {
				t.Errorf("%.1f %% of the arrows point upward, %.1f %% may:\n%s", share, ceiling, strings.Join(up, "\n"))
			}
		})
	}
}

// wayOf returns the files of a package in the order in which its documentation names them. Every file must be named; a package
// without the heading has no order.
func wayOf(t *testing.T, name string, files []string) (order []string) {
	t.Helper()
	var doc []byte
	for _, f := range files {
		src, err := os.ReadFile(filepath.Join(root(t), name, f))
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(src, []byte(wayHeading)); i >= 0 {
			doc = src[i:]
			doc = doc[:bytes.Index(doc, []byte("\npackage "))]
		}
	}
	if doc == nil {
		if ways[name] < 100 {
			t.Errorf("no file of the package has the heading %q", wayHeading)
		}
		return nil
	}
	for _, f := range regexp.MustCompile(`\b\w+\.go\b`).FindAllString(string(doc), -1) {
		if !slices.Contains(order, f) {
			order = append(order, f)
		}
		if !slices.Contains(files, f) && !strings.Contains(f, "_") {
			t.Errorf("the way through the files names %s, which does not exist", f)
		}
	}
	for _, f := range files {
		if f != "doc.go" && !slices.Contains(order, f) {
			t.Errorf("the way through the files does not name %s", f)
		}
	}
	return order
}

// arrowsOf returns the files of a package, and for each file the files whose declarations it uses.
func arrowsOf(t *testing.T, name string, exports map[string]string) (files []string, arrows map[[2]string]bool) {
	t.Helper()
	fset := token.NewFileSet()
	var syntax []*ast.File
	for _, f := range sourcesOf(t, name) {
		parsed, err := parser.ParseFile(fset, filepath.Join(root(t), name, f), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files, syntax = append(files, f), append(syntax, parsed)
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })}
	pkg, err := conf.Check(module+"/"+name, fset, syntax, info)
	if err != nil {
		t.Fatal(err)
	}
	arrows = map[[2]string]bool{}
	for id, obj := range info.Uses {
		fn, isFunc := obj.(*types.Func)
		global := obj.Parent() == pkg.Scope() || isFunc && fn.Signature().Recv() != nil
		if obj.Pkg() != pkg || !global {
			continue
		}
		from, to := filepath.Base(fset.Position(id.Pos()).Filename), filepath.Base(fset.Position(obj.Pos()).Filename)
		if from != to {
			arrows[[2]string{from, to}] = true
		}
	}
	return files, arrows
}

// sourcesOf returns the files of a package that are built for Linux, without tests.
func sourcesOf(t *testing.T, name string) []string {
	t.Helper()
	var p struct{ GoFiles []string }
	if err := json.Unmarshal(goList(t, "-json=GoFiles", "./"+name), &p); err != nil {
		t.Fatal(err)
	}
	return p.GoFiles
}

// exportsOf returns the export data files of all packages that the packages in ways import.
func exportsOf(t *testing.T) map[string]string {
	t.Helper()
	args := []string{"-export", "-deps", "-json=ImportPath,Export"}
	for name := range ways {
		args = append(args, "./"+name)
	}
	exports := map[string]string{}
	for dec := json.NewDecoder(bytes.NewReader(goList(t, args...))); ; {
		var p struct{ ImportPath, Export string }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return exports
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
	}
}

func goList(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "GOOS=linux")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	return out
}
