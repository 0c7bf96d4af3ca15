package deploy

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// Plan is the set of resources of a root configuration, by address, such as aws_lb.this[vpn-udp]. Arguments are plain values; a
// block is a list of such values. A value that only AWS knows is written as address and attribute: "aws_lb.this[vpn-udp].arn".
type Plan map[string]map[string]any

// Plan computes the resources of terraform/NAME with NAME.tfvars.
func (t Tree) Plan(name string) (Plan, error) {
	dir := "terraform/" + name
	root, err := t.parse(dir)
	if err != nil {
		return nil, err
	}
	values, err := t.values(dir + "/" + name + ".tfvars")
	if err != nil {
		return nil, err
	}
	if err := root.setVariables(values); err != nil {
		return nil, err
	}
	calls := root.of("module")
	if len(calls) != 1 {
		return nil, fmt.Errorf("%s calls %d modules", dir, len(calls))
	}
	given, source := map[string]cty.Value{}, ""
	for name, a := range calls[0].Body.Attributes {
		v, diags := a.Expr.Value(root.ctx)
		if diags.HasErrors() {
			return nil, diags
		}
		if name == "source" {
			source = v.AsString()
			continue
		}
		given[name] = v
	}
	m, err := t.parse(path.Join(dir, source))
	if err != nil {
		return nil, err
	}
	if err := m.setVariables(given); err != nil {
		return nil, err
	}
	return m.plan(values["region"].AsString())
}

// instance is one resource of a block with for_each or count.
type instance struct {
	block *hclsyntax.Block
	key   string
	ctx   *hcl.EvalContext
}

func (i instance) address() string {
	a := i.block.Labels[0] + "." + i.block.Labels[1]
	if i.block.Type == "data" {
		a = "data." + a
	}
	if i.key != "" {
		a += "[" + i.key + "]"
	}
	return a
}

// plan evaluates locals and resources in an order in which everything is known before it is used.
func (m *module) plan(region string) (Plan, error) {
	m.ctx.Variables["local"] = cty.EmptyObjectVal
	locals := map[string]hclsyntax.Expression{}
	for _, b := range m.of("locals") {
		for name, a := range b.Body.Attributes {
			if locals[name] != nil {
				return nil, fmt.Errorf("local.%s is defined twice", name)
			}
			locals[name] = a.Expr
		}
	}
	var open, instances []instance
	for _, b := range append(m.of("resource"), m.of("data")...) {
		open = append(open, instance{block: b})
	}
	facts := map[string]cty.Value{"region": cty.StringVal(region), "partition": cty.StringVal("aws"), "account_id": cty.StringVal("123456789012")}
	for len(open)+len(locals) > 0 {
		progress := false
		for name, e := range locals {
			if len(missing(e, m.ctx)) > 0 {
				continue
			}
			v, diags := e.Value(m.ctx)
			if diags.HasErrors() {
				return nil, diags
			}
			set(m.ctx.Variables, v, "local", name)
			delete(locals, name)
			progress = true
		}
		var rest []instance
		for _, o := range open {
			known, err := m.expand(o, facts)
			if err != nil {
				return nil, err
			}
			if known == nil {
				rest = append(rest, o)
				continue
			}
			instances, progress = append(instances, known.instances...), true
		}
		open = rest
		if !progress {
			return nil, fmt.Errorf("%s: a circle or an unknown name in local %v, %d resources", m.dir, slices.Sorted(maps.Keys(locals)), len(open))
		}
	}
	return m.resources(instances)
}

// resources evaluates the arguments of all instances, and the outputs.
func (m *module) resources(instances []instance) (Plan, error) {
	p := Plan{}
	for _, i := range instances {
		if err := m.lifecycle(i); err != nil {
			return nil, fmt.Errorf("%s: %w", i.address(), err)
		}
		v, err := body(i.block.Body, i.ctx, "for_each", "count", "depends_on")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", i.address(), err)
		}
		p[i.address()] = v
	}
	for _, b := range m.of("output") {
		if _, diags := b.Body.Attributes["value"].Expr.Value(m.ctx); diags.HasErrors() {
			return nil, diags
		}
	}
	return p, nil
}

func (m *module) lifecycle(i instance) error {
	for _, b := range i.block.Body.Blocks {
		if b.Type == "lifecycle" {
			if err := m.conditions(b.Body.Blocks, "precondition", i.ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

type expanded struct{ instances []instance }

// expand makes the instances of a block, and the objects that expressions refer to. It returns nil while for_each is not known.
func (m *module) expand(o instance, facts map[string]cty.Value) (*expanded, error) {
	attrs, x := o.block.Body.Attributes, &expanded{}
	name := []string{o.block.Labels[0], o.block.Labels[1]}
	if o.block.Type == "data" {
		name = append([]string{"data"}, name...)
	}
	a := attrs["for_each"]
	if a == nil {
		a = attrs["count"]
	}
	if a == nil {
		o.ctx = m.ctx
		x.instances = append(x.instances, o)
		set(m.ctx.Variables, o.object(facts), name...)
		return x, nil
	}
	if len(missing(a.Expr, m.ctx)) > 0 {
		return nil, nil
	}
	v, diags := a.Expr.Value(m.ctx)
	if diags.HasErrors() {
		return nil, diags
	}
	if attrs["count"] != nil {
		n, list := 0, []cty.Value{}
		for f, _ := v.AsBigFloat().Int64(); int64(n) < f; n++ {
			i := instance{o.block, fmt.Sprint(n), m.ctx}
			x.instances, list = append(x.instances, i), append(list, i.object(facts))
		}
		set(m.ctx.Variables, cty.TupleVal(list), name...)
		return x, nil
	}
	objects := map[string]cty.Value{}
	for it := v.ElementIterator(); it.Next(); {
		k, v := it.Element()
		if v.Type() == cty.String && k.RawEquals(v) { // a set
			k = v
		}
		i := instance{o.block, k.AsString(), child(m.ctx, "each", k, v)}
		x.instances = append(x.instances, i)
		objects[i.key] = i.object(facts)
	}
	set(m.ctx.Variables, cty.ObjectVal(objects), name...)
	return x, nil
}

// computed are the attributes that expressions of the templates read from resources.
var computed = []string{"id", "arn", "arn_suffix", "name", "dns_name", "latest_version", "private_ip"}

// object returns a resource as seen by expressions: placeholders, and facts about the account.
func (i instance) object(facts map[string]cty.Value) cty.Value {
	attrs := maps.Clone(facts)
	for _, name := range computed {
		attrs[name] = cty.StringVal(i.address() + "." + name)
	}
	return cty.ObjectVal(attrs)
}

// body evaluates the arguments and blocks of a body.
func body(b *hclsyntax.Body, ctx *hcl.EvalContext, but ...string) (map[string]any, error) {
	out := map[string]any{}
	for name, a := range b.Attributes {
		if slices.Contains(but, name) {
			continue
		}
		v, diags := a.Expr.Value(ctx)
		if diags.HasErrors() {
			return nil, diags
		}
		if out[name] = plain(v); v.IsNull() {
			delete(out, name)
		}
	}
	for _, inner := range b.Blocks {
		if inner.Type == "lifecycle" {
			out[inner.Type] = static(inner.Body)
			continue
		}
		kind, of, each, err := blocks(inner, ctx)
		if err != nil {
			return nil, err
		}
		for _, c := range each {
			v, err := body(of, c)
			if err != nil {
				return nil, err
			}
			list, _ := out[kind].([]any)
			out[kind] = append(list, v)
		}
	}
	return out, nil
}

// blocks returns the blocks that a block stands for: itself, or the content of a dynamic block for each element.
func blocks(b *hclsyntax.Block, ctx *hcl.EvalContext) (kind string, body *hclsyntax.Body, each []*hcl.EvalContext, err error) {
	if b.Type != "dynamic" {
		return b.Type, b.Body, []*hcl.EvalContext{ctx}, nil
	}
	v, diags := b.Body.Attributes["for_each"].Expr.Value(ctx)
	if diags.HasErrors() {
		return "", nil, nil, diags
	}
	for it := v.ElementIterator(); it.Next(); {
		k, v := it.Element()
		each = append(each, child(ctx, b.Labels[0], k, v))
	}
	return b.Labels[0], b.Body.Blocks[0].Body, each, nil
}

// static has the arguments of a life cycle, which are no values: ignore_changes = [desired_capacity].
func static(b *hclsyntax.Body) map[string]any {
	out := map[string]any{}
	for name, a := range b.Attributes {
		names := []any{}
		for _, t := range a.Expr.Variables() {
			names = append(names, t.RootName())
		}
		if v, diags := a.Expr.Value(nil); !diags.HasErrors() {
			out[name] = plain(v)
			continue
		}
		out[name] = names
	}
	return out
}

func child(ctx *hcl.EvalContext, name string, key, value cty.Value) *hcl.EvalContext {
	c := ctx.NewChild()
	c.Variables = map[string]cty.Value{name: cty.ObjectVal(map[string]cty.Value{"key": key, "value": value})}
	return c
}

// set puts a value into nested objects.
func set(vars map[string]cty.Value, v cty.Value, name ...string) {
	if len(name) == 1 {
		vars[name[0]] = v
		return
	}
	inner := map[string]cty.Value{}
	if have, ok := vars[name[0]]; ok {
		maps.Copy(inner, have.AsValueMap())
	}
	set(inner, v, name[1:]...)
	vars[name[0]] = cty.ObjectVal(inner)
}

// plain turns a value into what encoding/json makes of it.
func plain(v cty.Value) (out any) {
	b, err := ctyjson.Marshal(v, v.Type())
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		panic(err)
	}
	return out
}
