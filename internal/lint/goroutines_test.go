package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// leaky are the packages that start goroutines but do not check for leaks at the end of their tests, with the reason.
var leaky = map[string]string{}

// TestGoroutines: a package whose code or tests start goroutines checks for leaks at the end of its tests (goleak). Nested
// modules are not checked.
func TestGoroutines(t *testing.T) {
	needed := map[string]bool{}
	for _, p := range list(t, "./...") {
		rel := strings.TrimPrefix(p.ImportPath, module+"/")
		starts, checks := goroutines(t, filepath.Join(root(t), rel))
		_, excused := leaky[rel]
		switch needed[rel] = starts && !checks; {
		case needed[rel] && !excused:
			t.Errorf("%s starts goroutines: call goleak.VerifyTestMain in a TestMain, or list the package in leaky with the reason", rel)
		case excused && !needed[rel]:
			t.Errorf("%s need not be in leaky", rel)
		}
	}
	for rel := range leaky {
		if _, ok := needed[rel]; !ok {
			t.Errorf("leaky names %s, which does not exist", rel)
		}
	}
}

// goroutines reports whether the files of a package that has tests start goroutines, with a go statement or a method Go such as
// that of sync.WaitGroup, and whether the tests check for leaks.
func goroutines(t *testing.T, dir string) (starts, checks bool) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	tests := false
	for _, name := range names {
		tests = tests || strings.HasSuffix(name, "_test.go")
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				starts = true
			case *ast.SelectorExpr:
				starts = starts || n.Sel.Name == "Go"
				checks = checks || n.Sel.Name == "VerifyTestMain"
			}
			return true
		})
	}
	return starts && tests, checks
}
