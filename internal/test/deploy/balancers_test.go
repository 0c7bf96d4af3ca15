package deploy

import (
	"fmt"
	"strings"
	"testing"
)

// TestBalancers: load balancers, target groups and security groups.
func TestBalancers(t *testing.T) {
	lb, sg := module1+"load_balancers.tf", module1+"security_groups.tf"
	target := "aws_lb_target_group"
	prove(t, []invariant{
		{"every zone's senders have every server", same("aws_lb", "enable_cross_zone_load_balancing", true), []mutation{
			{lb, "enable_cross_zone_load_balancing = true", "enable_cross_zone_load_balancing = false"},
		}},
		{"load balancers are of the network kind", same("aws_lb", "load_balancer_type", "network"), []mutation{{lb, `"network"`, `"application"`}}},
		{"a load balancer begins with a security group", func(w *world) error {
			return w.each("aws_lb", func(r resource) error {
				return r.want("security_groups.0", "aws_security_group.load_balancer["+r.key()+"].id")
			})
		}, []mutation{{lb, "security_groups = [aws_security_group.load_balancer[each.key].id]", "security_groups = []"}}},
		{"in prod UDP and TCP have load balancers of their own, both to the internet and to the VPN", func(w *world) error {
			protocols := map[string]map[any]bool{}
			for address, l := range w.plans["prod"] {
				if lb, _ := l["load_balancer_arn"].(string); strings.HasPrefix(address, "aws_lb_listener.") {
					lb = strings.TrimSuffix(lb, ".arn")
					if protocols[lb] == nil {
						protocols[lb] = map[any]bool{}
					}
					protocols[lb][l["protocol"]] = true
				}
			}
			faces := map[string]bool{}
			for lb, p := range protocols {
				if len(p) != 1 {
					return fmt.Errorf("%s has %v", lb, p)
				}
				for protocol := range p {
					faces[fmt.Sprint(protocol, " internal ", w.plans["prod"][lb]["internal"])] = true
				}
			}
			if len(faces) != 4 {
				return fmt.Errorf("%v", faces)
			}
			return nil
		}, []mutation{
			{prod, `vpn-tcp = { load_balancer = "vpn-tcp"`, `vpn-tcp = { load_balancer = "vpn-udp"`},
			{prod, "web-tcp = { internal = false }", "web-tcp = { internal = true }"},
		}},
		{"dev has one load balancer, which is internal, and keeps no instance", func(w *world) error {
			n := 0
			for address, args := range w.plans["dev"] {
				if strings.HasPrefix(address, "aws_lb.") {
					if n++; args["internal"] != true {
						return fmt.Errorf("%s faces the internet", address)
					}
				}
				if on := at(args, "instance_lifecycle_policy.0.retention_triggers.0.terminate_hook_abandon"); on != nil && on != "terminate" {
					return fmt.Errorf("%s: %v", address, on)
				}
			}
			if n != 1 {
				return fmt.Errorf("%d load balancers", n)
			}
			return nil
		}, []mutation{
			{dev, "all = { internal = true }", "all = { internal = false }"},
			{dev, "all = { internal = true }", "all = { internal = true }\n    other = { internal = true }"},
			{module1 + "servers.tf", `each.value.retain ? "retain" : "terminate"`, `"retain"`},
		}},
		{"only what faces the internet is in public subnets", public, []mutation{
			{lb, "each.value.internal ? var.network.internal_subnets : var.network.public_subnets", "var.network.public_subnets"},
			{prod, "vpn-udp = { internal = true }", "vpn-udp = { internal = false }"},
		}},
		{"load balancers of prod refuse deletion", func(w *world) error {
			return w.each("aws_lb", func(r resource) error { return r.want("enable_deletion_protection", r.plan.environment() == "prod") })
		}, []mutation{{prod, "deletion_protection = true", "deletion_protection = false"}}},
		{"UDP and TCP have load balancers of their own in prod", apartProtocols, []mutation{
			{prod, `vpn-tcp = { load_balancer = "vpn-tcp"`, `vpn-tcp = { load_balancer = "vpn-udp"`},
		}},
		{"the isolated class shares nothing", isolated, []mutation{
			{prod, `apart   = { load_balancer = "apart"`, `apart   = { load_balancer = "vpn-udp"`},
			{prod, `classes = ["vpn", "web"]`, `classes = ["vpn", "web", "apart2"]`},
			{prod, `main  = { classes = ["vpn", "web"], `, `apart2 = { classes = ["web"], instance_types = [], min = 1, max = 1, bytes_per_day = 1 }
    main  = { classes = ["vpn"], `},
		}},
		{"a listener and its target group speak one protocol", func(w *world) error {
			return w.each("aws_lb_listener", func(r resource) error {
				arn := "aws_lb_target_group.this[" + r.key() + "]"
				if err := r.want("default_action.0.target_group_arn", arn+".arn"); err != nil {
					return err
				}
				return r.want("protocol", r.plan[arn]["protocol"])
			})
		}, []mutation{
			{lb, "port        = each.value.target_port", "port = each.value.target_port\n  slow_start = 30\n  protocol_version = null\n"},
			{lb, "  protocol          = each.value.protocol", `  protocol          = "TCP"`},
		}[1:]},
		{"a silent sender keeps its connection as long as possible", func(w *world) error {
			return w.each("aws_lb_listener", func(r resource) error {
				if r.get("protocol") == "UDP" {
					return r.want("tcp_idle_timeout_seconds", nil)
				}
				return r.want("tcp_idle_timeout_seconds", 6000)
			})
		}, []mutation{
			{lb, `each.value.protocol == "TCP" ? 6000 : null`, `null`},
			{lb, `each.value.protocol == "TCP" ? 6000 : null`, `6000`},
		}},
		{"UDP flows move on at the end of the deregistration, TCP connections end in the collector", func(w *world) error {
			return w.each(target, func(r resource) error { return r.want("connection_termination", r.get("protocol") == "UDP") })
		}, []mutation{
			{lb, `connection_termination = each.value.protocol == "UDP"`, ``},
			{lb, `connection_termination = each.value.protocol == "UDP"`, `connection_termination = true`},
		}},
		{"the collector waits for longer than the deregistration", func(w *world) error {
			return w.each(target, func(r resource) error {
				// The wait (-quiesce 130s) ends after 300 s at the latest, and a flow ends 120 s after its last datagram.
				if d := r.num("deregistration_delay"); d < 120 || d+130 > 300 {
					return fmt.Errorf("deregistration_delay is %v", d)
				}
				return nil
			})
		}, []mutation{
			{lb, "deregistration_delay   = 120", "deregistration_delay   = 300"},
			{lb, "deregistration_delay   = 120", ""},
		}},
		{"records carry the address of their sender", same(target, "preserve_client_ip", "true"), []mutation{{lb, `preserve_client_ip = "true"`, `preserve_client_ip = "false"`}}},
		{"no PROXY headers that the collector does not expect", same(target, "proxy_protocol_v2", false), []mutation{{lb, "proxy_protocol_v2  = false", "proxy_protocol_v2  = true"}}},
		{"senders are not pinned by address", same(target, "stickiness.0.enabled", false), []mutation{{lb, "enabled = false", "enabled = true"}}},
		{"a moment of 503 cuts no connection", func(w *world) error {
			return w.each(target, func(r resource) error {
				if r.get("protocol") == "UDP" {
					return r.want("target_health_state", nil)
				}
				return r.want("target_health_state.0.enable_unhealthy_connection_termination", false)
			})
		}, []mutation{
			{lb, "enable_unhealthy_connection_termination = false", "enable_unhealthy_connection_termination = true"},
			{lb, `each.value.protocol == "TCP" ? [true] : []`, `[true]`},
		}},
		{"health is what the collector says of the class", health, []mutation{
			{lb, `path                = "/readyz/${each.value.class}"`, `path                = "/livez"`},
			{lb, `    protocol            = "HTTP"`, `    protocol            = "TCP"`},
			{lb, "port                = tostring(local.http_port)", `port                = "traffic-port"`},
			{lb, `matcher             = "200"`, `matcher             = "200-599"`},
			{module1 + "user_data.tf", `http          = ":${local.http_port}"`, `http          = "127.0.0.1:${local.http_port}"`},
		}},
		{"names of load balancers and target groups fit", func(w *world) error {
			short := func(r resource) error {
				if n := r.str("name"); n == "" || len(n) > 32 {
					return fmt.Errorf("%q", n)
				}
				return nil
			}
			if err := w.each("aws_lb", short); err != nil {
				return err
			}
			return w.each(target, short)
		}, []mutation{{lb, `name        = "${var.name}-${each.key}"`, `name        = "${var.name}-target-group-of-${each.key}"`}}},
		{"senders reach each listener, and it reaches its servers", paths, []mutation{
			{sg, "  from_port         = each.value.port\n", "  from_port         = each.value.target_port\n"},
			{sg, "description                  = \"Servers of class ${each.value.class}\"\n  ip_protocol                  = lower(each.value.protocol)", "description                  = \"Servers of class ${each.value.class}\"\n  ip_protocol                  = \"tcp\""},
			{sg, "description                  = \"Class ${each.value.class}\"\n  ip_protocol                  = lower(each.value.protocol)\n  from_port                    = each.value.target_port\n  to_port                      = each.value.target_port", "description                  = \"Class ${each.value.class}\"\n  ip_protocol                  = lower(each.value.protocol)\n  from_port                    = each.value.port\n  to_port                      = each.value.port"},
		}},
		{"load balancers reach the health page", func(w *world) error {
			return w.each("aws_lb_target_group", func(r resource) error {
				l := r.plan["aws_lb_listener.this["+r.key()+"]"]
				b := inner(l["load_balancer_arn"].(string))
				g := r.plan.groupOf(r.args["tags"].(map[string]any)["penstock:class"].(string))
				for _, kind := range []string{"egress", "ingress"} {
					rule := r.plan["aws_vpc_security_group_"+kind+"_rule.health["+b+" "+g+"]"]
					if rule["from_port"] != 8080.0 || rule["to_port"] != 8080.0 || rule["ip_protocol"] != "tcp" {
						return fmt.Errorf("%s of %s: %v", kind, b, rule)
					}
				}
				return nil
			})
		}, []mutation{
			{sg, "  description                  = \"Health checks\"\n  ip_protocol                  = \"tcp\"\n  from_port                    = local.http_port\n  to_port                      = local.http_port\n  referenced_security_group_id = aws_security_group.server", "  description                  = \"Health checks\"\n  ip_protocol                  = \"udp\"\n  from_port                    = local.http_port\n  to_port                      = local.http_port\n  referenced_security_group_id = aws_security_group.server"},
		}},
		{"servers receive from load balancers and operators only", func(w *world) error {
			return w.each("aws_vpc_security_group_ingress_rule", func(r resource) error {
				server := strings.HasPrefix(r.str("security_group_id"), "aws_security_group.server")
				if cidr := r.str("cidr_ipv4"); server && cidr != "" && !strings.HasPrefix(r.address, "aws_vpc_security_group_ingress_rule.operator[") || cidr == "0.0.0.0/0" {
					return fmt.Errorf("admits %s", cidr)
				}
				return nil
			})
		}, []mutation{
			{sg, "  referenced_security_group_id = aws_security_group.load_balancer[each.value.load_balancer].id", `  cidr_ipv4 = "10.0.0.0/8"`},
			{prod, `operators        = ["10.0.0.0/16"]`, `operators        = ["0.0.0.0/0"]`},
		}},
		{"servers send to the APIs and to the IDC only", func(w *world) error {
			return w.each("aws_vpc_security_group_egress_rule", func(r resource) error {
				if !strings.HasPrefix(r.str("security_group_id"), "aws_security_group.server") {
					return nil
				}
				https := r.num("from_port") == 443 && r.num("to_port") == 443
				sftp := r.num("from_port") == 22 && r.num("to_port") == 22 && r.str("cidr_ipv4") == "192.0.2.10/32"
				if r.str("ip_protocol") != "tcp" || !https && !sftp {
					return fmt.Errorf("%v", r.args)
				}
				return nil
			})
		}, []mutation{
			{sg, "  from_port         = 443\n", "  from_port         = 0\n"},
			{sg, "  from_port         = var.delivery.sftp.port\n", "  from_port         = 1\n"},
		}},
	})
}

// inner returns KEY of TYPE.NAME[KEY].ATTRIBUTE.
func inner(address string) string {
	_, rest, _ := strings.Cut(address, "[")
	key, _, _ := strings.Cut(rest, "]")
	return key
}

// groupOf returns the group of servers of a class.
func (p Plan) groupOf(class string) string {
	for address := range p {
		if strings.HasPrefix(address, "aws_launch_template.server[") {
			if c, err := p.collector(inner(address)); err == nil && at(c, "classes."+class) != nil {
				return inner(address)
			}
		}
	}
	return ""
}

func public(w *world) error {
	if err := w.each("aws_lb", func(r resource) error {
		if subnet, _ := r.get("subnets.0").(string); strings.HasPrefix(subnet, "subnet-0c") == r.get("internal").(bool) {
			return fmt.Errorf("subnet %s", subnet)
		}
		return nil
	}); err != nil {
		return err
	}
	for name, internal := range map[string]bool{"vpn-udp": true, "vpn-tcp": true, "web-udp": false, "web-tcp": false, "apart": true} {
		if have := w.plans["prod"]["aws_lb.this["+name+"]"]["internal"]; have != internal {
			return fmt.Errorf("%s: internal is %v", name, have)
		}
	}
	return nil
}

func apartProtocols(w *world) error {
	protocols := map[string]string{}
	for address, l := range w.plans["prod"] {
		if !strings.HasPrefix(address, "aws_lb_listener.") {
			continue
		}
		b, p := l["load_balancer_arn"].(string), l["protocol"].(string)
		if have := protocols[b]; have != "" && have != p {
			return fmt.Errorf("%s has both", b)
		}
		protocols[b] = p
	}
	if len(protocols) != 5 {
		return fmt.Errorf("%d load balancers have listeners", len(protocols))
	}
	return nil
}

// isolated: load balancer, target group and servers of class apart serve no other class, and those of vpn and web serve both.
func isolated(w *world) error {
	p := w.plans["prod"]
	for address, l := range p {
		if !strings.HasPrefix(address, "aws_lb_listener.") {
			continue
		}
		class := at(p["aws_lb_target_group.this["+inner(address)+"]"], "tags.penstock:class")
		if (class == "apart") != (l["load_balancer_arn"] == "aws_lb.this[apart].arn") {
			return fmt.Errorf("class %v is at %v", class, l["load_balancer_arn"])
		}
	}
	for group, want := range map[string]int{"main": 2, "apart": 1} {
		c, err := p.collector(group)
		if err != nil {
			return err
		}
		if classes := c["classes"].(map[string]any); len(classes) != want || (classes["apart"] != nil) != (group == "apart") {
			return fmt.Errorf("group %s has classes %v", group, classes)
		}
	}
	return nil
}

func health(w *world) error {
	return w.each("aws_lb_target_group", func(r resource) error {
		class := at(r.args, "tags.penstock:class").(string)
		c, err := r.plan.collector(r.plan.groupOf(class))
		if err != nil {
			return err
		}
		for path, want := range map[string]any{"protocol": "HTTP", "path": "/readyz/" + class, "matcher": "200", "interval": 10} {
			if err := r.want("health_check.0."+path, want); err != nil {
				return err
			}
		}
		if port := r.str("health_check.0.port"); c["http"] != ":"+port {
			return fmt.Errorf("checks port %s, and the page is at %v", port, c["http"])
		}
		return nil
	})
}

// paths: for each listener there are rules in, through and to the port at which the collector of its group listens.
func paths(w *world) error {
	return w.each("aws_lb_listener", func(r resource) error {
		target, proto := r.plan["aws_lb_target_group.this["+r.key()+"]"], strings.ToLower(r.str("protocol"))
		in := 0
		for address, rule := range r.plan {
			if strings.HasPrefix(address, "aws_vpc_security_group_ingress_rule.listener["+r.key()+" ") {
				if in++; rule["from_port"] != r.get("port") || rule["to_port"] != r.get("port") || rule["ip_protocol"] != proto {
					return fmt.Errorf("%s: %v", address, rule)
				}
			}
		}
		if in == 0 {
			return fmt.Errorf("no sender is admitted")
		}
		for _, a := range []string{"aws_vpc_security_group_egress_rule.to_servers", "aws_vpc_security_group_ingress_rule.from_load_balancer"} {
			rule := r.plan[a+"["+r.key()+"]"]
			if rule["from_port"] != target["port"] || rule["to_port"] != target["port"] || rule["ip_protocol"] != proto {
				return fmt.Errorf("%s: %v", a, rule)
			}
		}
		class := at(target, "tags.penstock:class").(string)
		c, err := r.plan.collector(r.plan.groupOf(class))
		if err != nil {
			return err
		}
		for _, l := range at(c, "classes."+class+".listen").([]any) {
			if strings.HasPrefix(l.(string), fmt.Sprintf("%s://:%v", proto, target["port"])) {
				return nil
			}
		}
		return fmt.Errorf("no collector listens at %s %v", proto, target["port"])
	})
}
