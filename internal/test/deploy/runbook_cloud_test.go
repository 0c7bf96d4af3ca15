package deploy

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestRunbookCloud: the commands of the runbook that no stage can run name operations, parameters and fields that Amazon's SDK has, and
// resources, outputs and files that the templates have.
func TestRunbookCloud(t *testing.T) {
	prove(t, []invariant{
		{"the commands of aws exist", awsCommands, []mutation{
			{runbook, "aws autoscaling set-desired-capacity", "aws autoscaling set-desired-size"},
			{runbook, "aws ec2 attach-volume --volume-id", "aws ec2 attach-volume --volume-ids"},
			{runbook, "--query 'AutoScalingInstances[]", "--query 'AutoScalingInstance[]"},
		}},
		{"the commands of terraform name what is there", terraformCommands, []mutation{
			{runbook, "terraform destroy -var-file=prod.tfvars", "terraform destroy -var-file=production.tfvars"},
			{runbook, "module.penstock.aws_s3_bucket_policy.this", "module.penstock.aws_s3_bucket_policies.this"},
			{runbook, " module.penstock.aws_s3_bucket_versioning.this", ""},
			{"terraform/prod/main.tf", `output "penstock"`, `output "fleet"`},
		}},
		{"the commands name the groups of prod", groupNames, []mutation{
			{runbook, "--auto-scaling-group-name penstock-main --desired-capacity", "--auto-scaling-group-name penstock --desired-capacity"},
			{prod, `name = "penstock"`, `name = "logs"`},
		}},
		{"no other program is needed", knownPrograms, []mutation{
			{runbook, "journalctl --unit penstock", "loginctl --unit penstock"},
		}},
	})
}

// cloudLines are the commands of the blocks that are not run, with the directory that each block changes to.
func cloudLines(w *world) (all []struct{ dir, line string }) {
	for _, m := range regexp.MustCompile("(?ms)^```sh cloud[^\n]*\n(.*?)^```$").FindAllStringSubmatch(w.Tree[runbook], -1) {
		dir := ""
		for line := range strings.Lines(m[1]) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), "    #")
			if d, ok := strings.CutPrefix(line, "cd "); ok {
				dir = d
			}
			if line != "" && !strings.HasPrefix(line, "#") {
				all = append(all, struct{ dir, line string }{dir, line})
			}
		}
	}
	return all
}

// sdk is the source of a service in Amazon's SDK for Go, from the module that uses it.
var sdk = map[string]func() (string, error){
	"autoscaling": sync.OnceValues(func() (string, error) { return sdkSource("../../..", "autoscaling") }),
	"ec2":         sync.OnceValues(func() (string, error) { return sdkSource("../../../examples/reaper", "ec2") }),
}

func sdkSource(module, service string) (string, error) {
	cmd := exec.Command("go", "mod", "download", "-json", "github.com/aws/aws-sdk-go-v2/service/"+service)
	cmd.Dir = module
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%v: %w", cmd.Args, err)
	}
	var m struct{ Dir string }
	err = json.Unmarshal(out, &m)
	return m.Dir, err
}

var (
	flagOf = regexp.MustCompile(` --([a-z-]+)`)
	nameOf = regexp.MustCompile(`[A-Z][A-Za-z]+`)
)

// awsCommands checks each command of aws: the API's operations and parameters are those of the command line, in another spelling.
func awsCommands(w *world) error {
	n := 0
	for _, c := range cloudLines(w) {
		args := strings.Fields(c.line)
		if args[0] != "aws" {
			continue
		}
		n++
		source := sdk[args[1]]
		if source == nil {
			return fmt.Errorf("%s: a service that the test does not know", c.line)
		}
		dir, err := source()
		if err != nil {
			return err
		}
		op := camelCase(args[2])
		b, err := os.ReadFile(filepath.Join(dir, "api_op_"+op+".go"))
		if err != nil {
			return fmt.Errorf("%s: there is no operation %s", c.line, op)
		}
		types, err := os.ReadFile(filepath.Join(dir, "types", "types.go"))
		if err != nil {
			return err
		}
		input := regexp.MustCompile(`(?s)type ` + op + `Input struct \{.*?\n\}`).FindString(string(b))
		for _, f := range flagOf.FindAllStringSubmatch(c.line, -1) {
			if name := camelCase(f[1]); f[1] != "query" && f[1] != "output" && !strings.Contains(input, "\n\t"+name+" ") {
				return fmt.Errorf("%s: %s has no %s", c.line, op, name)
			}
		}
		_, query, _ := strings.Cut(c.line, "--query '")
		query, _, _ = strings.Cut(query, "'")
		query = regexp.MustCompile("`[^`]*`").ReplaceAllString(query, "")
		for _, name := range nameOf.FindAllString(query, -1) {
			if !strings.Contains(string(b)+string(types), "\n\t"+name+" ") {
				return fmt.Errorf("%s: the answer of %s has no %s", c.line, op, name)
			}
		}
	}
	if n < 5 {
		return fmt.Errorf("only %d commands of aws", n)
	}
	return nil
}

// camelCase makes terminate-instance TerminateInstance.
func camelCase(s string) (out string) {
	for word := range strings.SplitSeq(s, "-") {
		out += strings.ToUpper(word[:1]) + word[1:]
	}
	return out
}

// terraformCommands checks files, outputs and addresses. Before a destroy, the bucket and all of its settings leave the state.
func terraformCommands(w *world) error {
	var removed []string
	for _, c := range cloudLines(w) {
		args := strings.Fields(c.line)
		if args[0] != "terraform" {
			continue
		}
		if !slices.Contains([]string{"init", "plan", "apply", "output", "state", "destroy"}, args[1]) {
			return fmt.Errorf("%s: not a command of the runbook's Terraform", c.line)
		}
		for _, a := range args[2:] {
			if file, ok := strings.CutPrefix(a, "-var-file="); ok && w.Tree[c.dir+"/"+file] == "" {
				return fmt.Errorf("%s: there is no %s/%s", c.line, c.dir, file)
			}
			if address, ok := strings.CutPrefix(a, "module.penstock."); ok {
				if w.plans["prod"][address] == nil {
					return fmt.Errorf("%s: there is no %s", c.line, address)
				}
				removed = append(removed, address)
			}
		}
		if args[1] == "output" && !strings.Contains(w.Tree[c.dir+"/main.tf"], fmt.Sprintf("output %q", args[len(args)-1])) {
			return fmt.Errorf("%s: there is no such output", c.line)
		}
	}
	for address := range w.plans["prod"] {
		if strings.HasPrefix(address, "aws_s3_bucket") && !slices.Contains(removed, address) {
			return fmt.Errorf("%s would be destroyed: it is a setting of the bucket with the records", address)
		}
	}
	return nil
}

// groupNames checks the names of groups and fleets.
func groupNames(w *world) error {
	name, _ := at(w.plans["prod"]["aws_autoscaling_group.this[main]"], "name").(string)
	for _, c := range cloudLines(w) {
		for _, m := range regexp.MustCompile(`--auto-scaling-group-names? (\S+)`).FindAllStringSubmatch(c.line, -1) {
			if m[1] != name {
				return fmt.Errorf("%s: the group is called %s", c.line, name)
			}
		}
		if m := regexp.MustCompile(`tag:penstock:fleet,Values=(\S+)`).FindStringSubmatch(c.line); m != nil && m[1] != w.fleet(w.plans["prod"]) {
			return fmt.Errorf("%s: the fleet is called %s", c.line, w.fleet(w.plans["prod"]))
		}
	}
	return nil
}

// knownPrograms lists what a block that is not run may call.
func knownPrograms(w *world) error {
	for _, c := range cloudLines(w) {
		program := strings.Fields(c.line)[0]
		if !slices.Contains([]string{"aws", "cd", "dpkg", "$EDITOR", "journalctl", "mkdir", "mount", "penstock-collector", "terraform"}, program) {
			return fmt.Errorf("%s: %s", c.line, program)
		}
	}
	return nil
}
