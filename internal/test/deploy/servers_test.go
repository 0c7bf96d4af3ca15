package deploy

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
)

const (
	dev  = "terraform/dev/dev.tfvars"
	prod = "terraform/prod/prod.tfvars"
)

// TestServers: launch templates and Auto Scaling groups.
func TestServers(t *testing.T) {
	servers := module1 + "servers.tf"
	group, template := "aws_autoscaling_group", "aws_launch_template"
	data := "block_device_mappings.0.ebs.0."
	prove(t, []invariant{
		{"an unanswered hook keeps the data", same(group, "initial_lifecycle_hook.0.default_result", "ABANDON"), []mutation{
			{servers, `default_result       = "ABANDON"`, `default_result       = "CONTINUE"`},
			{servers, `default_result       = "ABANDON"`, ``},
		}},
		{"the hook is for termination", same(group, "initial_lifecycle_hook.0.lifecycle_transition", "autoscaling:EC2_INSTANCE_TERMINATING"), []mutation{
			{servers, "autoscaling:EC2_INSTANCE_TERMINATING", "autoscaling:EC2_INSTANCE_LAUNCHING"},
		}},
		{"the hook's time-out is 1800 s", same(group, "initial_lifecycle_hook.0.heartbeat_timeout", 1800), []mutation{
			{servers, "heartbeat_timeout    = each.value.heartbeat", ""},
			{module1 + "variables.tf", "optional(number, 1800)", "optional(number, 3600)"},
		}},
		{"the hook has the name that the collector answers", hookName, []mutation{
			{servers, `name                 = "drain"`, `name                 = "termination"`},
			{module1 + "user_data.tf", `asg-hook      = "drain"`, `asg-hook      = "end"`},
		}},
		{"the hook is there before the first instance", initialHook, []mutation{
			{module1 + "outputs.tf", `output "bucket"`, "resource \"aws_autoscaling_lifecycle_hook\" \"drain\" {\n}\n\noutput \"bucket\""},
		}},
		{"an unfinished drain keeps the instance in prod", retention, []mutation{
			{servers, `each.value.retain ? "retain" : "terminate"`, `"terminate"`},
			{prod, "bytes_per_day = 5e12", "bytes_per_day = 5e12, retain = false"},
			{dev, "outage_hours = 12, retain = false, spot = true }\n    apart", "outage_hours = 12, spot = true }\n    apart"},
		}},
		{"a group is not deleted by force", same(group, "force_delete", false), []mutation{
			{servers, "force_delete              = false", "force_delete              = true"},
		}},
		{"a page that does not answer terminates nothing", same(group, "health_check_type", "EC2"), []mutation{
			{servers, `health_check_type         = "EC2"`, `health_check_type         = "ELB"`},
		}},
		{"prod has 5 to 10 servers, dev one or two", sizes, []mutation{
			{prod, "min = 5, max = 10", "min = 1, max = 10"},
			{dev, "min = 1, max = 2", "min = 3, max = 3"},
		}},
		{"spot in dev only", spot, []mutation{
			{servers, "each.value.spot ? 0 : 100", "0"},
			{prod, "bytes_per_day = 5e12", "bytes_per_day = 5e12, spot = true"},
		}},
		{"servers are in several zones", func(w *world) error {
			return w.each(group, func(r resource) error {
				if l, _ := r.get("vpc_zone_identifier").([]any); len(l) < 2 {
					return fmt.Errorf("one subnet")
				}
				return nil
			})
		}, []mutation{{servers, "vpc_zone_identifier = var.network.server_subnets", "vpc_zone_identifier = [var.network.server_subnets[0]]"}}},
		{"a server is replaced after its successor has started", same(group, "instance_maintenance_policy.0.min_healthy_percentage", 100), []mutation{
			{servers, "  instance_maintenance_policy {\n    min_healthy_percentage = 100", "  instance_maintenance_policy {\n    min_healthy_percentage = 50"},
		}},
		{"applying does not undo the scaling policies", same(group, "lifecycle.ignore_changes", []any{"desired_capacity"}), []mutation{
			{servers, "ignore_changes = [desired_capacity]", "ignore_changes = [tag]"},
		}},
		{"a group has exactly the target groups of its classes", targets, []mutation{
			{servers, "for k in keys(local.group_listeners[each.key])", "for k in keys(var.listeners)"},
			{servers, "aws_lb_target_group.this[k].arn]", "aws_lb_target_group.this[k].arn if k != \"web-udp\"]"},
		}},
		{"the data volume outlives its instance", same(template, data+"delete_on_termination", "false"), []mutation{
			{servers, `delete_on_termination = "false"`, `delete_on_termination = "true"`},
			{servers, `delete_on_termination = "false"`, ``},
		}},
		{"the data volume is encrypted", same(template, data+"encrypted", "true"), []mutation{{servers, `encrypted             = "true"`, ``}}},
		{"the data volume is a gp3", same(template, data+"volume_type", "gp3"), []mutation{{servers, `"gp3"`, `"gp2"`}}},
		{"volumes have the size of the traffic", volumes, []mutation{
			{module1 + "locals.tf", "* 1.2 / 0.9", "* 1.2"},
			{module1 + "locals.tf", "* 2.6 /", "/"},
			{module1 + "locals.tf", "g.outage_hours / 1073741824", "1 / 1073741824"},
			{module1 + "locals.tf", "max(3000, 4 * local.throughput[k])", "local.throughput[k]"},
		}},
		{"the volume is where udev looks for it", func(w *world) error {
			return same(template, "block_device_mappings.0.device_name", "/dev/sdf")(w)
		}, []mutation{{module1 + "locals.tf", `"/dev/sdf"`, `"/dev/sdg"`}}},
		{"only IMDSv2", same(template, "metadata_options.0.http_tokens", "required"), []mutation{{servers, `"required"`, `"optional"`}}},
		{"a container reaches the metadata", same(template, "metadata_options.0.http_put_response_hop_limit", 2), []mutation{
			{servers, "http_put_response_hop_limit = 2", "http_put_response_hop_limit = 1"},
		}},
		{"the instance knows its tags", same(template, "metadata_options.0.instance_metadata_tags", "enabled"), []mutation{
			{servers, `instance_metadata_tags      = "enabled"`, ``},
		}},
		{"instances and volumes carry the fleet and the group", tagged, []mutation{
			{servers, `toset(["instance", "volume", "network-interface"])`, `toset(["instance"])`},
			{module1 + "locals.tf", `"penstock:fleet" = var.name`, `"penstock:Fleet" = var.name`},
			{servers, "resource_type = tag_specifications.value\n      tags          = merge(local.tags, { Name = \"${var.name}-${each.key}\", \"penstock:group\" = each.key })", "resource_type = tag_specifications.value\n      tags          = local.tags"},
		}},
		{"an instance that shuts down keeps its volumes", same(template, "instance_initiated_shutdown_behavior", "stop"), []mutation{
			{servers, `instance_initiated_shutdown_behavior = "stop"`, `instance_initiated_shutdown_behavior = "terminate"`},
		}},
		{"metrics come once a minute", same(template, "monitoring.0.enabled", true), []mutation{{servers, "enabled = true", "enabled = false"}}},
	})
}

func hookName(w *world) error {
	return w.each("aws_autoscaling_group", func(r resource) error {
		c, err := r.plan.collector(r.key())
		if err != nil {
			return err
		}
		return r.want("initial_lifecycle_hook.0.name", c["asg-hook"])
	})
}

func initialHook(w *world) error {
	for _, p := range w.plans {
		for address := range p {
			if strings.HasPrefix(address, "aws_autoscaling_lifecycle_hook") {
				return fmt.Errorf("%s is made after the group", address)
			}
		}
	}
	return nil
}

func retention(w *world) error {
	return w.each("aws_autoscaling_group", func(r resource) error {
		want := "retain"
		if r.plan.environment() == "dev" {
			want = "terminate"
		}
		return r.want("instance_lifecycle_policy.0.retention_triggers.0.terminate_hook_abandon", want)
	})
}

// environment is the tag of that name.
func (p Plan) environment() string {
	e, _ := at(p["aws_s3_bucket.this"], "tags.environment").(string)
	return e
}

func sizes(w *world) error {
	d, p := w.plans["dev"], w.plans["prod"]
	main := "aws_autoscaling_group.this[main]"
	if low, high := at(p[main], "min_size"), at(p[main], "max_size"); low != 5.0 || high != 10.0 {
		return fmt.Errorf("prod has %v to %v", low, high)
	}
	if low, high := at(d[main], "min_size").(float64), at(d[main], "max_size").(float64); low < 1 || high > 2 {
		return fmt.Errorf("dev has %v to %v", low, high)
	}
	return nil
}

func spot(w *world) error {
	return w.each("aws_autoscaling_group", func(r resource) error {
		want := 100
		if r.plan.environment() == "dev" {
			want = 0
		}
		return r.want("mixed_instances_policy.0.instances_distribution.0.on_demand_percentage_above_base_capacity", want)
	})
}

func targets(w *world) error {
	return w.each("aws_autoscaling_group", func(r resource) error {
		want := map[string]bool{}
		c, err := r.plan.collector(r.key())
		if err != nil {
			return err
		}
		for class, v := range c["classes"].(map[string]any) {
			for _, l := range at(v, "listen").([]any) {
				scheme, _, _ := strings.Cut(l.(string), ":")
				want["aws_lb_target_group.this["+class+"-"+scheme+"].arn"] = true
				if class == "apart" {
					want = map[string]bool{"aws_lb_target_group.this[apart].arn": true}
				}
			}
		}
		have := r.get("target_group_arns").([]any)
		for _, a := range have {
			if !want[a.(string)] {
				return fmt.Errorf("%v is not of its classes", a)
			}
		}
		if wantN := map[string]int{"main": 4, "apart": 1}[r.key()]; len(have) != wantN || len(want) != wantN {
			return fmt.Errorf("%d target groups and %d listeners, want %d", len(have), len(want), wantN)
		}
		return nil
	})
}

// volumes computes the sizes once more: a server of the smallest group holds the mean traffic of the outage, with a fifth for the
// compressed copy and a tenth of the file system free, and its disk takes the busiest minute.
func volumes(w *world) error {
	// With ten times the traffic on as many servers the busiest minute counts.
	more, err := w.Mutate(prod, "bytes_per_day = 5e12", "bytes_per_day = 50e12, outage_hours = 6")
	if err != nil {
		return err
	}
	busy, err := more.Plan("prod")
	if err != nil {
		return err
	}
	plans := maps.Clone(w.plans)
	plans["busy"] = busy
	for name, bytes := range map[string]map[string][2]float64{
		// bytes per second of one server, hours
		"prod": {"main": {5e12 / 86400 / 5, 24}, "apart": {500e9 / 86400 / 2, 24}},
		"busy": {"main": {50e12 / 86400 / 5, 6}},
		"dev":  {"main": {20e9 / 86400, 12}, "apart": {2e9 / 86400, 12}},
	} {
		for group, x := range bytes {
			mean, hours := x[0], x[1]
			ebs := at(plans[name]["aws_launch_template.server["+group+"]"], "block_device_mappings.0.ebs.0")
			size, through, iops := at(ebs, "volume_size").(float64), at(ebs, "throughput").(float64), at(ebs, "iops").(float64)
			if usable := size * (1 << 30) * 0.9; usable < mean*3600*hours*1.2 {
				return fmt.Errorf("%s %s: %v GiB hold %v h", name, group, size, usable/mean/3600/1.2)
			}
			if want := max(125, math.Ceil(3*mean*2.6/(1<<20))); through != want {
				return fmt.Errorf("%s %s: %v MiB/s, want %v", name, group, through, want)
			}
			if iops < 3000 || iops < 4*through || iops > 500*size || size > 65536 || through > 2000 || iops > 80000 {
				return fmt.Errorf("%s %s: gp3 has no %v IOPS, %v MiB/s and %v GiB", name, group, iops, through, size)
			}
		}
	}
	return nil
}

func tagged(w *world) error {
	return w.each("aws_launch_template", func(r resource) error {
		var kinds []string
		for _, s := range r.get("tag_specifications").([]any) {
			kinds = append(kinds, at(s, "resource_type").(string))
			if at(s, "tags.penstock:fleet") != strings.TrimSuffix(r.str("name"), "-"+r.key()) || at(s, "tags.penstock:group") != r.key() {
				return fmt.Errorf("tags of %v", s)
			}
		}
		if !slices.Contains(kinds, "instance") || !slices.Contains(kinds, "volume") {
			return fmt.Errorf("tags of %v only", kinds)
		}
		return nil
	})
}
