package deploy

import (
	"bytes"
	_ "embed"
	"fmt"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

const module1 = "terraform/modules/penstock/"

//go:embed provider-names.txt
var providerNames string

// TestTerraformSource: what holds for the text of the Terraform files.
func TestTerraformSource(t *testing.T) {
	prove(t, []invariant{
		{"every argument is one of the AWS provider", knownArguments, []mutation{
			{module1 + "servers.tf", "terminate_hook_abandon =", "terminate_hook_abandoned ="},
			{module1 + "load_balancers.tf", "enable_cross_zone_load_balancing =", "cross_zone_load_balancing ="},
			{module1 + "bucket.tf", "abort_incomplete_multipart_upload {", "abort_unfinished_uploads {"},
			{module1 + "load_balancers.tf", `dynamic "target_health_state"`, `dynamic "target_health"`},
		}},
		{"files are formatted", formatted, []mutation{
			{module1 + "versions.tf", `source = "hashicorp/aws"`, `source   = "hashicorp/aws"`},
			{"terraform/dev/dev.tfvars", `name = "penstock-dev"`, `name  = "penstock-dev"`},
		}},
		{"dev and prod have the same main.tf", func(w *world) error {
			if w.Tree["terraform/dev/main.tf"] != w.Tree["terraform/prod/main.tf"] {
				return fmt.Errorf("they differ")
			}
			return nil
		}, []mutation{{"terraform/dev/main.tf", "use_lockfile = true", "use_lockfile = false"}}},
		{"the provider knows the retention of instances", providerVersion, []mutation{
			{module1 + "versions.tf", ">= 6.48, < 7.0", ">= 6.0, < 7.0"},
			{"terraform/prod/main.tf", ">= 6.48, < 7.0", "~> 6.47.1"},
		}},
		{"the root passes every variable of the module", everyVariable, []mutation{
			{module1 + "outputs.tf", `output "bucket"`, "variable \"forgotten\" {\n  default = 1\n}\n\noutput \"bucket\""},
		}},
		{"variables are described", described, []mutation{
			{module1 + "variables.tf", `  description = "Network load balancers by name."` + "\n", ""},
		}},
		{"every variable and local is used", used, []mutation{
			{module1 + "locals.tf", "  account     =", "  unused = 1\n  account     ="},
		}},
	})
}

// TestTerraformFmt: Terraform's own formatter agrees. Where it is absent, hclwrite has the say alone.
func TestTerraformFmt(t *testing.T) {
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skip("terraform is not installed")
	}
	if out, err := exec.Command("terraform", "fmt", "-check", "-recursive", "../../../examples/deploy/terraform").Output(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestTerraformRefuses: mistakes that the module's own conditions find.
func TestTerraformRefuses(t *testing.T) {
	prod := "terraform/prod/prod.tfvars"
	for _, c := range []struct{ old, replacement, want string }{
		{`name = "penstock"`, `name = "Penstock"`, "small letters"},
		{`name = "penstock"`, `name = "a-fleet-with-a-long-name"`, "32 characters"},
		{`["subnet-0aaaaaaaaaaaaaaa1", "subnet-0aaaaaaaaaaaaaaa2", "subnet-0aaaaaaaaaaaaaaa3"]`, `["subnet-0aaaaaaaaaaaaaaa1"]`, "at least two availability zones"},
		{`class = "apart", protocol = "UDP"`, `class = "apart", protocol = "TCP_UDP"`, "TCP_UDP would give both"},
		{"target_port = 5142", "target_port = 8080", "8080 is the status page"},
		{"target_port = 5142", "target_port = 514", "no privilege"},
		{`classes = ["apart"]`, `classes = ["apart", "vpn"]`, "exactly one group"},
		{`classes = ["apart"]`, `classes = ["other"]`, "No group of servers has the class"},
		{`load_balancer = "apart"`, `load_balancer = "gone"`, "not among load_balancers"},
		{"min = 2, max = 4", "min = 5, max = 4", "max is not below min"},
		{"min = 2, max = 4", "min = 2, max = 4, heartbeat = 99999", "1200 to 7200 s"},
		{"min = 2, max = 4", "min = 2, max = 4, heartbeat = 1199", "1200 to 7200 s"}, // the collector would warn at each start
		{"bytes_per_day = 5e12", "bytes_per_day = 5e15", "One gp3 volume cannot take this traffic"},
		{`"arn:aws:secretsmanager:eu-central-1:123456789012:secret:penstock/idc-key-AbCdEf"`, `"-----BEGIN OPENSSH PRIVATE KEY-----"`, "Never a secret itself"},
	} {
		m, err := load(t).Mutate(prod, c.old, c.replacement)
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := m.Plan("prod"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.replacement, err, c.want)
		}
	}
}

// knownArguments compares names with those that the provider has. The table is of Pulumi, which calls lists by their plural.
func knownArguments(w *world) error {
	known := map[string]bool{}
	for _, l := range strings.Split(providerNames, "\n") {
		known[l] = true
	}
	lists := func(s string) []string { return []string{s, s + "[]", s + "s[]", strings.TrimSuffix(s, "y") + "ies[]"} }
	var walk func(resource, prefix string, b *hclsyntax.Body) error
	walk = func(resource, prefix string, b *hclsyntax.Body) error {
		find := func(name string) (string, error) {
			for _, n := range lists(name) {
				if known[resource+" "+prefix+n] {
					return prefix + n, nil
				}
			}
			return "", fmt.Errorf("%s has no %s%s", resource, prefix, name)
		}
		for name := range b.Attributes {
			if prefix == "" && slices.Contains([]string{"for_each", "count", "depends_on"}, name) {
				continue
			}
			if _, err := find(name); err != nil {
				return err
			}
		}
		for _, inner := range b.Blocks {
			kind, content := inner.Type, inner.Body
			if kind == "lifecycle" && prefix == "" {
				continue
			}
			if kind == "dynamic" {
				kind, content = inner.Labels[0], inner.Body.Blocks[0].Body
			}
			p, err := find(kind)
			if err == nil {
				err = walk(resource, p+".", content)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	m, err := w.parse(strings.TrimSuffix(module1, "/"))
	if err != nil {
		return err
	}
	for _, b := range m.of("resource") {
		if err := walk(b.Labels[0], "", b.Body); err != nil {
			return err
		}
	}
	return nil
}

func formatted(w *world) error {
	for _, ext := range []string{".tf", ".tfvars"} {
		for _, p := range w.Under("terraform", ext) {
			if text := []byte(w.Tree[p]); !bytes.Equal(hclwrite.Format(text), text) {
				return fmt.Errorf("%s: run terraform fmt", p)
			}
		}
	}
	return nil
}

func providerVersion(w *world) error {
	for _, p := range w.Under("terraform", ".tf") {
		if strings.Contains(w.Tree[p], "required_providers") && !strings.Contains(w.Tree[p], `">= 6.48, < 7.0"`) {
			return fmt.Errorf("%s: instance_lifecycle_policy came after 6.47.1", p)
		}
	}
	return nil
}

func everyVariable(w *world) error {
	m, err := w.parse(strings.TrimSuffix(module1, "/"))
	if err != nil {
		return err
	}
	root, err := w.parse("terraform/prod")
	if err != nil {
		return err
	}
	for _, b := range m.of("variable") {
		if root.of("module")[0].Body.Attributes[b.Labels[0]] == nil {
			return fmt.Errorf("%s is not passed", b.Labels[0])
		}
	}
	return nil
}

func described(w *world) error {
	m, err := w.parse(strings.TrimSuffix(module1, "/"))
	if err != nil {
		return err
	}
	for _, b := range append(m.of("variable"), m.of("output")...) {
		if b.Body.Attributes["description"] == nil {
			return fmt.Errorf("%s %s", b.Type, b.Labels[0])
		}
	}
	return nil
}

// used looks for names that nothing refers to.
func used(w *world) error {
	m, err := w.parse(strings.TrimSuffix(module1, "/"))
	if err != nil {
		return err
	}
	refs := map[string]bool{}
	for _, b := range m.blocks {
		hclsyntax.VisitAll(b.Body, func(n hclsyntax.Node) hcl.Diagnostics {
			if e, ok := n.(*hclsyntax.ScopeTraversalExpr); ok && len(e.Traversal) > 1 {
				if a, ok := e.Traversal[1].(hcl.TraverseAttr); ok {
					refs[e.Traversal.RootName()+"."+a.Name] = true
				}
			}
			return nil
		})
	}
	for _, b := range m.of("variable") {
		if !refs["var."+b.Labels[0]] {
			return fmt.Errorf("var.%s", b.Labels[0])
		}
	}
	for _, b := range m.of("locals") {
		for name := range b.Body.Attributes {
			if !refs["local."+name] {
				return fmt.Errorf("%s: local.%s", path.Base(b.TypeRange.Filename), name)
			}
		}
	}
	return nil
}
