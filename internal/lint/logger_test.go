package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestLoggers: an example that is copied must log. If options have a field Logger, every example sets it, and passes neither
// nil options nor a literal without it: only the log tells the operator that a driver had to create a directory again, or that
// a server lacks a guarantee.
func TestLoggers(t *testing.T) {
	root := filepath.Join("..", "..")
	known := optionsWithLogger(t, root)
	if len(known.types) < 10 || len(known.funcs) < 10 {
		t.Fatalf("only %d types and %d functions were found: %v", len(known.types), len(known.funcs), known)
	}
	files := []string{filepath.Join(root, "drain", "example_test.go")} // README shows it
	for _, dir := range []string{"examples", "ship/open"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(p string, d fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(p, ".go") && !strings.HasSuffix(p, "_test.go") {
				files = append(files, p)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range files {
		for _, bad := range silent(t, file, known) {
			t.Error(bad)
		}
	}
}

// loggers are the types, by "package.Type", that have a field Logger, and the functions whose last parameter is a pointer to
// such a type.
type loggers struct{ types, funcs []string }

// optionsWithLogger reads every package of the project that an example may use.
func optionsWithLogger(t *testing.T, root string) (known loggers) {
	t.Helper()
	var files []*ast.File
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.SkipObjectResolution)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.TypeSpec); ok && hasLogger(s) {
				known.types = append(known.types, f.Name.Name+"."+s.Name.Name)
			}
			return true
		})
	}
	for _, f := range files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || len(fn.Type.Params.List) == 0 {
				continue
			}
			last := fn.Type.Params.List[len(fn.Type.Params.List)-1]
			if p, ok := last.Type.(*ast.StarExpr); ok && slices.Contains(known.types, f.Name.Name+"."+typeName(p.X)) {
				known.funcs = append(known.funcs, f.Name.Name+"."+fn.Name.Name)
			}
		}
	}
	return known
}

func hasLogger(s *ast.TypeSpec) bool {
	st, ok := s.Type.(*ast.StructType)
	return ok && strings.HasSuffix(s.Name.Name, "Options") && slices.ContainsFunc(st.Fields.List, func(f *ast.Field) bool {
		return slices.ContainsFunc(f.Names, func(n *ast.Ident) bool { return n.Name == "Logger" })
	})
}

// typeName returns "Type" or "package.Type".
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		if p, ok := e.X.(*ast.Ident); ok {
			return p.Name + "." + e.Sel.Name
		}
	}
	return ""
}

// silent lists where a file omits a Logger. A literal may get it later in the same file, by an assignment. Nested options with
// a Logger get that one, and the options of a Parse open nothing.
func silent(t *testing.T, file string, known loggers) (bad []string) {
	t.Helper()
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	assigned := false
	ast.Inspect(f, func(n ast.Node) bool {
		if a, ok := n.(*ast.AssignStmt); ok {
			assigned = assigned || slices.ContainsFunc(a.Lhs, func(e ast.Expr) bool {
				s, ok := e.(*ast.SelectorExpr)
				return ok && s.Sel.Name == "Logger"
			})
		}
		return true
	})
	complain := func(n ast.Node, what string) {
		p := set.Position(n.Pos())
		bad = append(bad, fmt.Sprintf("%s:%d: %s without a Logger", path.Join(filepath.Base(filepath.Dir(file)), filepath.Base(file)), p.Line, what))
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			name := typeName(n.Fun)
			if last := len(n.Args) - 1; slices.Contains(known.funcs, name) && last >= 0 && typeName(n.Args[last]) == "nil" {
				complain(n, name)
			}
			return !strings.HasSuffix(name, ".Parse")
		case *ast.CompositeLit:
			name := typeName(n.Type)
			if !slices.Contains(known.types, name) {
				return true
			}
			has := slices.ContainsFunc(n.Elts, func(e ast.Expr) bool {
				kv, ok := e.(*ast.KeyValueExpr)
				return ok && typeName(kv.Key) == "Logger"
			})
			if !has && !assigned {
				complain(n, name)
			}
			return !has
		}
		return true
	})
	return bad
}
