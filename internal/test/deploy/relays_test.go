package deploy

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// withRelays has two relays of one class in dev and prod.
func withRelays(t *testing.T) Tree {
	t.Helper()
	tree := load(t)
	const two = `relays = {
    a = { subnet_id = "subnet-0bbbbbbbbbbbbbbb1", private_ip = "10.0.1.10", listener = "vpn-udp" }
    b = { subnet_id = "subnet-0bbbbbbbbbbbbbbb2", private_ip = "10.0.2.10", listener = "vpn-udp" }
  }`
	for path, old := range map[string]string{prod: "relays = {}", dev: "relays   = {}"} {
		var err error
		if tree, err = tree.Mutate(path, old, two); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := tree.Mutate(dev, `operators        = ["10.0.0.0/16"]`, "operators        = [\"10.0.0.0/16\"]\n    relay_clients    = [\"10.64.0.0/10\"]")
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// relayConfig is the relay's configuration file.
type relayConfig struct {
	Listen                                      []string
	Targets, Mode, Engine, Check, Refresh, HTTP string
}

// eachRelay calls check for every relay in both configurations.
func eachRelay(check func(r resource, c cloudConfig, config relayConfig) error) func(*world) error {
	return func(w *world) error {
		return w.each("aws_instance.relay", func(r resource) error {
			c, err := r.userData()
			if err != nil {
				return err
			}
			var config relayConfig
			if err := yaml.Unmarshal([]byte(c.file("/etc/penstock/udprelay.yaml")), &config); err != nil {
				return err
			}
			return check(r, c, config)
		})
	}
}

// relayMetrics returns the names of the metrics that the relay exports, which its source has.
func relayMetrics() map[string]bool {
	names := map[string]bool{}
	text, _ := os.ReadFile("../../../examples/udprelay/metrics.go")
	for _, m := range regexp.MustCompile(`describe\("([a-z_]+)"`).FindAllSubmatch(text, -1) {
		names["penstock_relay_"+string(m[1])] = true
	}
	return names
}

// admits reports whether a rule of one direction admits a port from or to a peer, which is a CIDR block or a security group.
func admits(p Plan, direction, group, protocol string, port float64, peer string) bool {
	for address, args := range p {
		if !strings.HasPrefix(address, "aws_vpc_security_group_"+direction+"_rule.") || args["security_group_id"] != group || args["ip_protocol"] != protocol {
			continue
		}
		if args["from_port"] == port && args["to_port"] == port && (args["cidr_ipv4"] == peer || args["referenced_security_group_id"] == peer) {
			return true
		}
	}
	return false
}

const (
	relayGroup  = "aws_security_group.relay[0].id"
	serverGroup = "aws_security_group.server[main].id"
)

// TestRelays: relays spread the datagrams of their clients over the healthy servers of the group, and an alarm reports when
// they cannot.
func TestRelays(t *testing.T) {
	tf, alarms := module1+"relays.tf", module1+"relay_alarms.tf"
	unit := "penstock-udprelay.service"
	proveOn(t, withRelays(t), []invariant{
		{"a relay takes the place of its listener", eachRelay(func(r resource, _ cloudConfig, c relayConfig) error {
			ip := map[string]string{"a": "10.0.1.10", "b": "10.0.2.10"}[r.key()]
			if !slices.Equal(c.Listen, []string{ip + ":514"}) || r.plan["aws_network_interface.relay["+r.key()+"]"]["private_ips"].([]any)[0] != ip {
				return fmt.Errorf("it listens at %v", c.Listen)
			}
			return nil
		}), []mutation{{tf, `["${r.private_ip}:${r.port}"]`, `["${r.private_ip}:${r.target_port}"]`}, {tf, `["${r.private_ip}:${r.port}"]`, `["0.0.0.0:${r.port}"]`}}},
		{"its targets are the servers of the group that has the class", eachRelay(func(_ resource, _ cloudConfig, c relayConfig) error {
			if c.Targets != "asg:aws_autoscaling_group.this[main].name:5140" || c.Mode != "spray" {
				return fmt.Errorf("%s to %s", c.Mode, c.Targets)
			}
			return nil
		}), []mutation{
			{tf, "${r.target_port}\"\n    mode", "${r.port}\"\n    mode"},
			{tf, `mode    = "spray"`, `mode    = "generations"`},
			{tf, "group = local.listener_group[r.listener]", `group = "apart"`},
		}},
		{"a server that is not ready for the class gets nothing", eachRelay(func(_ resource, _ cloudConfig, c relayConfig) error {
			if c.Check != "http://{host}:8080/readyz/vpn" {
				return fmt.Errorf("%s", c.Check)
			}
			return nil
		}), []mutation{{tf, "/readyz/${r.class}", "/livez"}, {tf, `"http://{host}:${local.http_port}/readyz/${r.class}"`, `"off"`}}},
		{"the kernel forwards, since servers expect no header before a datagram", eachRelay(func(r resource, _ cloudConfig, c relayConfig) error {
			group, err := r.plan.collector("main")
			if err != nil {
				return err
			}
			if c.Engine != "nft" || strings.Contains(fmt.Sprint(at(group, "classes.vpn.listen")), "proxy=") {
				return fmt.Errorf("engine %s to %v", c.Engine, at(group, "classes.vpn.listen"))
			}
			return r.plan.want("aws_network_interface.relay["+r.key()+"]", "source_dest_check", false)
		}), []mutation{{tf, `engine = "nft"`, `engine = "auto"`}, {tf, "source_dest_check = false", "source_dest_check = true"}}},
		{"two relays do not use up the API's requests", eachRelay(func(_ resource, _ cloudConfig, c relayConfig) error {
			if c.Refresh != "5s" {
				return fmt.Errorf("every %s", c.Refresh)
			}
			return nil
		}), []mutation{{tf, "    refresh = \"5s\"\n", ""}, {tf, `refresh = "5s"`, `refresh = "500ms"`}}},
		{"it knows the region of the group", eachRelay(func(_ resource, c cloudConfig, _ relayConfig) error {
			if have := c.file("/etc/penstock/udprelay.env"); have != "AWS_REGION=eu-central-1\n" {
				return fmt.Errorf("%q", have)
			}
			return nil
		}), []mutation{{tf, `"AWS_REGION=${local.region}\n"`, `"REGION=${local.region}\n"`}}},
		{"it runs the program of the package, by the unit of the package", func(w *world) error {
			u := w.unit(unit)
			args := strings.Fields(u.get("Service.ExecStart"))
			if len(args) != 3 || args[0] != "/usr/bin/penstock-udprelay" || !strings.Contains(w.Tree["packages/nfpm.yaml"], "../systemd/"+unit+", dst: /usr/lib/systemd/system/"+unit) {
				return fmt.Errorf("%v", args)
			}
			return eachRelay(func(r resource, c cloudConfig, _ relayConfig) error {
				script := c.Runcmd[0][2]
				install, start := strings.Index(script, "dpkg --install"), strings.Index(script, "systemctl enable --now "+unit)
				if c.file(args[2]) == "" || start < 0 || r.plan.environment() == "prod" && (install < 0 || install > start) {
					return fmt.Errorf("%s", script)
				}
				if env := u.get("Service.EnvironmentFile"); c.file(strings.TrimPrefix(env, "-")) == "" {
					return fmt.Errorf("user data does not write %s", env)
				}
				return nil
			})(w)
		}, []mutation{
			{tf, "systemctl enable --now penstock-udprelay.service", "systemctl enable penstock-udprelay.service"},
			{tf, `concat(local.install, [`, `concat([`},
			{units + unit, "-config /etc/penstock/udprelay.yaml", "-config /etc/penstock/relay.yaml"},
			{units + unit, "EnvironmentFile=-/etc/penstock/udprelay.env", ""},
			{"packages/nfpm.yaml", "systemd/system/penstock-udprelay.service", "systemd/user/penstock-udprelay.service"},
		}},
		{"its user may change the rules of the network and nothing else", func(w *world) error {
			u := w.unit(unit)
			for name, want := range map[string]string{
				"Service.User": "penstock", "Service.AmbientCapabilities": "CAP_NET_ADMIN", "Service.CapabilityBoundingSet": "CAP_NET_ADMIN",
				"Service.NoNewPrivileges": "yes", "Service.PrivateUsers": "", "Service.ProtectSystem": "strict",
			} {
				if err := u.want(name, want); err != nil {
					return err
				}
			}
			return nil
		}, []mutation{
			{units + unit, "AmbientCapabilities=CAP_NET_ADMIN", ""},
			{units + unit, "User=penstock", "User=root"},
			{units + unit, "ProtectHostname=yes", "ProtectHostname=yes\nPrivateUsers=yes"},
		}},
		{"it is started again without end", func(w *world) error {
			if err := w.unit(unit).want("Unit.StartLimitIntervalSec", "0"); err != nil {
				return err
			}
			return w.unit(unit).want("Service.Restart", "always")
		}, []mutation{{units + unit, "Restart=always", "Restart=no"}, {units + unit, "StartLimitIntervalSec=0", ""}}},
		{"a relay forwards, and no other host does", func(w *world) error {
			_, file, _ := strings.Cut(w.unit(unit).get("Service.ExecStartPre"), "+/usr/lib/systemd/systemd-sysctl ")
			if !strings.Contains(w.Tree["packages/nfpm.yaml"], "udprelay-sysctl.conf, dst: "+file+"}") || !strings.Contains(w.Tree[units+"udprelay-sysctl.conf"], "\nnet.ipv4.ip_forward = 1\n") {
				return fmt.Errorf("nothing sets net.ipv4.ip_forward: %q", file)
			}
			if strings.Contains(w.Tree[units+"sysctl.conf"], "forward") || strings.Contains(file, "sysctl.d") {
				return fmt.Errorf("every host with the package forwards")
			}
			return nil
		}, []mutation{
			{units + unit, "ExecStartPre=+", "ExecStartPre="},
			{units + "udprelay-sysctl.conf", "net.ipv4.ip_forward = 1", "net.ipv4.ip_forward = 0"},
			{"packages/nfpm.yaml", "dst: /usr/lib/penstock/udprelay/sysctl.conf", "dst: /usr/lib/sysctl.d/61-penstock.conf"},
		}},
		{"a relay may list the group, and send metrics", allowed("aws_iam_role.relay[0]", map[string][]string{
			"prod": append(slices.Clone(observes), "autoscaling:DescribeAutoScalingGroups", "ec2:DescribeInstances", "s3:GetObject"),
			"dev":  append(slices.Clone(observes), "autoscaling:DescribeAutoScalingGroups", "ec2:DescribeInstances"),
		}), []mutation{
			{tf, `["autoscaling:DescribeAutoScalingGroups", "ec2:DescribeInstances"]`, `["autoscaling:DescribeAutoScalingGroups", "ec2:DescribeInstances", "ec2:ModifyInstanceAttribute"]`},
			{tf, `["autoscaling:DescribeAutoScalingGroups", "ec2:DescribeInstances"]`, `["autoscaling:DescribeAutoScalingGroups"]`},
			{tf, "}], local.observe, local.package)", "}], local.observe, local.package, local.deliver)"},
		}},
		{"a relay has its role", func(w *world) error {
			return w.each("aws_instance.relay", func(r resource) error {
				p := r.plan["aws_iam_instance_profile.relay[0]"]
				if p == nil || p["role"] != "aws_iam_role.relay[0].name" {
					return fmt.Errorf("%v", p)
				}
				return r.want("iam_instance_profile", "aws_iam_instance_profile.relay[0].name")
			})
		}, []mutation{{tf, "  iam_instance_profile        = aws_iam_instance_profile.relay[0].name\n", ""}, {tf, "role = aws_iam_role.relay[0].name\n  tags", "role = aws_iam_role.auditor.name\n  tags"}}},
		{"a relay's metadata needs a token", func(w *world) error {
			return w.each("aws_instance.relay", func(r resource) error { return r.want("metadata_options.0.http_tokens", "required") })
		}, []mutation{{tf, `http_tokens                 = "required"`, `http_tokens                 = "optional"`}}},
		{"what user data says holds: another configuration makes another instance, with the same address", func(w *world) error {
			return w.each("aws_instance.relay", func(r resource) error {
				if err := r.want("user_data_replace_on_change", true); err != nil {
					return err
				}
				return r.want("primary_network_interface.0.network_interface_id", "aws_network_interface.relay["+r.key()+"].id")
			})
		}, []mutation{{tf, "user_data_replace_on_change = true", "user_data_replace_on_change = false"}}},
		{"clients reach the relay, and no others", func(w *world) error {
			for name, p := range w.plans {
				if !admits(p, "ingress", relayGroup, "udp", 514, "10.64.0.0/10") || !admits(p, "ingress", relayGroup, "tcp", 8080, "10.0.0.0/16") {
					return fmt.Errorf("%s: clients or operators are not admitted", name)
				}
				for address, args := range p {
					if strings.Contains(address, "ingress_rule") && args["security_group_id"] == relayGroup && args["cidr_ipv4"] == "0.0.0.0/0" {
						return fmt.Errorf("%s: %s admits everybody", name, address)
					}
				}
			}
			return nil
		}, []mutation{
			{tf, "setproduct(keys(var.relays), var.network.relay_clients)", `setproduct(keys(var.relays), ["0.0.0.0/0"])`},
			{tf, "toset(var.network.operators) : toset([])", `toset(["0.0.0.0/0"]) : toset([])`},
		}},
		{"datagrams reach the servers with the addresses of their senders", func(w *world) error {
			for name, p := range w.plans {
				if !admits(p, "egress", relayGroup, "udp", 5140, serverGroup) || !admits(p, "ingress", serverGroup, "udp", 5140, "10.64.0.0/10") {
					return fmt.Errorf("%s: datagrams are refused", name)
				}
				if admits(p, "ingress", "aws_security_group.server[apart].id", "udp", 5142, "10.64.0.0/10") {
					return fmt.Errorf("%s: the isolated class is open to clients of relays", name)
				}
			}
			return nil
		}, []mutation{
			{tf, "cidr_ipv4         = each.value.cidr\n}\n\nresource \"aws_vpc_security_group_ingress_rule\" \"relay_health\"", "referenced_security_group_id = aws_security_group.relay[0].id\n}\n\nresource \"aws_vpc_security_group_ingress_rule\" \"relay_health\""},
			{tf, "security_group_id = aws_security_group.server[each.value.group].id", `security_group_id = aws_security_group.server["apart"].id`},
			{tf, "from_port                    = each.value[0].port", "from_port                    = 1"},
		}},
		{"the relay may ask servers for their health, and the API for the group", func(w *world) error {
			for name, p := range w.plans {
				if !admits(p, "egress", relayGroup, "tcp", 8080, serverGroup) || !admits(p, "ingress", serverGroup, "tcp", 8080, relayGroup) || !admits(p, "egress", relayGroup, "tcp", 443, "0.0.0.0/0") {
					return fmt.Errorf("%s: it is refused", name)
				}
			}
			return nil
		}, []mutation{
			{tf, "referenced_security_group_id = aws_security_group.relay[0].id", "referenced_security_group_id = aws_security_group.server[each.key].id"},
			{tf, "  from_port         = 443", "  from_port         = 80"},
		}},
		{"somebody is told what a relay drops, and that it is silent", func(w *world) error {
			known := relayMetrics()
			for _, want := range []struct{ name, metric, missing string }{
				{"dropped", "penstock_relay_dropped_datagrams_total", "notBreaching"},
				{"unhealthy", "penstock_relay_all_unhealthy", "notBreaching"},
				{"refused", "penstock_relay_failed_changes_total", "notBreaching"},
				{"lists", "penstock_relay_list_errors_total", "notBreaching"},
				{"silent", "penstock_relay_info", "breaching"},
			} {
				if !known[want.metric] {
					return fmt.Errorf("the relay does not export %s", want.metric)
				}
				for name, p := range w.plans {
					alarm := "aws_cloudwatch_metric_alarm.relay[a " + want.name + "]"
					if want.name == "silent" {
						alarm = "aws_cloudwatch_metric_alarm.relay_silent[a]"
					}
					r := resource{alarm, p[alarm], p}
					if err := errors.Join(r.want("metric_name", want.metric), r.want("treat_missing_data", want.missing), r.want("dimensions", map[string]any{"fleet": fleetOf(p), "relay": "a"})); err != nil {
						return fmt.Errorf("%s: %s: %w", name, alarm, err)
					}
				}
			}
			return nil
		}, []mutation{
			{alarms, "penstock_relay_dropped_datagrams_total", "penstock_relay_dropped_total"},
			{alarms, `treat_missing_data  = "breaching"`, `treat_missing_data  = "notBreaching"`},
			{alarms, "dimensions          = { fleet = var.name, relay = each.key }", "dimensions          = { relay = each.key }"},
			{alarms, "    dropped = {\n      metric = local.relay_metric.dropped", "    dropped = {\n      metric = local.relay_metric.lists"},
		}},
		{"the agent on a relay sends the numbers of its alarms", eachRelay(func(r resource, c cloudConfig, config relayConfig) error {
			for _, m := range []string{"dropped_datagrams_total", "all_unhealthy", "failed_changes_total", "list_errors_total", "info"} {
				if !strings.Contains(c.file("/etc/penstock/cloudwatch.json"), `"^penstock_relay_`+m+`$"`) {
					return fmt.Errorf("the agent does not select %s", m)
				}
			}
			var scrape struct {
				Scrape []struct {
					Job    string `yaml:"job_name"`
					Static []struct {
						Targets []string
						Labels  map[string]string
					} `yaml:"static_configs"`
				} `yaml:"scrape_configs"`
			}
			if err := yaml.Unmarshal([]byte(c.file("/etc/penstock/prometheus.yaml")), &scrape); err != nil {
				return err
			}
			s := scrape.Scrape[0]
			if s.Job != "penstock-relay" || s.Static[0].Targets[0] != "127.0.0.1"+config.HTTP || s.Static[0].Labels["relay"] != r.key() || !strings.Contains(c.file("/etc/penstock/cloudwatch.json"), "^"+s.Job+"$") {
				return fmt.Errorf("%+v, the relay is at %s", s, config.HTTP)
			}
			if !strings.Contains(c.Runcmd[0][2], "amazon-cloudwatch-agent-ctl -a fetch-config") {
				return fmt.Errorf("the agent is not started")
			}
			return nil
		}), []mutation{
			{tf, `job_name       = "penstock-relay"`, `job_name       = "relay"`},
			{tf, `http    = ":${local.http_port}"`, `http    = ":9090"`},
			{tf, "labels = { fleet = var.name, relay = k }", "labels = { fleet = var.name }"},
			{tf, `[for m in values(local.relay_metric) : "^${m}$"]`, `["^penstock_relay_info$"]`},
		}},
		{"every argument is one of the AWS provider", knownArguments, []mutation{{tf, "source_dest_check =", "source_destination_check ="}, {tf, "user_data_replace_on_change =", "user_data_replace ="}}},
	})
}

func fleetOf(p Plan) string { return at(p["aws_s3_bucket.this"], "tags.penstock:fleet").(string) }

func (p Plan) want(address, path string, want any) error {
	return resource{address, p[address], p}.want(path, want)
}

// TestRelaysRefused: relays that cannot work.
func TestRelaysRefused(t *testing.T) {
	for replacement, want := range map[string]string{
		`relays = { a = { subnet_id = "s", private_ip = "10.0.1.10", listener = "vpn-tcp" } }`: "a UDP listener",
		`relays = { a = { subnet_id = "s", private_ip = "10.0.1.10", listener = "vpn" } }`:     "a UDP listener",
	} {
		tree, err := load(t).Mutate(prod, "relays = {}", replacement)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tree.Plan("prod"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", replacement, err, want)
		}
	}
	tree, err := load(t).Mutate(dev, "relays   = {}", `relays = { a = { subnet_id = "s", private_ip = "10.0.1.10", listener = "vpn-udp" } }`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Plan("dev"); err == nil || !strings.Contains(err.Error(), "network.relay_clients") {
		t.Errorf("a relay without clients: %v", err)
	}
}

// TestRelayReads: the program takes the configuration that user data writes, with a list of targets instead of a group, and refuses one
// with a mistake.
func TestRelayReads(t *testing.T) {
	p, err := withRelays(t).Plan("prod")
	if err != nil {
		t.Fatal(err)
	}
	c, err := resource{"aws_instance.relay[a]", p["aws_instance.relay[a]"], p}.userData()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "udprelay")
	if out, err := exec.Command("go", "build", "-C", "../../..", "-o", program, "./examples/udprelay").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, change := range [][]string{
		// The engine refuses a target that is its own host, after all settings were read, so no relay is left running.
		{"aws_autoscaling_group.this[main].name", "g", "asg:g:5140", "static:10.0.3.11:5140", `"nft"`, `"user"`, "10.0.1.10:514", "203.0.113.1:514"},
		{"refresh", "refreshing"},
	} {
		path := filepath.Join(dir, "udprelay.yaml")
		text := c.file("/etc/penstock/udprelay.yaml")
		for i := 0; i < len(change); i += 2 {
			text = strings.ReplaceAll(text, change[i], change[i+1])
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(program, "-config", path).CombinedOutput()
		code := 0
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			code = exit.ExitCode()
		}
		// 1: it cannot bind an address that this host does not have; 2: a setting is wrong.
		if want := map[bool]int{true: 1, false: 2}[len(change) > 2]; code != want {
			t.Errorf("exit code %d, want %d\n%s\n%s", code, want, out, text)
		}
	}
}
