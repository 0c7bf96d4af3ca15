package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goFiles lists the module's Go files, including those of nested modules.
func goFiles(t *testing.T, visit func(rel string, src []byte)) {
	t.Helper()
	base := root(t)
	err := filepath.WalkDir(base, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != base && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(base, path)
		if err != nil {
			return err
		}
		visit(filepath.ToSlash(rel), src)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFiles: no file is too long to read, most are short, and no test waits for real time to pass.
func TestFiles(t *testing.T) {
	var lengths []int
	goFiles(t, func(rel string, src []byte) {
		isTest, lines := strings.HasSuffix(rel, "_test.go"), strings.Count(string(src), "\n")
		lengths = append(lengths, lines)
		if lines > 600 {
			t.Errorf("%s has %d lines; 600 is the most", rel, lines)
		}
		// In a synctest bubble time is fake, and sleeping takes none.
		if isTest && strings.Contains(string(src), "time."+"Sleep(") && !strings.Contains(string(src), `"testing/synctest"`) {
			t.Errorf("%s sleeps: use testing/synctest, a channel or a condition", rel)
		}
		if strings.Contains(string(src), "//"+"nolint") {
			t.Errorf("%s has a nolint comment; no linter that reads it is run", rel)
		}
	})
	slices.Sort(lengths)
	if median := lengths[len(lengths)/2]; median > 200 {
		t.Errorf("the median file has %d lines; 200 is the most", median)
	}
}

// TestFunctions: a function fits on one or two screens. Tests may be longer.
func TestFunctions(t *testing.T) {
	goFiles(t, func(rel string, src []byte) {
		if strings.HasSuffix(rel, "_test.go") {
			return
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, rel, src, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			return
		}
		for _, decl := range f.Decls {
			d, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if lines := fset.Position(d.End()).Line - fset.Position(d.Pos()).Line + 1; lines > 80 {
				t.Errorf("%s: %s has %d lines; 80 is the most", fset.Position(d.Pos()), d.Name.Name, lines)
			}
		}
	})
}

// TestStructs: a struct has no more fields than a reader can keep in mind. Fields that belong together form their own type.
func TestStructs(t *testing.T) {
	goFiles(t, func(rel string, src []byte) {
		if strings.HasSuffix(rel, "_test.go") {
			return
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, rel, src, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.StructType); ok && s.Fields.NumFields() > 25 {
				t.Errorf("%s: a struct with %d fields; 25 is the most", fset.Position(s.Pos()), s.Fields.NumFields())
			}
			return true
		})
	})
}

// TestDocumented: every exported name outside examples has a doc comment.
func TestDocumented(t *testing.T) {
	goFiles(t, func(rel string, src []byte) {
		if strings.HasSuffix(rel, "_test.go") || strings.HasPrefix(rel, "examples/") || strings.Contains(rel, "testdata/") {
			return
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, rel, src, parser.ParseComments)
		if err != nil {
			t.Error(err)
			return
		}
		missing := func(n ast.Node, name string) {
			t.Errorf("%s: %s is exported and undocumented", fset.Position(n.Pos()), name)
		}
		for _, decl := range f.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) && !conventional[d.Name.Name] {
					missing(d, d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch s := spec.(type) {
					case *ast.TypeSpec:
						if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
							missing(s, s.Name.Name)
						}
					case *ast.ValueSpec:
						for _, name := range s.Names {
							if name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
								missing(s, name.Name)
							}
						}
					}
				}
			}
		}
	})
}

// conventional are methods whose meaning is defined by the standard library.
var conventional = map[string]bool{"Error": true, "Unwrap": true, "Is": true, "String": true}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported()
}
