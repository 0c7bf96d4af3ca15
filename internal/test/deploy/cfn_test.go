package deploy

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write the CloudFormation template")

const twin = "cloudformation/"

// TestCloudFormation: the committed template is the one that the Terraform module makes.
func TestCloudFormation(t *testing.T) {
	if *update {
		template, parameters, err := load(t).CloudFormation()
		if err != nil {
			t.Fatal(err)
		}
		files := map[string][]byte{"penstock.yaml": template, "dev.json": parameters["dev"], "prod.json": parameters["prod"]}
		for name, b := range files {
			if err := os.WriteFile("../../../examples/deploy/"+twin+name, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	prove(t, []invariant{
		{"the twin asks for the same", func(w *world) error {
			template, parameters, err := w.CloudFormation()
			if err != nil {
				return err
			}
			for name, want := range map[string][]byte{"penstock.yaml": template, "dev.json": parameters["dev"], "prod.json": parameters["prod"]} {
				if w.Tree[twin+name] != string(want) {
					return fmt.Errorf("%s differs: go test -run CloudFormation -update", name)
				}
			}
			return nil
		}, []mutation{
			{twin + "penstock.yaml", "aws:SecureTransport: \"false\"", "aws:SecureTransport: \"true\""},
			{twin + "prod.json", `"ParameterValue": "retain"
  },
  {
    "ParameterKey": "MainVolumeGiB"`, `"ParameterValue": "terminate"
  },
  {
    "ParameterKey": "MainVolumeGiB"`},
			{module1 + "servers.tf", "http_put_response_hop_limit = 2", "http_put_response_hop_limit = 3"},
			{module1 + "iam.tf", `["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"]`, `["s3:PutObject", "s3:GetObject"]`},
			{module1 + "user_data.tf", "systemctl enable --now penstock.service", "systemctl start penstock.service"},
			{dev, "bytes_per_day = 20e9", "bytes_per_day = 200e9"},
		}},
		{"user data is below the limit of EC2, which takes 16 KiB", func(w *world) error {
			return w.each("aws_launch_template", func(r resource) error {
				if n := len(r.str("user_data")); n > 12<<10 { // Fn::Base64 cannot compress it
					return fmt.Errorf("%d bytes", n)
				}
				return nil
			})
		}, []mutation{{module1 + "user_data.tf", `lifecycle     = "asg"`, "lifecycle     = \"asg\"\n x = join(\"\", [for i in range(1000) : \"0123456789\"])"}}},
	})
	text := load(t)[twin+"penstock.yaml"]
	if m := regexp.MustCompile(`123456789012|eu-central-1|` + fleetMark + `|\baws_[a-z]+\.|vpc-0|subnet-0|ami-0|10\.0\.1\.10`).FindString(text); m != "" {
		t.Errorf("the template has %s, which belongs to one account or to Terraform", m)
	}
}

// TestCloudFormationConditions: whatever always exists refers to nothing that exists under a condition only.
func TestCloudFormationConditions(t *testing.T) {
	var top struct {
		Resources map[string]yaml.Node `yaml:"Resources"`
	}
	if err := yaml.Unmarshal([]byte(load(t)[twin+"penstock.yaml"]), &top); err != nil {
		t.Fatal(err)
	}
	conditional := map[string]bool{}
	for name, n := range top.Resources {
		var r struct {
			Condition string `yaml:"Condition"`
		}
		if err := n.Decode(&r); err != nil {
			t.Fatal(err)
		}
		conditional[name] = r.Condition != ""
	}
	var refers func(n *yaml.Node) []string
	refers = func(n *yaml.Node) (names []string) {
		if strings.HasPrefix(n.Tag, "!Ref") || strings.HasPrefix(n.Tag, "!GetAtt") || strings.HasPrefix(n.Tag, "!Sub") {
			names = regexp.MustCompile(`[A-Za-z0-9]+`).FindAllString(n.Value, -1)
		}
		for _, c := range n.Content {
			names = append(names, refers(c)...)
		}
		return names
	}
	n := 0
	for name, r := range top.Resources {
		for _, to := range refers(&r) {
			if conditional[to] {
				if n++; !conditional[name] {
					t.Errorf("%s refers to %s, which may not exist", name, to)
				}
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d references to resources with a condition", n)
	}
}

// TestCloudFormationReadsAll: every value of the plan has an effect on the twin. One that has none is a difference that nobody sees.
func TestCloudFormationReadsAll(t *testing.T) {
	tree, err := load(t).Mutate(prod, "relays = {}", oneRelay)
	if err != nil {
		t.Fatal(err)
	}
	p, err := tree.Plan("prod")
	if err != nil {
		t.Fatal(err)
	}
	c := &cfn{p}
	// render makes what a resource is part of: itself, the bucket or the roles.
	render := func(address string) (out string) {
		kind, _, _ := strings.Cut(address, ".")
		owner := map[bool]string{true: "aws_s3_bucket.", false: "aws_iam_role."}[strings.HasPrefix(kind, "aws_s3")]
		for _, a := range sorted(p) {
			if a == address && !partOfOther[kind] || partOfOther[kind] && strings.HasPrefix(a, owner) {
				k, _, _ := strings.Cut(a, ".")
				out += fmt.Sprint(c.intrinsic(converters[k](c, resource{a, p[a], p})))
			}
		}
		return out + string(c.values(p))
	}
	values, used, kinds := 0, map[string]bool{}, map[string]int{}
	for _, address := range sorted(p) {
		kind, _, _ := strings.Cut(address, ".")
		if kinds[kind]++; kind == "data" || kinds[kind] > 2 {
			continue
		}
		before := render(address)
		leaves(p[address], kind, func(path string, set func(any), v any) {
			for known := range withoutCounterpart {
				if strings.HasPrefix(path, known) || strings.HasSuffix(path, known) {
					used[known] = true
					return
				}
			}
			values++
			set(other(v))
			if render(address) == before {
				t.Errorf("%s of %s has no effect", path, address)
			}
			set(v)
		})
	}
	if values < 200 {
		t.Errorf("only %d values were tried", values)
	}
	for known := range withoutCounterpart {
		if !used[known] {
			t.Errorf("nothing is called %s", known)
		}
	}
}

// leaves visits every value of nested maps and lists.
func leaves(v any, path string, visit func(path string, set func(any), v any)) {
	step := func(path string, x any, set func(any)) {
		switch x.(type) {
		case map[string]any, []any:
			leaves(x, path, visit)
		default:
			visit(path, set, x)
		}
	}
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			step(path+"."+k, x, func(y any) { v[k] = y })
		}
	case []any:
		for i, x := range v {
			step(path, x, func(y any) { v[i] = y })
		}
	}
}

// other returns a different value.
func other(v any) any {
	switch v := v.(type) {
	case bool:
		return !v
	case float64:
		return v + 1
	case string:
		if strings.HasPrefix(v, "{") {
			return strings.Replace(v, `"Effect":"`, `"Effect":"x`, 1)
		}
		if strings.HasPrefix(v, "IF(") {
			return strings.Replace(v, "backlog", "backlogs", 1)
		}
		switch v {
		case "true":
			return "false"
		case "false":
			return "true"
		}
		return v + "x"
	}
	return v
}

// TestCFNLint asks cfn-lint, which knows all properties, their types and many of their values.
func TestCFNLint(t *testing.T) {
	if err := exec.Command("cfn-lint", "--version").Run(); err != nil {
		t.Skip("cfn-lint is not installed, and no registry that can be reached has it")
	}
	out, err := exec.Command("cfn-lint", "--regions", "eu-central-1", "--", "../../../examples/deploy/"+twin+"penstock.yaml").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "" {
		t.Errorf("%v\n%s", err, out)
	}
}
