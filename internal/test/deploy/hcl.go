package deploy

import (
	"fmt"
	"path"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// module is one directory of Terraform files.
type module struct {
	tree   Tree
	dir    string
	blocks hclsyntax.Blocks
	ctx    *hcl.EvalContext
}

// parse reads the .tf files of a directory.
func (t Tree) parse(dir string) (*module, error) {
	m := &module{tree: t, dir: dir, ctx: &hcl.EvalContext{Variables: map[string]cty.Value{}, Functions: functions()}}
	for _, p := range t.Under(dir, ".tf") {
		if path.Dir(p) != dir {
			continue
		}
		f, diags := hclsyntax.ParseConfig([]byte(t[p]), p, hcl.InitialPos)
		if diags.HasErrors() {
			return nil, diags
		}
		body := f.Body.(*hclsyntax.Body)
		if len(body.Attributes) > 0 {
			return nil, fmt.Errorf("%s: an argument outside of a block", p)
		}
		m.blocks = append(m.blocks, body.Blocks...)
	}
	if len(m.blocks) == 0 {
		return nil, fmt.Errorf("%s has no blocks", dir)
	}
	m.ctx.Variables["path"] = cty.ObjectVal(map[string]cty.Value{"module": cty.StringVal(dir)})
	return m, nil
}

// of returns the blocks of a type.
func (m *module) of(kind string) (blocks hclsyntax.Blocks) {
	for _, b := range m.blocks {
		if b.Type == kind {
			blocks = append(blocks, b)
		}
	}
	return blocks
}

// setVariables gives the variables their values or defaults, of their types, and checks their validations.
func (m *module) setVariables(given map[string]cty.Value) error {
	have := map[string]cty.Value{}
	for _, b := range m.of("variable") {
		v, err := variable(b, given)
		if err != nil {
			return fmt.Errorf("%s: variable %s: %w", m.dir, b.Labels[0], err)
		}
		have[b.Labels[0]] = v
	}
	for name := range given {
		if _, ok := have[name]; !ok {
			return fmt.Errorf("%s: there is no variable %s", m.dir, name)
		}
	}
	m.ctx.Variables["var"] = cty.ObjectVal(have)
	for _, b := range m.of("variable") {
		if err := m.conditions(b.Body.Blocks, "validation", m.ctx); err != nil {
			return fmt.Errorf("%s: variable %s: %w", m.dir, b.Labels[0], err)
		}
	}
	return nil
}

func variable(b *hclsyntax.Block, given map[string]cty.Value) (v cty.Value, err error) {
	typ, defaults := cty.DynamicPseudoType, (*typeexpr.Defaults)(nil)
	if a := b.Body.Attributes["type"]; a != nil {
		var diags hcl.Diagnostics
		if typ, defaults, diags = typeexpr.TypeConstraintWithDefaults(a.Expr); diags.HasErrors() {
			return v, diags
		}
	}
	v, ok := given[b.Labels[0]]
	if d := b.Body.Attributes["default"]; !ok && d != nil {
		var diags hcl.Diagnostics
		if v, diags = d.Expr.Value(nil); diags.HasErrors() {
			return v, diags
		}
		ok = true
	}
	if !ok {
		return v, fmt.Errorf("no value")
	}
	if defaults != nil {
		v = defaults.Apply(v)
	}
	return convert.Convert(v, typ)
}

// conditions checks the conditions of a variable or of a resource's life cycle.
func (m *module) conditions(blocks hclsyntax.Blocks, kind string, ctx *hcl.EvalContext) error {
	for _, b := range blocks {
		if b.Type != kind {
			continue
		}
		v, diags := b.Body.Attributes["condition"].Expr.Value(ctx)
		if diags.HasErrors() {
			return diags
		}
		if v.IsKnown() && v.False() {
			message, _ := b.Body.Attributes["error_message"].Expr.Value(ctx)
			return fmt.Errorf("%s", message.AsString())
		}
	}
	return nil
}

// values evaluates the arguments of a file such as prod.tfvars.
func (t Tree) values(file string) (map[string]cty.Value, error) {
	f, diags := hclsyntax.ParseConfig([]byte(t[file]), file, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, diags
	}
	values := map[string]cty.Value{}
	for name, a := range f.Body.(*hclsyntax.Body).Attributes {
		v, diags := a.Expr.Value(nil)
		if diags.HasErrors() {
			return nil, diags
		}
		values[name] = v
	}
	return values, nil
}

// missing lists the first names that an expression needs and the context lacks: "local.tags", "aws_lb.this".
func missing(e hclsyntax.Expression, ctx *hcl.EvalContext) (names []string) {
	for _, t := range e.Variables() {
		root := t.RootName()
		v, ok := ctx.Variables[root]
		if !ok || !v.Type().IsObjectType() {
			if !ok && !strings.HasPrefix(root, "each") {
				names = append(names, root)
			}
			continue
		}
		if a, is := t[1].(hcl.TraverseAttr); len(t) > 1 && is && !v.Type().HasAttribute(a.Name) {
			names = append(names, root+"."+a.Name)
		}
	}
	return names
}
