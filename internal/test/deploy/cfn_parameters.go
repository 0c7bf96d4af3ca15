package deploy

import (
	"encoding/json"
	"strings"
)

var groups = []string{"main", "apart"}

// parameters declares everything that differs between accounts, and between dev and prod; the defaults of sizes are those of
// prod.
func (c *cfn) parameters(prod Plan) map[string]any {
	out := map[string]any{}
	for _, l := range literals {
		p := map[string]any{"Type": l.kind, "Description": l.about}
		if v, ok := optional[l.name]; ok {
			p["Default"] = v
		}
		out[l.name] = p
	}
	out["FleetName"].(map[string]any)["AllowedPattern"] = "^[a-z][a-z0-9-]{0,18}[a-z0-9]$"
	for _, name := range lists {
		about := "One subnet per availability zone, for " + strings.ToLower(strings.TrimSuffix(name, "Subnets")) + " load balancers"
		if name == "ServerSubnets" {
			about = "Private subnets of the servers, one per availability zone"
		}
		out[name] = map[string]any{"Type": "List<AWS::EC2::Subnet::Id>", "Description": about}
	}
	for _, group := range groups {
		for name, v := range sizesIn(prod, group) {
			p := map[string]any{"Type": "Number", "Default": v, "Description": about(name)}
			if _, ok := v.(string); ok {
				p["Type"] = "String"
			}
			if name == "OnAbandon" {
				p["AllowedValues"] = []any{"retain", "terminate"}
			}
			out[string(size(group, name))] = p
		}
	}
	out["DeletionProtection"] = map[string]any{"Type": "String", "Default": "true", "AllowedValues": []any{"true", "false"}, "Description": "Whether load balancers refuse to be deleted"}
	out["Environment"] = map[string]any{"Type": "String", "Default": "prod", "Description": "Value of the tag environment"}
	return out
}

func about(name string) string {
	for _, s := range sizesOf {
		if s.name == name {
			return s.about
		}
	}
	return "Bytes per minute and server below which one leaves, if there is no backlog"
}

// sizesIn returns the values of a plan for the parameters of a group.
func sizesIn(p Plan, group string) map[string]any {
	out := map[string]any{}
	for _, s := range sizesOf {
		out[s.name] = at(p[s.address+"["+group+"]"], s.path)
	}
	out["NetworkInQuiet"] = quietBelow(p, group)
	return out
}

// values returns the parameters of dev or prod that do not depend on the account, as the AWS CLI takes them.
func (c *cfn) values(p Plan) []byte {
	type value struct{ ParameterKey, ParameterValue string }
	env := at(p["aws_s3_bucket.this"], "tags.environment").(string)
	protection := at(p[map[string]string{"dev": "aws_lb.this[all]", "prod": "aws_lb.this[vpn-udp]"}[env]], "enable_deletion_protection").(bool)
	list := []value{{"Environment", env}, {"DeletionProtection", number(protection)}}
	for _, group := range groups {
		sizes := sizesIn(p, group)
		for _, s := range sizesOf {
			list = append(list, value{string(size(group, s.name)), number(sizes[s.name])})
		}
		list = append(list, value{string(size(group, "NetworkInQuiet")), number(sizes["NetworkInQuiet"])})
	}
	b, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		panic(err)
	}
	return append(b, '\n')
}

func number(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (c *cfn) outputs() map[string]any {
	out := map[string]any{"Bucket": map[string]any{"Description": "Bucket with the delivered objects", "Value": "aws_s3_bucket.this.id"}}
	for address := range c.plan {
		if strings.HasPrefix(address, "aws_lb.") {
			out[logical(address)] = map[string]any{"Description": "Where senders send", "Value": address + ".dns_name"}
		}
		if strings.HasPrefix(address, "aws_iam_role.") {
			role := map[string]any{"Description": "Role", "Value": address + ".arn"}
			if ofRelay(address) {
				role["Condition"] = hasRelay
			}
			out[logical(address)] = role
		}
	}
	return out
}
