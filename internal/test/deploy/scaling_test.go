package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestScaling: policies, metrics and alarms.
func TestScaling(t *testing.T) {
	scaling, alarms, observe := module1+"scaling.tf", module1+"alarms.tf", module1+"observe.tf"
	prove(t, []invariant{
		{"target tracking only adds servers", func(w *world) error {
			for _, p := range []string{"out_network", "out_cpu"} {
				if err := same("aws_autoscaling_policy."+p, "target_tracking_configuration.0.disable_scale_in", true)(w); err != nil {
					return err
				}
			}
			return nil
		}, []mutation{
			{scaling, "target_value     = 60\n    disable_scale_in = true", "target_value     = 60\n    disable_scale_in = false"},
			{scaling, "target_value     = local.network_in_target[each.key]\n    disable_scale_in = true", "target_value     = local.network_in_target[each.key]"},
		}},
		{"servers are added on a metric that target tracking has", func(w *world) error {
			path := "target_tracking_configuration.0.predefined_metric_specification.0.predefined_metric_type"
			if err := same("aws_autoscaling_policy.out_network", path, "ASGAverageNetworkIn")(w); err != nil {
				return err
			}
			return same("aws_autoscaling_policy.out_cpu", path, "ASGAverageCPUUtilization")(w)
		}, []mutation{{scaling, "ASGAverageNetworkIn", "NLBAverageProcessedBytes"}}},
		{"the mean traffic is below the target, the busiest minute of all servers above", traffic, []mutation{
			{scaling, "* 60 * 0.7", "* 0.7"},
			{scaling, "* 60 * 0.7", "* 300 * 0.7"},
			{module1 + "locals.tf", "max(local.mean[k], local.burst[k] * g.min / g.max)", "local.burst[k]"},
		}},
		{"servers leave one at a time", func(w *world) error {
			if err := same("aws_autoscaling_policy.in", "step_adjustment.0.scaling_adjustment", -1)(w); err != nil {
				return err
			}
			return same("aws_autoscaling_policy.in", "adjustment_type", "ChangeInCapacity")(w)
		}, []mutation{
			{scaling, "scaling_adjustment          = -1", "scaling_adjustment          = -2"},
			{scaling, `"ChangeInCapacity"`, `"PercentChangeInCapacity"`},
		}},
		{"servers leave only without a backlog", quiet, []mutation{
			{scaling, "backlog < ${var.alarms.pending_seconds / 3} AND ", ""},
			{scaling, " AND traffic", " OR traffic"},
			{scaling, "metric_name = local.metric.pending_seconds", "metric_name = local.metric.lost"},
			{scaling, `stat        = "Maximum"`, `stat        = "Minimum"`},
			{scaling, "alarm_actions      = [aws_autoscaling_policy.in[each.key].arn]", "alarm_actions      = var.alarms.actions"},
		}},
		{"nothing leaves while nobody knows the backlog", func(w *world) error {
			return w.each("aws_cloudwatch_metric_alarm.in", func(r resource) error {
				if r.get("evaluation_periods") != r.get("datapoints_to_alarm") {
					return fmt.Errorf("%v of %v", r.get("datapoints_to_alarm"), r.get("evaluation_periods"))
				}
				return r.want("treat_missing_data", "notBreaching")
			})
		}, []mutation{
			{scaling, `treat_missing_data = "notBreaching"`, `treat_missing_data = "breaching"`},
			{scaling, "datapoints_to_alarm = 15", "datapoints_to_alarm = 10"},
		}},
		{"a server that leaves brings none back", hysteresis, []mutation{
			{scaling, "local.network_in_target[each.key] / 2", "local.network_in_target[each.key]"},
		}},
		{"alarms read metrics that the agent sends, with its dimensions", selected, []mutation{
			{observe, `metric_selectors = [for m in local.sent : "^${m}$"]`, `metric_selectors = ["^penstock_lost_records_total$"]`},
			{observe, `var.reaper ? values(local.reaper_metric) : []`, `[]`},
			{observe, `"^penstock(-reaper)?$"`, `"^penstock$"`},
			{observe, `dimensions       = [["fleet", "group"]]`, `dimensions       = [["fleet"]]`},
			{observe, "metric_namespace         = local.namespace", `metric_namespace         = "CWAgent"`},
			{observe, "labels = { fleet = var.name, group = k }", "labels = { fleet = var.name }"},
			{scaling, "dimensions  = { fleet = var.name, group = each.key }", "dimensions  = { group = each.key }"},
			{observe, `source_labels    = ["job"]`, `source_labels    = ["instance"]`},
		}},
		{"the agent scrapes the collector's page", func(w *world) error {
			return w.each("aws_launch_template", func(r resource) error {
				c, err := r.userData()
				if err != nil {
					return err
				}
				var scrape any
				if err := yaml.Unmarshal([]byte(c.file("/etc/penstock/prometheus.yaml")), &scrape); err != nil {
					return err
				}
				collector, err := r.plan.collector(r.key())
				if err != nil {
					return err
				}
				if target := at(scrape, "scrape_configs.0.static_configs.0.targets.0"); target != fmt.Sprint("127.0.0.1", collector["http"]) {
					return fmt.Errorf("it scrapes %v", target)
				}
				var reaper struct{ HTTP string }
				if err := yaml.Unmarshal([]byte(c.file("/etc/penstock/reaper.yaml")), &reaper); err != nil {
					return err
				}
				if target := at(scrape, "scrape_configs.1.static_configs.0.targets.0"); target != reaper.HTTP || !strings.HasPrefix(reaper.HTTP, "127.0.0.1:") {
					return fmt.Errorf("it scrapes %v, and the reaper is at %s", target, reaper.HTTP)
				}
				var agent any
				err = json.Unmarshal([]byte(c.file("/etc/penstock/cloudwatch.json")), &agent)
				if path := at(agent, "logs.metrics_collected.prometheus.prometheus_config_path"); path != "/etc/penstock/prometheus.yaml" {
					return fmt.Errorf("its configuration is %v", path)
				}
				return err
			})
		}, []mutation{
			{observe, `"127.0.0.1:${port}"`, `"127.0.0.1:9100"`},
			{observe, "penstock-reaper = local.reaper_port", "penstock-reaper = local.http_port"},
			{module1 + "user_data.tf", "127.0.0.1:${local.reaper_port}", ":${local.reaper_port}"},
			{observe, `"/etc/penstock/prometheus.yaml"`, `"/etc/prometheus.yaml"`},
		}},
		{"somebody is told that a volume is kept, and that nobody empties volumes", func(w *world) error {
			for name, want := range map[string]struct {
				metric, stat, missing string
				threshold             float64
			}{
				"collector[main kept]":           {"penstock_reaper_kept_volumes", "Maximum", "notBreaching", 0},
				"collector[main orphaned]":       {"penstock_reaper_oldest_volume_seconds", "Maximum", "notBreaching", 86400},
				"collector[main reaper-failing]": {"penstock_reaper_success_age_seconds", "Maximum", "notBreaching", 3600},
				"reaper_silent[main]":            {"penstock_reaper_info", "SampleCount", "breaching", 1},
			} {
				for _, p := range w.plans {
					r := resource{name, p["aws_cloudwatch_metric_alarm."+name], p}
					if err := errors.Join(r.want("metric_name", want.metric), r.want("statistic", want.stat), r.want("treat_missing_data", want.missing), r.want("threshold", want.threshold)); err != nil {
						return fmt.Errorf("%s: %w", name, err)
					}
				}
			}
			return nil
		}, []mutation{
			{module1 + "reaper_alarms.tf", "metric = local.reaper_metric.kept, stat = \"Maximum\"", "metric = local.reaper_metric.kept, stat = \"Minimum\""},
			{alarms, "var.reaper ? local.reaper_alarm : {}", "var.reaper ? {} : {}"},
			{module1 + "reaper_alarms.tf", "over = 86400", "over = 864000"},
			{module1 + "reaper_alarms.tf", "metric_name         = local.reaper_metric.alive", "metric_name         = local.metric.alive"},
		}},
		{"somebody is told in prod", func(w *world) error {
			return w.each("aws_cloudwatch_metric_alarm", func(r resource) error {
				if actions, _ := r.get("alarm_actions").([]any); r.plan.environment() == "prod" && len(actions) != 1 {
					return fmt.Errorf("actions are %v", actions)
				}
				return nil
			})
		}, []mutation{
			{prod, `actions = ["arn:aws:sns:eu-central-1:123456789012:penstock"]`, `actions = []`},
		}},
		{"a loss of one record is an alarm, and so is damage", func(w *world) error {
			for name, stat := range map[string]string{"lost": "Sum", "damaged": "Maximum", "retained": "Maximum"} {
				for _, group := range []string{"main", "apart"} {
					a := w.plans["prod"]["aws_cloudwatch_metric_alarm.collector["+group+" "+name+"]"]
					if a["statistic"] != stat || a["threshold"] != 0.0 || a["evaluation_periods"] != 1.0 || a["comparison_operator"] != "GreaterThanThreshold" {
						return fmt.Errorf("%s %s: %v", group, name, a)
					}
				}
			}
			return nil
		}, []mutation{
			{alarms, `metric = local.metric.lost, stat = "Sum", over = 0`, `metric = local.metric.lost, stat = "Sum", over = 100`},
			{alarms, `metric = local.metric.damaged, stat = "Maximum"`, `metric = local.metric.damaged, stat = "Minimum"`},
		}},
		{"silence is an alarm", func(w *world) error {
			if err := same("aws_cloudwatch_metric_alarm.silent", "statistic", "SampleCount")(w); err != nil {
				return err
			}
			return same("aws_cloudwatch_metric_alarm.silent", "treat_missing_data", "breaching")(w)
		}, []mutation{
			{alarms, `treat_missing_data  = "breaching"`, `treat_missing_data  = "notBreaching"`},
		}},
		{"every listener has an alarm on its servers' health", func(w *world) error {
			return w.each("aws_lb_listener", func(r resource) error {
				a := r.plan["aws_cloudwatch_metric_alarm.unhealthy["+r.key()+"]"]
				if at(a, "dimensions.TargetGroup") != "aws_lb_target_group.this["+r.key()+"].arn_suffix" || a["metric_name"] != "UnHealthyHostCount" {
					return fmt.Errorf("%v", a)
				}
				return nil
			})
		}, []mutation{
			{alarms, `"UnHealthyHostCount"`, `"UnhealthyHostCount"`},
			{alarms, "aws_lb_target_group.this[each.key].arn_suffix", "aws_lb_target_group.this[each.key].arn"},
		}},
	})
}

// traffic: at the mean no server is added to the smallest group, and the largest group is sized for the busiest minute.
func traffic(w *world) error {
	for group, x := range map[string][3]float64{"main": {5e12, 5, 10}, "apart": {500e9, 2, 4}} {
		target := at(w.plans["prod"]["aws_autoscaling_policy.out_network["+group+"]"], "target_tracking_configuration.0.target_value").(float64)
		mean := x[0] / 86400 * 60 // bytes per minute
		if mean/x[1] > target {
			return fmt.Errorf("%s: a server has %v at the mean, and the target is %v", group, mean/x[1], target)
		}
		if 3*mean/x[2] < target*0.9 {
			return fmt.Errorf("%s: the target %v is not reached in the busiest minute, %v", group, target, 3*mean/x[2])
		}
	}
	return nil
}

// threshold returns the number below which the scale-in alarm wants a metric to be.
func threshold(r resource, id string) (float64, error) {
	m := regexp.MustCompile(`\b` + id + ` < (\d+)`).FindStringSubmatch(r.str("metric_query.0.expression"))
	if m == nil {
		return 0, fmt.Errorf("%s does not ask for %s", r.str("metric_query.0.expression"), id)
	}
	return strconv.ParseFloat(m[1], 64)
}

func quiet(w *world) error {
	return w.each("aws_cloudwatch_metric_alarm.in", func(r resource) error {
		for _, id := range []string{"backlog", "traffic"} {
			if _, err := threshold(r, id); err != nil {
				return err
			}
		}
		if !regexp.MustCompile(`^IF\(backlog < \d+ AND traffic < \d+, 1, 0\)$`).MatchString(r.str("metric_query.0.expression")) {
			return fmt.Errorf("%s", r.str("metric_query.0.expression"))
		}
		for path, want := range map[string]any{
			"metric_query.1.id": "backlog", "metric_query.1.metric.0.stat": "Maximum",
			"metric_query.1.metric.0.metric_name": "penstock_destination_lag_seconds",
			"metric_query.2.id":                   "traffic", "metric_query.2.metric.0.metric_name": "NetworkIn",
			"alarm_actions":       []any{"aws_autoscaling_policy.in[" + r.key() + "].arn"},
			"comparison_operator": "GreaterThanOrEqualToThreshold", "threshold": 1,
		} {
			if err := r.want(path, want); err != nil {
				return err
			}
		}
		return nil
	})
}

// hysteresis: with one server less, even of two, the others stay below the target that adds servers.
func hysteresis(w *world) error {
	return w.each("aws_cloudwatch_metric_alarm.in", func(r resource) error {
		low, err := threshold(r, "traffic")
		target := at(r.plan["aws_autoscaling_policy.out_network["+r.key()+"]"], "target_tracking_configuration.0.target_value").(float64)
		if err == nil && 2*low > target {
			err = fmt.Errorf("servers leave below %v and are added above %v", low, target)
		}
		return err
	})
}

// selected compares the metrics that alarms read with those that the agent of the same group sends.
func selected(w *world) error {
	return w.each("aws_launch_template", func(r resource) error {
		c, err := r.userData()
		if err != nil {
			return err
		}
		var agent, scrape any
		if err := json.Unmarshal([]byte(c.file("/etc/penstock/cloudwatch.json")), &agent); err != nil {
			return err
		}
		if err := yaml.Unmarshal([]byte(c.file("/etc/penstock/prometheus.yaml")), &scrape); err != nil {
			return err
		}
		emf := at(agent, "logs.metrics_collected.prometheus.emf_processor")
		var sent []string
		for _, m := range at(emf, "metric_declaration.0.metric_selectors").([]any) {
			sent = append(sent, strings.Trim(m.(string), "^$"))
		}
		labels, _ := at(scrape, "scrape_configs.0.static_configs.0.labels").(map[string]any)
		if of := at(scrape, "scrape_configs.1.static_configs.0.labels"); !reflect.DeepEqual(of, any(labels)) {
			return fmt.Errorf("the reaper's metrics have the labels %v", of)
		}
		read := 0
		for address, a := range r.plan {
			for _, m := range metrics(address, a) {
				if at(m, "namespace") != at(emf, "metric_namespace") || at(m, "dimensions.group") != r.key() {
					if n, _ := at(m, "metric_name").(string); strings.HasPrefix(n, "penstock_") && at(m, "dimensions.group") != "main" && at(m, "dimensions.group") != "apart" {
						return fmt.Errorf("%s has no group", address)
					}
					continue
				}
				read++
				if name := at(m, "metric_name").(string); !slices.Contains(sent, name) {
					return fmt.Errorf("%s reads %s, which the agent does not send", address, name)
				}
				var names []any
				for _, d := range at(emf, "metric_declaration.0.dimensions.0").([]any) {
					names = append(names, d)
					if labels[d.(string)] != at(m, "dimensions."+d.(string)) {
						return fmt.Errorf("%s: dimension %v is %v, and the agent sends %v", address, d, at(m, "dimensions."+d.(string)), labels[d.(string)])
					}
				}
				if len(at(m, "dimensions").(map[string]any)) != len(names) {
					return fmt.Errorf("%s has other dimensions than %v", address, names)
				}
			}
		}
		if read < 8 {
			return fmt.Errorf("%d alarms read what the agent of %s sends", read, r.key())
		}
		jobs, err := regexp.Compile(at(emf, "metric_declaration.0.label_matcher").(string))
		if err != nil {
			return err
		}
		for i := range 2 {
			job := at(scrape, fmt.Sprintf("scrape_configs.%d.job_name", i)).(string)
			if at(emf, "metric_declaration.0.source_labels.0") != "job" || !jobs.MatchString(job) || jobs.MatchString("x"+job) {
				return fmt.Errorf("the agent does not take the metrics of %s", job)
			}
		}
		return nil
	})
}

// metrics returns what an alarm reads.
func metrics(address string, a map[string]any) (m []any) {
	if !strings.HasPrefix(address, "aws_cloudwatch_metric_alarm.") {
		return nil
	}
	queries, _ := a["metric_query"].([]any)
	for _, q := range queries {
		if x := at(q, "metric.0"); x != nil {
			m = append(m, x)
		}
	}
	if len(queries) == 0 {
		m = append(m, any(a))
	}
	return m
}
