package lint

import (
	"flag"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the record of the API again")

const apiUpdate = "go test ./internal/lint -run TestAPI -update"

// apiDir contains the record of the API: a file for each package that other modules may import, with a line for each exported
// declaration. The line of a constant includes its value, and that of a field its tag, since both may be part of formats.
const apiDir = "internal/docs/api"

// TestAPI: every change to the exported API is a change to a file, which a reviewer sees. See the section on compatibility in
// internal/docs/CHANGELOG.md for the permitted changes.
func TestAPI(t *testing.T) {
	recorded := map[string]bool{}
	for _, p := range list(t, "./...") {
		rel := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		parts := strings.Split(rel, "/")
		if rel == "" || slices.Contains(parts, "internal") || parts[0] == "examples" {
			continue
		}
		file := apiDir + "/" + rel + ".txt"
		recorded[file] = true
		got := api(t, rel, "linux")
		for _, system := range []string{"darwin", "windows"} {
			if diff := apiDiff(got, api(t, rel, system)); diff != "" {
				t.Errorf("package %s has another API on %s than on Linux, so a program that uses it compiles on one only:\n%s", rel, system, diff)
			}
		}
		path := filepath.Join(root(t), file)
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(strings.Join(got, "\n")+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Errorf("package %s has no record of its API: %s", rel, apiUpdate)
			continue
		}
		if diff := apiDiff(strings.Split(strings.TrimSuffix(string(want), "\n"), "\n"), got); diff != "" {
			t.Errorf("the API of package %s has changed. If it should, note it in internal/docs/CHANGELOG.md and run\n\t%s\n%s", rel, apiUpdate, diff)
		}
	}
	forFiles(t, apiDir, func(file string) {
		if recorded[file] {
			return
		}
		if !*update {
			t.Errorf("%s is the record of a package that is not there: %s", file, apiUpdate)
		} else if err := os.Remove(filepath.Join(root(t), file)); err != nil {
			t.Error(err)
		}
	})
}

// forFiles calls f with the path of every file below dir, both relative to the root of the module.
func forFiles(t *testing.T, dir string, f func(file string)) {
	t.Helper()
	base := root(t)
	err := filepath.WalkDir(filepath.Join(base, dir), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(base, path)
		f(filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// apiDiff lists the lines that only one of two sorted records has.
func apiDiff(old, now []string) string {
	var b strings.Builder
	lines := map[string]string{}
	for _, l := range old {
		lines[l] = "-"
	}
	for _, l := range now {
		if lines[l] == "-" {
			delete(lines, l)
		} else {
			lines[l] = "+"
		}
	}
	for _, l := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprintf(&b, "%s %s\n", lines[l], l)
	}
	return b.String()
}

// api lists what a package exports on a system, sorted.
func api(t *testing.T, rel, system string) []string {
	t.Helper()
	ctx := build.Default
	ctx.GOOS, ctx.GOARCH, ctx.CgoEnabled = system, "amd64", false
	p, err := ctx.ImportDir(filepath.Join(root(t), rel), 0)
	if err != nil {
		t.Fatal(err)
	}
	r := &apiRecord{fields: map[string]*ast.StructType{}, methods: map[string][]*ast.FuncDecl{}}
	fset := token.NewFileSet()
	var decls []ast.Decl
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		decls = append(decls, f.Decls...)
	}
	for _, d := range decls {
		r.unexported(d)
	}
	for _, d := range decls {
		r.decl(d)
	}
	slices.Sort(r.lines)
	return r.lines
}

type apiRecord struct {
	lines []string
	// Fields and methods of unexported types: other packages see them through exported types that embed these.
	fields  map[string]*ast.StructType
	methods map[string][]*ast.FuncDecl
}

func (r *apiRecord) unexported(d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv != nil && d.Name.IsExported() {
			of := strings.TrimLeft(types.ExprString(d.Recv.List[0].Type), "*")
			r.methods[of] = append(r.methods[of], d)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			if s, ok := s.(*ast.TypeSpec); ok {
				r.fields[s.Name.Name], _ = s.Type.(*ast.StructType)
			}
		}
	}
}

func (r *apiRecord) add(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *apiRecord) decl(d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		switch {
		case !d.Name.IsExported():
		case d.Recv == nil:
			r.add("func %s%s%s", d.Name.Name, apiTypeParams(d.Type.TypeParams), apiSignature(d.Type))
		case ast.IsExported(strings.TrimLeft(types.ExprString(d.Recv.List[0].Type), "*")):
			r.add("method (%s) %s%s", types.ExprString(d.Recv.List[0].Type), d.Name.Name, apiSignature(d.Type))
		}
	case *ast.GenDecl:
		var last *ast.ValueSpec
		for i, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() {
					r.typ(s)
				}
			case *ast.ValueSpec:
				if d.Tok != token.CONST || len(s.Values) > 0 {
					last = s
				}
				r.value(d.Tok, s, last, i)
			}
		}
	}
}

// value records constants and variables. A constant without its own value repeats the expression of last, with a new iota.
func (r *apiRecord) value(tok token.Token, s, last *ast.ValueSpec, iota int) {
	for i, name := range s.Names {
		if !name.IsExported() {
			continue
		}
		line := tok.String() + " " + name.Name
		if last.Type != nil {
			line += " " + types.ExprString(last.Type)
		}
		if tok == token.CONST {
			value := types.ExprString(last.Values[i])
			if strings.Contains(value, "iota") {
				value += fmt.Sprintf(", iota = %d", iota)
			}
			line += " = " + value
		}
		r.add("%s", line)
	}
}

func (r *apiRecord) typ(s *ast.TypeSpec) {
	name := s.Name.Name + apiTypeParams(s.TypeParams)
	if s.Assign.IsValid() {
		r.add("type %s = %s", name, types.ExprString(s.Type))
		return
	}
	switch typ := s.Type.(type) {
	case *ast.StructType:
		r.add("type %s struct", name)
		r.structFields(name, typ)
	case *ast.InterfaceType:
		r.add("type %s interface", name)
		for _, f := range typ.Methods.List {
			if m, ok := f.Type.(*ast.FuncType); ok {
				r.add("type %s interface, %s%s", name, f.Names[0].Name, apiSignature(m))
			} else {
				r.add("type %s interface, embedded %s", name, types.ExprString(f.Type))
			}
		}
	case *ast.FuncType:
		r.add("type %s func%s", name, apiSignature(typ))
	default:
		r.add("type %s %s", name, types.ExprString(typ))
	}
}

func (r *apiRecord) structFields(name string, s *ast.StructType) {
	for _, f := range s.Fields.List {
		of, tag := types.ExprString(f.Type), ""
		if f.Tag != nil {
			tag = " " + f.Tag.Value
		}
		for _, n := range f.Names {
			if n.IsExported() {
				r.add("type %s struct, %s %s%s", name, n.Name, of, tag)
			}
		}
		if len(f.Names) > 0 {
			continue
		}
		embedded := strings.TrimPrefix(of, "*")
		if strings.Contains(embedded, ".") || ast.IsExported(embedded) {
			r.add("type %s struct, embedded %s%s", name, of, tag)
			continue
		}
		for _, m := range r.methods[embedded] {
			r.add("method (*%s) %s%s", name, m.Name.Name, apiSignature(m.Type))
		}
		if inner := r.fields[embedded]; inner != nil {
			r.structFields(name, inner)
		}
	}
}

func apiTypeParams(list *ast.FieldList) string {
	if list == nil {
		return ""
	}
	var params []string
	for _, f := range list.List {
		for _, n := range f.Names {
			params = append(params, n.Name+" "+types.ExprString(f.Type))
		}
	}
	return "[" + strings.Join(params, ", ") + "]"
}

// apiSignature returns a signature without parameter names, on which no caller depends.
func apiSignature(f *ast.FuncType) string {
	fields := func(list *ast.FieldList) (all []string) {
		if list == nil {
			return nil
		}
		for _, f := range list.List {
			of := types.ExprString(f.Type)
			if fn, ok := f.Type.(*ast.FuncType); ok {
				of = "func" + apiSignature(fn)
			}
			for range max(1, len(f.Names)) {
				all = append(all, of)
			}
		}
		return all
	}
	params, results := strings.Join(fields(f.Params), ", "), fields(f.Results)
	switch len(results) {
	case 0:
		return "(" + params + ")"
	case 1:
		return "(" + params + ") " + results[0]
	}
	return "(" + params + ") (" + strings.Join(results, ", ") + ")"
}
