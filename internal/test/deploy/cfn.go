package deploy

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// CloudFormation returns a template with the same resources as the Terraform module in prod, with parameters for everything
// that differs between accounts and between dev and prod, and the values of these parameters for dev and prod. It is made from
// the plan, so that the two cannot differ; a resource without a counterpart is an error.
func (t Tree) CloudFormation() (template []byte, parameters map[string][]byte, err error) {
	sized := map[string]Plan{}
	for _, name := range []string{"dev", "prod"} {
		if sized[name], err = t.Plan(name); err != nil {
			return nil, nil, err
		}
	}
	neutral := t
	for old, replacement := range map[string]string{
		`name = "penstock"`: `name = "` + fleetMark + `"`,
		"relays = {}":       oneRelay,
		`class = "web", protocol = "UDP", port = 514, target_port = 5141, sources = ["198.51.100.0/24", "203.0.113.0/24"]`:                          `class = "web", protocol = "UDP", port = 514, target_port = 5141, sources = ["198.51.100.0/24"]`,
		`class = "web", protocol = "TCP", port = 514, target_port = 5141, query = "?framing=auto", sources = ["198.51.100.0/24", "203.0.113.0/24"]`: `class = "web", protocol = "TCP", port = 514, target_port = 5141, query = "?framing=auto", sources = ["198.51.100.0/24"]`,
	} {
		if neutral, err = neutral.Mutate("terraform/prod/prod.tfvars", old, replacement); err != nil {
			return nil, nil, err
		}
	}
	p, err := neutral.Plan("prod")
	if err != nil {
		return nil, nil, err
	}
	c := &cfn{p}
	if template, err = c.template(sized["prod"]); err != nil {
		return nil, nil, err
	}
	parameters = map[string][]byte{}
	for name, p := range sized {
		parameters[name] = c.values(p)
	}
	return template, parameters, nil
}

// template makes the template, with the sizes of prod as defaults.
func (c *cfn) template(prod Plan) ([]byte, error) {
	resources := map[string]any{}
	for _, address := range sorted(c.plan) {
		kind, _, _ := strings.Cut(address, ".")
		if kind == "data" || partOfOther[kind] {
			continue
		}
		convert := converters[kind]
		if convert == nil {
			return nil, fmt.Errorf("%s has no counterpart", address)
		}
		converted := convert(c, resource{address, c.plan[address], c.plan}).(map[string]any)
		if ofRelay(address) {
			converted["Condition"] = hasRelay
		}
		resources[logical(address)] = c.intrinsic(converted)
	}
	top := map[string]any{
		"AWSTemplateFormatVersion": "2010-09-09",
		"Description":              "A fleet of Penstock collectors: the twin of the Terraform module beside it, with the load balancers of prod.",
		"Parameters":               c.parameters(prod),
		"Conditions":               map[string]any{hasRelay: map[string]any{"Fn::Not": []any{map[string]any{"Fn::Equals": []any{ref("RelayAddress"), ""}}}}},
		"Resources":                resources,
		"Outputs":                  c.intrinsic(c.outputs()),
	}
	var b bytes.Buffer
	b.WriteString("# Made from ../terraform by internal/test/deploy, and compared with it: go test -run CloudFormation -update\n")
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	err := e.Encode(node(top))
	return b.Bytes(), err
}

func sorted(p Plan) []string { return slices.Sorted(maps.Keys(p)) }

// fleetMark stands for the fleet's name while the template is made.
const fleetMark = "zzfleet"

// literals are the values of prod.tfvars that are parameters, and their types.
var literals = []struct{ value, name, kind, about string }{
	{"vpc-0123456789abcdef0", "VpcId", "AWS::EC2::VPC::Id", "Network of the fleet"},
	{"ami-0123456789abcdef0", "ImageId", "AWS::EC2::Image::Id", "Image with systemd, cloud-init, nvme-cli, the AWS CLI and the CloudWatch agent"},
	{"arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555", "KmsKeyArn", "String", "Key that encrypts the bucket and the volumes"},
	{"arn:aws:sns:eu-central-1:123456789012:penstock", "AlarmTopicArn", "String", "SNS topic of the alarms"},
	{"arn:aws:secretsmanager:eu-central-1:123456789012:secret:penstock/idc-key-AbCdEf", "IdcKeyArn", "String", "Secret with the key for the IDC"},
	{"arn:aws:ssm:eu-central-1:123456789012:parameter/penstock/idc-known-hosts", "IdcKnownHostsArn", "String", "SSM parameter with the IDC's known_hosts lines"},
	{"example-artifacts", "PackageBucket", "String", "Bucket with the package of Penstock"},
	{"penstock/penstock_arm64.deb", "PackageKey", "String", "Its key"},
	{strings.Repeat("0", 64), "PackageSha256", "String", "Its SHA-256"},
	{"sftp://ingest@idc.example:22/srv/ingest", "IdcUrl", "String", "SFTP server of the IDC: sftp://USER@HOST:PORT/DIR"},
	{"192.0.2.10/32", "IdcCidr", "String", "Its address"},
	{"198.51.100.0/24", "WebCidr", "String", "Senders on the internet"},
	{"10.0.0.0/16", "OperatorCidr", "String", "Operators, who may see the status page"},
	{"10.0.0.0/8", "VpnCidr", "String", "Senders in the VPN"},
	{"subnet-0ddddddddddddddd1", "RelaySubnet", "String", "Subnet of the relay, if there is one"},
	{"10.0.1.10", "RelayAddress", "String", "Address to which clients of the relay send; empty: there is no relay"},
	{"c7gn.large", "RelayInstanceType", "String", "Type of the relay"},
	{"10.64.0.0/10", "RelayClientCidr", "String", "Clients of the relay, which the servers of class vpn then admit too"},
	{fleetMark, "FleetName", "String", "Prefix of every name, and value of the tag penstock:fleet"},
}

// optional are the defaults of parameters that a stack without a relay does not need. They have the form that CloudFormation demands.
var optional = map[string]string{"RelaySubnet": "subnet-ffffffff", "RelayAddress": "", "RelayInstanceType": "c7gn.large", "RelayClientCidr": "10.64.0.0/10"}

// oneRelay is the relay of the template, which exists if RelayAddress is not empty.
const (
	oneRelay = `relays = { vpn = { subnet_id = "subnet-0ddddddddddddddd1", private_ip = "10.0.1.10", listener = "vpn-udp" } }`
	hasRelay = "HasRelay"
)

// ofRelay reports whether a resource exists for relays only.
func ofRelay(address string) bool {
	_, name, _ := strings.Cut(address, ".")
	return strings.HasPrefix(name, "relay") || strings.HasPrefix(name, "from_relay")
}

// lists are lists of prod.tfvars that are parameters, by their first element.
var lists = map[string]string{"subnet-0aaaaaaaaaaaaaaa1": "ServerSubnets", "subnet-0ccccccccccccccc1": "PublicSubnets", "subnet-0bbbbbbbbbbbbbbb1": "InternalSubnets"}

// sizesOf are the parameters of a group of servers, by where a plan has them.
var sizesOf = []struct{ name, address, path, about string }{
	{"Min", "aws_autoscaling_group.this", "min_size", "Servers at least"},
	{"Max", "aws_autoscaling_group.this", "max_size", "Servers at most"},
	{"InstanceType", "aws_autoscaling_group.this", "mixed_instances_policy.0.launch_template.0.override.0.instance_type", "Type of the servers"},
	{"InstanceType2", "aws_autoscaling_group.this", "mixed_instances_policy.0.launch_template.0.override.1.instance_type", "Type of the servers, if there is none of the first"},
	{"OnDemandPercent", "aws_autoscaling_group.this", "mixed_instances_policy.0.instances_distribution.0.on_demand_percentage_above_base_capacity", "100, or 0 for spot instances"},
	{"OnAbandon", "aws_autoscaling_group.this", "instance_lifecycle_policy.0.retention_triggers.0.terminate_hook_abandon", "retain or terminate an instance whose drain could not finish"},
	{"VolumeGiB", "aws_launch_template.server", "block_device_mappings.0.ebs.0.volume_size", "Size of the volume: see the formulas in ../terraform/modules/penstock/locals.tf"},
	{"VolumeMiBps", "aws_launch_template.server", "block_device_mappings.0.ebs.0.throughput", "Its throughput"},
	{"VolumeIops", "aws_launch_template.server", "block_device_mappings.0.ebs.0.iops", "Its IOPS"},
	{"NetworkIn", "aws_autoscaling_policy.out_network", "target_tracking_configuration.0.target_value", "Bytes per minute above which a server is added"},
}

// ref, sub and att are CloudFormation's functions.
type (
	ref string
	att string // RESOURCE.ATTRIBUTE
	sub string
)

type cfn struct{ plan Plan }

// size returns a reference to the parameter of a group.
func size(group, name string) ref { return ref(pascal(group) + name) }

var (
	word      = regexp.MustCompile(`[a-zA-Z0-9]+`)
	reference = regexp.MustCompile(`aws_[a-z0-9_]+\.[a-z0-9_]+(\[[^]]*\])?\.(arn_suffix|dns_name|latest_version|arn|id|name)\b`)
)

func pascal(s string) (out string) {
	for _, w := range word.FindAllString(s, -1) {
		out += strings.ToUpper(w[:1]) + w[1:]
	}
	return out
}

// logical returns the logical id of an address: LbTargetGroupVpnUdp for aws_lb_target_group.this[vpn-udp].
func logical(address string) string {
	return pascal(strings.NewReplacer("_", " ", ".this", "", "[0]", "").Replace(strings.TrimPrefix(address, "aws_")))
}

// attributes are what CloudFormation calls an attribute of a resource; "" is Ref.
var attributes = map[string]string{
	"aws_security_group.id": "GroupId", "aws_lb.arn": "", "aws_lb.arn_suffix": "LoadBalancerFullName", "aws_lb.dns_name": "DNSName",
	"aws_lb_target_group.arn": "", "aws_lb_target_group.arn_suffix": "TargetGroupFullName",
	"aws_launch_template.id": "", "aws_launch_template.latest_version": "LatestVersionNumber",
	"aws_iam_instance_profile.arn": "Arn", "aws_iam_instance_profile.name": "", "aws_network_interface.id": "", "aws_iam_role.arn": "Arn", "aws_iam_role.name": "", "aws_iam_policy.arn": "",
	"aws_s3_bucket.arn": "Arn", "aws_s3_bucket.id": "", "aws_cloudwatch_log_group.name": "",
	"aws_autoscaling_group.name": "", "aws_autoscaling_policy.arn": "",
}

// target returns the equivalent of a reference of the plan in the template.
func target(reference string) any {
	i := strings.LastIndex(reference, ".")
	address, attribute := reference[:i], reference[i+1:]
	kind, _, _ := strings.Cut(address, ".")
	if kind == "aws_cloudwatch_log_group" && attribute == "arn" {
		// Its Arn ends in ":*" here.
		return sub("arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:${" + logical(address) + "}")
	}
	a, ok := attributes[kind+"."+attribute]
	switch {
	case !ok:
		panic("no counterpart of " + reference)
	case a == "":
		return ref(logical(address))
	}
	return att(logical(address) + "." + a)
}

// intrinsic replaces references and parameters in all values.
func (c *cfn) intrinsic(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			if x = c.intrinsic(x); x != nil {
				out[k] = x
			}
		}
		return out
	case []any:
		if len(v) > 0 {
			if first, ok := v[0].(string); ok && lists[first] != "" {
				return ref(lists[first])
			}
		}
		out := []any{}
		for _, x := range v {
			out = append(out, c.intrinsic(x))
		}
		return out
	case string:
		return c.text(v)
	}
	return v
}

// text turns a string with references or parameters into a function.
func (c *cfn) text(s string) any {
	if m := reference.FindString(s); m != "" && m == s {
		return target(s)
	}
	for _, l := range literals {
		if s == l.value {
			return ref(l.name)
		}
	}
	escaped := strings.ReplaceAll(s, "${", "${!")
	out := reference.ReplaceAllStringFunc(escaped, func(r string) string {
		switch t := target(r).(type) {
		case ref:
			return "${" + string(t) + "}"
		case att:
			return "${" + string(t) + "}"
		case sub:
			return string(t)
		}
		return r
	})
	for _, l := range literals {
		out = strings.ReplaceAll(out, l.value, "${"+l.name+"}")
	}
	for old, replacement := range map[string]string{"123456789012": "${AWS::AccountId}", "arn:aws:": "arn:${AWS::Partition}:", "eu-central-1": "${AWS::Region}"} {
		out = strings.ReplaceAll(out, old, replacement)
	}
	if out == escaped {
		return s
	}
	return sub(out)
}

// node writes maps with sorted keys and functions as tags.
func node(v any) *yaml.Node {
	n := &yaml.Node{}
	tagged := func(tag, value string) *yaml.Node {
		n := &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
		if strings.Contains(value, "\n") {
			n.Style = yaml.LiteralStyle
		}
		return n
	}
	switch v := v.(type) {
	case ref:
		return tagged("!Ref", string(v))
	case att:
		return tagged("!GetAtt", string(v))
	case sub:
		return tagged("!Sub", string(v))
	case map[string]any:
		n.Kind = yaml.MappingNode
		for _, k := range slices.Sorted(maps.Keys(v)) {
			key := &yaml.Node{}
			key.SetString(k)
			n.Content = append(n.Content, key, node(v[k]))
		}
		return n
	case []any:
		n.Kind = yaml.SequenceNode
		for _, x := range v {
			n.Content = append(n.Content, node(x))
		}
		return n
	}
	if f, ok := v.(float64); ok && f == math.Trunc(f) {
		v = int64(f)
	}
	if err := n.Encode(v); err != nil {
		panic(err)
	}
	return n
}
