package deploy

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const runbook = "README.md"

// runbookTables are the tables that are computed, by the name that the runbook gives them.
var runbookTables = map[string]func() string{
	"sizes": example.sizingTable, "uplink": example.uplinkTable, "cost": example.costTable,
}

// place finds a table that is computed.
func place(name string) *regexp.Regexp {
	return regexp.MustCompile(`(?s)(<!-- computed: ` + name + ` -->\n)(.*?)(<!-- end -->)`)
}

// TestSizing: the tables of the runbook are what the formulas give, and prod.tfvars fits them.
func TestSizing(t *testing.T) {
	if *update {
		text := load(t)[runbook]
		for name, table := range runbookTables {
			text = place(name).ReplaceAllString(text, "${1}"+table()+"${3}")
		}
		if err := os.WriteFile("../../../examples/deploy/"+runbook, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	prove(t, []invariant{
		{"the runbook's tables are computed", tables, []mutation{
			{runbook, "| 57.9 MB/s,", "| 57.8 MB/s,"},
			{runbook, "<!-- computed: cost -->", "<!-- computed: costs -->"},
		}},
		{"the example is that of prod.tfvars", sameExample, []mutation{
			{prod, "bytes_per_day = 5e12", "bytes_per_day = 6e12"},
			{prod, `["subnet-0aaaaaaaaaaaaaaa1", "subnet-0aaaaaaaaaaaaaaa2", "subnet-0aaaaaaaaaaaaaaa3"]`, `["subnet-0aaaaaaaaaaaaaaa1", "subnet-0aaaaaaaaaaaaaaa2"]`},
		}},
		{"prod.tfvars has enough servers", enoughServers, []mutation{{prod, "min = 5, max = 10", "min = 4, max = 10"}}},
		{"the volumes of prod fit the traffic", volumesFit, []mutation{
			{prod, "bytes_per_day = 5e12", "bytes_per_day = 5e12, outage_hours = 12"},
			{module1 + "locals.tf", "local.gibibytes_wanted[k] * 1.2 / 0.9", "local.gibibytes_wanted[k] * 1.1"},
			{module1 + "locals.tf", "local.burst[k] * 2.6", "local.burst[k] * 12"},
		}},
		{"drains of prod fit the hook", drainsFit, []mutation{
			{prod, "bytes_per_day = 5e12", `bytes_per_day = 5e12, drain_timeout = "4h"`},
		}},
		{"rmem_max holds a second of the busiest minute", rmemFits, []mutation{
			{"systemd/sysctl.conf", "net.core.rmem_max = 67108864", "net.core.rmem_max = 33554432"},
		}},
	})
}

// TestMeasured: the throughputs that the formulas use are those of the page that measured them.
func TestMeasured(t *testing.T) {
	b, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(string(b)), " ")
	for _, want := range measuredText {
		if !strings.Contains(text, want) {
			t.Errorf("performance.md no longer says %q: measuredRecords and measuredDrain may be wrong", want)
		}
	}
	if slowest := float64(1<<30) / 6.7; measuredDrain > slowest {
		t.Errorf("measuredDrain is %.0f, the slowest round had %.0f", float64(measuredDrain), slowest)
	}
}

func tables(w *world) error {
	for name, table := range runbookTables {
		m := place(name).FindStringSubmatch(w.Tree[runbook])
		if m == nil {
			return fmt.Errorf("there is no table %s", name)
		}
		if m[2] != table() {
			return fmt.Errorf("the table %s is not what the formulas give: go test -run TestSizing -update\n%s", name, table())
		}
	}
	return nil
}

func sameExample(w *world) error {
	lt := w.plans["prod"]["aws_launch_template.server[main]"]
	if lt == nil {
		return fmt.Errorf("prod has no group main")
	}
	text := w.Tree[prod]
	if want := fmt.Sprintf("bytes_per_day = %s", strings.Replace(fmt.Sprintf("%.0e", example.bytesPerDay), "+", "", 1)); !strings.Contains(text, want) {
		return fmt.Errorf("%s does not have %q", prod, want)
	}
	if n := strings.Count(strings.SplitN(strings.SplitN(text, "server_subnets", 2)[1], "]", 2)[0], "subnet-"); n != example.zones {
		return fmt.Errorf("%d zones, the example has %d", n, example.zones)
	}
	balancers := map[string]bool{}
	for _, m := range regexp.MustCompile(`load_balancer = "([a-z-]+)", class = "(vpn|web)"`).FindAllStringSubmatch(text, -1) {
		balancers[m[1]] = true
	}
	if len(balancers) != example.loadBalancers {
		return fmt.Errorf("%d load balancers, the example has %d", len(balancers), example.loadBalancers)
	}
	return nil
}

func enoughServers(w *world) error {
	asg := w.plans["prod"]["aws_autoscaling_group.this[main]"]
	if low := at(asg, "min_size").(float64); int(low) != example.sizes().servers {
		return fmt.Errorf("min is %v, the formula gives %d", low, example.sizes().servers)
	}
	return nil
}

func volumesFit(w *world) error {
	s := example.sizes()
	ebs := at(w.plans["prod"]["aws_launch_template.server[main]"], "block_device_mappings.0.ebs.0")
	for path, want := range map[string]float64{"volume_size": s.volume, "throughput": s.throughput, "iops": s.iops} {
		if have := at(ebs, path).(float64); have != want {
			return fmt.Errorf("%s is %v, the formula gives %v", path, have, want)
		}
	}
	if s.iops < s.iopsWanted {
		return fmt.Errorf("%v IOPS, %v are needed", s.iops, math.Ceil(s.iopsWanted))
	}
	return nil
}

func drainsFit(w *world) error {
	s := example.sizes()
	have := at(w.plans["prod"]["aws_autoscaling_group.this[main]"], "initial_lifecycle_hook.0.heartbeat_timeout").(float64)
	c, err := w.plans["prod"].collector("main")
	if err != nil {
		return err
	}
	timeout, err := time.ParseDuration(c["drain-timeout"].(string))
	if err != nil {
		return err
	}
	if have < s.drain.heartbeat || timeout.Seconds() < s.drain.time || timeout.Seconds() > min(48*hour, 100*have) {
		return fmt.Errorf("heartbeat %v s, drain-timeout %v; a drain takes %.0f s, and the heartbeat is %v s at least", have, timeout, s.drain.time, s.drain.heartbeat)
	}
	return nil
}

func rmemFits(w *world) error {
	m := regexp.MustCompile(`(?m)^net\.core\.rmem_max = (\d+)$`).FindStringSubmatch(w.Tree["systemd/sysctl.conf"])
	if m == nil {
		return fmt.Errorf("no net.core.rmem_max")
	}
	if have, _ := strconv.ParseFloat(m[1], 64); have < example.sizes().buffer {
		return fmt.Errorf("net.core.rmem_max is %v, a socket needs %.0f", have, example.sizes().buffer)
	}
	return nil
}
