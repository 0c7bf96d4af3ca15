package deploy

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// invariant is something that holds for the templates, and changes to them after which it does not.
type invariant struct {
	name   string
	holds  func(w *world) error
	broken []mutation
}

type mutation struct{ path, old, replacement string }

// world is a tree with what was computed from it.
type world struct {
	Tree
	plans map[string]Plan
}

func newWorld(t Tree) (*world, error) {
	w := &world{Tree: t, plans: map[string]Plan{}}
	for _, name := range []string{"dev", "prod"} {
		p, err := t.Plan(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		w.plans[name] = p
	}
	return w, nil
}

func load(t testing.TB) Tree {
	t.Helper()
	tree, err := Load("../../../examples/deploy")
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// prove shows that every invariant holds, and that it notices each of its mutations.
func prove(t *testing.T, invariants []invariant) {
	t.Helper()
	proveOn(t, load(t), invariants)
}

// proveOn does it for other templates than the committed ones.
func proveOn(t *testing.T, tree Tree, invariants []invariant) {
	t.Helper()
	w, err := newWorld(tree)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, inv := range invariants {
		t.Run(strings.ReplaceAll(inv.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			if err := inv.holds(w); err != nil {
				t.Fatal(err)
			}
			if len(inv.broken) == 0 {
				t.Fatal("no mutation shows that this can fail")
			}
			for _, m := range inv.broken {
				if err := notices(w, inv, m); err != nil {
					t.Errorf("%s: %q for %q: %v", m.path, m.replacement, m.old, err)
				}
			}
		})
		if names[inv.name] {
			t.Errorf("two invariants are called %q", inv.name)
		}
		names[inv.name] = true
	}
}

func notices(base *world, inv invariant, m mutation) error {
	mutated, err := base.Mutate(m.path, m.old, m.replacement)
	if err != nil {
		return err
	}
	w := &world{mutated, base.plans}
	if strings.HasPrefix(m.path, "terraform/") {
		if w, err = newWorld(mutated); err != nil {
			return fmt.Errorf("the mutation breaks more than the invariant: %w", err)
		}
	}
	if inv.holds(w) == nil {
		return fmt.Errorf("not noticed")
	}
	return nil
}

// each calls check for every resource of a kind, such as aws_lb or aws_iam_policy.server, in both configurations.
func (w *world) each(kind string, check func(r resource) error) error {
	for name, p := range w.plans {
		n := 0
		for address, args := range p {
			if address != kind && !strings.HasPrefix(address, kind+".") && !strings.HasPrefix(address, kind+"[") {
				continue
			}
			n++
			if err := check(resource{address, args, p}); err != nil {
				return fmt.Errorf("%s: %s: %w", name, address, err)
			}
		}
		if n == 0 {
			return fmt.Errorf("%s has no %s", name, kind)
		}
	}
	return nil
}

// same demands one value of an argument of every resource of a kind. A missing argument is nil.
func same(kind, path string, want any) func(*world) error {
	return func(w *world) error {
		return w.each(kind, func(r resource) error { return r.want(path, want) })
	}
}

func (r resource) want(path string, want any) error {
	if n, ok := want.(int); ok {
		want = float64(n)
	}
	if have := r.get(path); !reflect.DeepEqual(have, want) {
		return fmt.Errorf("%s is %#v, want %#v", path, have, want)
	}
	return nil
}

// statement is one of an IAM policy, with lists where one value may stand alone.
type statement struct {
	Sid, Effect      string
	Action, Resource list
	NotAction        list
	Principal        any
	Condition        map[string]map[string]any
}

type list []string

func (l *list) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*l = list{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(l))
}

// policy returns the statements of a policy document.
func (r resource) policy(path string) (s []statement, err error) {
	var doc struct{ Statement []statement }
	err = json.Unmarshal([]byte(r.str(path)), &doc)
	return doc.Statement, err
}

// actions returns what a role's policies allow, from every policy that is attached to it, sorted.
func (w *world) actions(plan, role string) (all []string, err error) {
	p := w.plans[plan]
	collect := func(a string) error {
		s, err := resource{a, p[a], p}.policy("policy")
		for _, s := range s {
			all = append(all, s.Action...)
		}
		return err
	}
	for address, args := range p {
		switch kind, _, _ := strings.Cut(address, "."); {
		case kind == "aws_iam_role_policy" && args["role"] == role+".name":
			err = collect(address)
		case kind == "aws_iam_role_policy_attachment" && args["role"] == role+".name":
			err = collect(strings.TrimSuffix(args["policy_arn"].(string), ".arn"))
		}
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// cloudConfig is what user data asks cloud-init for.
type cloudConfig struct {
	WriteFiles []struct{ Path, Permissions, Content string } `yaml:"write_files"`
	Runcmd     [][]string
}

func parseCloudConfig(text string) (c cloudConfig, err error) {
	if !strings.HasPrefix(text, "#cloud-config\n") {
		return c, fmt.Errorf("cloud-init ignores user data without #cloud-config in its first line")
	}
	d := yaml.NewDecoder(strings.NewReader(text))
	d.KnownFields(true)
	return c, d.Decode(&c)
}

// file returns one of the files that user data writes.
func (c cloudConfig) file(path string) string {
	for _, f := range c.WriteFiles {
		if f.Path == path {
			return f.Content
		}
	}
	return ""
}

// userData returns the parsed user data of a launch template.
func (r resource) userData() (cloudConfig, error) { return parseCloudConfig(r.str("user_data")) }

// collector returns the collector's configuration file on the servers of a group.
func (p Plan) collector(group string) (map[string]any, error) {
	address := "aws_launch_template.server[" + group + "]"
	c, err := resource{address, p[address], p}.userData()
	if err != nil {
		return nil, err
	}
	var m map[string]any
	return m, yaml.Unmarshal([]byte(c.file("/etc/penstock/collector.yaml")), &m)
}
