package deploy

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// TestRunbook: what the runbook says about the templates is true.
func TestRunbook(t *testing.T) {
	prove(t, []invariant{
		{"every alarm has an entry", alarmsExplained, []mutation{
			{runbook, "| `damaged` |", "| damaged |"},
			{runbook, "| `scale-in` |", "| `scalein` |"},
			{module1 + "alarms.tf", "    pending = {\n", "    waiting = {\n"},
			{module1 + "relay_alarms.tf", "    refused = {\n", "    declined = {\n"},
		}},
	})
}

// alarmsExplained looks for a row of the runbook's table for each CloudWatch alarm, by the last part of its name.
func alarmsExplained(w *world) error {
	names := map[string]bool{}
	related, err := w.Mutate(prod, "relays = {}", `relays = { a = { subnet_id = "subnet-0bbbbbbbbbbbbbbb1", private_ip = "10.0.1.10", listener = "vpn-udp" } }`)
	if err != nil {
		return err
	}
	plan, err := related.Plan("prod")
	if err != nil {
		return err
	}
	both := &world{w.Tree, map[string]Plan{"dev": w.plans["dev"], "prod": plan}}
	err = both.each("aws_cloudwatch_metric_alarm", func(r resource) error {
		rest := strings.TrimPrefix(r.str("alarm_name"), w.fleet(r.plan)+"-")
		if relay, ok := strings.CutPrefix(rest, "relay-a-"); ok {
			names["relay-"+relay] = true
			return nil
		}
		for key := r.key(); ; {
			if short, ok := strings.CutPrefix(rest, key+"-"); ok {
				names[short] = true
				return nil
			}
			i := strings.LastIndex(key, " ")
			if i < 0 {
				return fmt.Errorf("the alarm %s does not begin with its fleet and key", r.str("alarm_name"))
			}
			key = key[:i]
		}
	})
	if err != nil {
		return err
	}
	section := regexp.MustCompile(`(?s)\n## Alarms\n.*?\n## `).FindString(w.Tree[runbook])
	for name := range names {
		if !strings.Contains(section, "\n| `"+name+"` |") {
			return fmt.Errorf("%s: the section Alarms has no entry for %s", runbook, name)
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(section, -1) {
		if !names[m[1]] {
			return fmt.Errorf("%s: there is no alarm %s", runbook, m[1])
		}
	}
	return nil
}

// fleet is the name of the fleet of a configuration.
func (w *world) fleet(p Plan) string {
	name, _ := at(p["aws_s3_bucket.this"], "tags.penstock:fleet").(string)
	return name
}
