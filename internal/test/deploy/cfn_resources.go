package deploy

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// partOfOther are resources of Terraform that CloudFormation has as properties of another one.
var partOfOther = map[string]bool{
	"aws_iam_role_policy": true, "aws_iam_role_policy_attachment": true,
	"aws_s3_bucket_public_access_block": true, "aws_s3_bucket_ownership_controls": true, "aws_s3_bucket_versioning": true,
	"aws_s3_bucket_server_side_encryption_configuration": true, "aws_s3_bucket_lifecycle_configuration": true,
}

// converters make the counterpart of a resource. A test demands that every value of the plan has an effect, but for withoutCounterpart.
var converters = map[string]func(*cfn, resource) any{
	"aws_lb": (*cfn).loadBalancer, "aws_lb_listener": (*cfn).listener, "aws_lb_target_group": (*cfn).targetGroup,
	"aws_security_group":                  (*cfn).securityGroup,
	"aws_vpc_security_group_ingress_rule": func(c *cfn, r resource) any { return c.rule(r, "Ingress", "Source") },
	"aws_vpc_security_group_egress_rule":  func(c *cfn, r resource) any { return c.rule(r, "Egress", "Destination") },
	"aws_network_interface":               (*cfn).networkInterface, "aws_instance": (*cfn).instance,
	"aws_launch_template": (*cfn).launchTemplate, "aws_autoscaling_group": (*cfn).group, "aws_autoscaling_policy": (*cfn).scalingPolicy,
	"aws_cloudwatch_metric_alarm": (*cfn).alarm, "aws_cloudwatch_log_group": (*cfn).logGroup,
	"aws_s3_bucket": (*cfn).bucket, "aws_s3_bucket_policy": (*cfn).bucketPolicy,
	"aws_iam_role": (*cfn).role, "aws_iam_policy": (*cfn).managedPolicy, "aws_iam_instance_profile": (*cfn).profile,
}

// withoutCounterpart are arguments that CloudFormation does not have, with its behaviour instead.
var withoutCounterpart = map[string]string{
	"aws_autoscaling_group.force_delete":              "it never deletes by force",
	"aws_autoscaling_group.wait_for_capacity_timeout": "it does not wait for capacity",
	"aws_autoscaling_group.instance_refresh":          "UpdatePolicy replaces servers one by one",
	"aws_autoscaling_group.lifecycle":                 "it leaves the capacity alone, since the template does not name one",
	"aws_autoscaling_group.tag.":                      "tags have fixed names",
	"aws_autoscaling_policy.name":                     "policies have generated names",
	"aws_lb_listener.tags":                            "listeners have no tags",
	"aws_launch_template.update_default_version":      "groups name the latest version",
	"aws_launch_template.tags":                        "templates have no tags of their own",
	"aws_instance.user_data_replace_on_change":        "it restarts an instance with other user data, which must then be replaced by hand",
	"aws_iam_policy.tags":                             "policies have no tags",
	"aws_iam_instance_profile.tags":                   "profiles have no tags",
	"aws_s3_bucket.bucket_prefix":                     "it generates a name",
	"aws_s3_bucket.force_destroy":                     "it never empties a bucket",
	"environment":                                     "a parameter",
	"aws_autoscaling_group.vpc_zone_identifier":       "a parameter",
	"aws_lb.subnets":                                  "a parameter",
	"aws_lb.enable_deletion_protection":               "a parameter",
	".bucket":                                         "these are properties of the bucket",
}

func typed(kind string, properties map[string]any) map[string]any {
	return map[string]any{"Type": "AWS::" + kind, "Properties": properties}
}

// camel returns a copy of arguments with CloudFormation's names, but for those that are given.
func camel(args map[string]any, but ...string) map[string]any {
	out := map[string]any{}
	for k, v := range args {
		if !slices.Contains(but, k) {
			out[pascal(strings.ReplaceAll(k, "_", " "))] = v
		}
	}
	return out
}

func tags(v any) []any {
	m, _ := v.(map[string]any)
	var out []any
	for _, k := range []string{"Name", "environment", "penstock:class", "penstock:fleet", "penstock:group"} {
		if value, ok := m[k]; ok {
			if k == "environment" {
				value = ref("Environment")
			}
			out = append(out, map[string]any{"Key": k, "Value": value})
		}
	}
	return out
}

func pairs(kv ...any) (out []any) {
	for i := 0; i < len(kv); i += 2 {
		if kv[i+1] != nil {
			v := kv[i+1]
			if _, ok := v.(ref); !ok {
				v = number(v)
			}
			out = append(out, map[string]any{"Key": kv[i], "Value": v})
		}
	}
	return out
}

func (c *cfn) loadBalancer(r resource) any {
	scheme := "internet-facing"
	if r.get("internal").(bool) {
		scheme = "internal"
	}
	return typed("ElasticLoadBalancingV2::LoadBalancer", map[string]any{
		"Name": r.get("name"), "Type": r.get("load_balancer_type"), "Scheme": scheme, "Subnets": r.get("subnets"),
		"SecurityGroups": r.get("security_groups"), "Tags": tags(r.get("tags")),
		"EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic": r.get("enforce_security_group_inbound_rules_on_private_link_traffic"),
		"LoadBalancerAttributes": pairs(
			"load_balancing.cross_zone.enabled", r.get("enable_cross_zone_load_balancing"), "deletion_protection.enabled", ref("DeletionProtection"),
		),
	})
}

func (c *cfn) listener(r resource) any {
	return typed("ElasticLoadBalancingV2::Listener", map[string]any{
		"LoadBalancerArn": r.get("load_balancer_arn"), "Protocol": r.get("protocol"), "Port": r.get("port"),
		"DefaultActions":     []any{map[string]any{"Type": r.get("default_action.0.type"), "TargetGroupArn": r.get("default_action.0.target_group_arn")}},
		"ListenerAttributes": none(pairs("tcp.idle_timeout.seconds", r.get("tcp_idle_timeout_seconds"))),
	})
}

// none leaves an empty list out.
func none(list []any) any {
	if len(list) == 0 {
		return nil
	}
	return list
}

func (c *cfn) targetGroup(r resource) any {
	h := r.get("health_check.0").(map[string]any)
	return typed("ElasticLoadBalancingV2::TargetGroup", map[string]any{
		"Name": r.get("name"), "VpcId": r.get("vpc_id"), "TargetType": r.get("target_type"), "Protocol": r.get("protocol"), "Port": r.get("port"),
		"HealthCheckProtocol": h["protocol"], "HealthCheckPort": h["port"], "HealthCheckPath": h["path"], "Matcher": map[string]any{"HttpCode": h["matcher"]},
		"HealthCheckIntervalSeconds": h["interval"], "HealthCheckTimeoutSeconds": h["timeout"],
		"HealthyThresholdCount": h["healthy_threshold"], "UnhealthyThresholdCount": h["unhealthy_threshold"], "Tags": tags(r.get("tags")),
		"TargetGroupAttributes": pairs(
			"preserve_client_ip.enabled", r.get("preserve_client_ip"), "proxy_protocol_v2.enabled", r.get("proxy_protocol_v2"),
			"deregistration_delay.timeout_seconds", r.get("deregistration_delay"),
			"deregistration_delay.connection_termination.enabled", r.get("connection_termination"),
			"stickiness.enabled", r.get("stickiness.0.enabled"), "stickiness.type", r.get("stickiness.0.type"),
			"target_health_state.unhealthy.connection_termination.enabled", r.get("target_health_state.0.enable_unhealthy_connection_termination"),
		),
	})
}

func (c *cfn) securityGroup(r resource) any {
	return typed("EC2::SecurityGroup", map[string]any{
		"GroupName": r.get("name"), "GroupDescription": r.get("description"), "VpcId": r.get("vpc_id"), "Tags": tags(r.get("tags")),
		// Without a rule of its own a group may send everything everywhere.
		"SecurityGroupEgress": []any{map[string]any{"IpProtocol": "-1", "CidrIp": "127.0.0.1/32", "Description": "Nothing"}},
	})
}

func (c *cfn) rule(r resource, direction, peer string) any {
	return typed("EC2::SecurityGroup"+direction, map[string]any{
		"GroupId": r.get("security_group_id"), "Description": r.get("description"), "IpProtocol": r.get("ip_protocol"),
		"FromPort": r.get("from_port"), "ToPort": r.get("to_port"), "CidrIp": r.get("cidr_ipv4"), peer + "SecurityGroupId": r.get("referenced_security_group_id"),
	})
}

func (c *cfn) networkInterface(r resource) any {
	return typed("EC2::NetworkInterface", map[string]any{
		"Description": r.get("description"), "SubnetId": r.get("subnet_id"), "PrivateIpAddress": r.get("private_ips.0"), "GroupSet": r.get("security_groups"),
		"SourceDestCheck": r.get("source_dest_check"), "Tags": tags(r.get("tags")),
	})
}

func (c *cfn) instance(r resource) any {
	return typed("EC2::Instance", map[string]any{
		"ImageId": r.get("ami"), "InstanceType": r.get("instance_type"), "EbsOptimized": r.get("ebs_optimized"), "IamInstanceProfile": r.get("iam_instance_profile"),
		"UserData": map[string]any{"Fn::Base64": r.get("user_data")}, "MetadataOptions": camel(r.get("metadata_options.0").(map[string]any)), "Tags": tags(r.get("tags")),
		"NetworkInterfaces": []any{map[string]any{"DeviceIndex": "0", "NetworkInterfaceId": r.get("primary_network_interface.0.network_interface_id")}},
	})
}

func (c *cfn) launchTemplate(r resource) any {
	g := r.key()
	data := camel(r.args, "name", "description", "update_default_version", "vpc_security_group_ids", "user_data", "iam_instance_profile", "block_device_mappings", "metadata_options", "monitoring", "tag_specifications", "tags", "lifecycle")
	data["EbsOptimized"] = r.get("ebs_optimized") == "true"
	data["SecurityGroupIds"] = r.get("vpc_security_group_ids")
	data["UserData"] = map[string]any{"Fn::Base64": r.get("user_data")}
	data["IamInstanceProfile"] = camel(r.get("iam_instance_profile.0").(map[string]any))
	data["MetadataOptions"] = camel(r.get("metadata_options.0").(map[string]any))
	data["Monitoring"] = camel(r.get("monitoring.0").(map[string]any))
	ebs := camel(r.get("block_device_mappings.0.ebs.0").(map[string]any))
	ebs["DeleteOnTermination"], ebs["Encrypted"] = ebs["DeleteOnTermination"] == "true", ebs["Encrypted"] == "true"
	ebs["VolumeSize"], ebs["Throughput"], ebs["Iops"] = size(g, "VolumeGiB"), size(g, "VolumeMiBps"), size(g, "VolumeIops")
	data["BlockDeviceMappings"] = []any{map[string]any{"DeviceName": r.get("block_device_mappings.0.device_name"), "Ebs": ebs}}
	var specifications []any
	for _, s := range r.get("tag_specifications").([]any) {
		specifications = append(specifications, map[string]any{"ResourceType": at(s, "resource_type"), "Tags": tags(at(s, "tags"))})
	}
	data["TagSpecifications"] = specifications
	return typed("EC2::LaunchTemplate", map[string]any{"LaunchTemplateName": r.get("name"), "VersionDescription": r.get("description"), "LaunchTemplateData": data})
}

func (c *cfn) group(r resource) any {
	g := r.key()
	hook := r.get("initial_lifecycle_hook.0").(map[string]any)
	template := r.get("mixed_instances_policy.0.launch_template.0.launch_template_specification.0").(map[string]any)
	distribution := camel(r.get("mixed_instances_policy.0.instances_distribution.0").(map[string]any))
	distribution["OnDemandPercentageAboveBaseCapacity"] = size(g, "OnDemandPercent")
	var propagated []any
	for _, t := range r.get("tag").([]any) {
		for _, t := range tags(map[string]any{at(t, "key").(string): at(t, "value")}) {
			t.(map[string]any)["PropagateAtLaunch"] = true
			propagated = append(propagated, t)
		}
	}
	out := typed("AutoScaling::AutoScalingGroup", map[string]any{
		"AutoScalingGroupName": r.get("name"), "MinSize": size(g, "Min"), "MaxSize": size(g, "Max"), "VPCZoneIdentifier": r.get("vpc_zone_identifier"),
		"TargetGroupARNs": r.get("target_group_arns"), "HealthCheckType": r.get("health_check_type"), "HealthCheckGracePeriod": r.get("health_check_grace_period"),
		"DefaultInstanceWarmup": r.get("default_instance_warmup"), "TerminationPolicies": r.get("termination_policies"),
		"MetricsCollection": []any{map[string]any{"Granularity": r.get("metrics_granularity"), "Metrics": r.get("enabled_metrics")}},
		"MixedInstancesPolicy": map[string]any{
			"InstancesDistribution": distribution,
			"LaunchTemplate": map[string]any{
				"LaunchTemplateSpecification": map[string]any{"LaunchTemplateId": template["launch_template_id"], "Version": template["version"]},
				"Overrides":                   []any{map[string]any{"InstanceType": size(g, "InstanceType")}, map[string]any{"InstanceType": size(g, "InstanceType2")}},
			},
		},
		"LifecycleHookSpecificationList": []any{map[string]any{
			"LifecycleHookName": hook["name"], "LifecycleTransition": hook["lifecycle_transition"], "DefaultResult": hook["default_result"], "HeartbeatTimeout": hook["heartbeat_timeout"],
		}},
		"InstanceLifecyclePolicy":   map[string]any{"RetentionTriggers": map[string]any{"TerminateHookAbandon": size(g, "OnAbandon")}},
		"InstanceMaintenancePolicy": camel(r.get("instance_maintenance_policy.0").(map[string]any)),
		"Tags":                      propagated,
	})
	// A server is replaced after its successor has started, and drains first.
	out["UpdatePolicy"] = map[string]any{"AutoScalingRollingUpdate": map[string]any{
		"MinInstancesInService": size(g, "Min"), "MaxBatchSize": 1, "SuspendProcesses": []any{"AZRebalance", "AlarmNotification", "ScheduledActions"},
	}}
	if at(r.args, "force_delete") != false {
		panic("force_delete")
	}
	return out
}

func (c *cfn) scalingPolicy(r resource) any {
	p := camel(r.args, "name", "autoscaling_group_name", "target_tracking_configuration", "step_adjustment")
	p["AutoScalingGroupName"] = r.get("autoscaling_group_name")
	if t := r.get("target_tracking_configuration.0"); t != nil {
		p["TargetTrackingConfiguration"] = map[string]any{
			"TargetValue": at(t, "target_value"), "DisableScaleIn": at(t, "disable_scale_in"),
			"PredefinedMetricSpecification": camel(at(t, "predefined_metric_specification.0").(map[string]any)),
		}
		if strings.Contains(r.address, "out_network") {
			p["TargetTrackingConfiguration"].(map[string]any)["TargetValue"] = size(r.key(), "NetworkIn")
		}
	}
	if s := r.get("step_adjustment.0"); s != nil {
		p["StepAdjustments"] = []any{map[string]any{"MetricIntervalLowerBound": at(s, "metric_interval_lower_bound"), "ScalingAdjustment": at(s, "scaling_adjustment")}}
	}
	return typed("AutoScaling::ScalingPolicy", p)
}

var lessTraffic = regexp.MustCompile(`traffic < (\d+)`)

// quietBelow returns the traffic below which a server leaves.
func quietBelow(p Plan, group string) any {
	e := at(p["aws_cloudwatch_metric_alarm.in["+group+"]"], "metric_query.0.expression").(string)
	var n float64
	if err := json.Unmarshal([]byte(lessTraffic.FindStringSubmatch(e)[1]), &n); err != nil {
		panic(err)
	}
	return n
}

func dimensions(v any) any {
	var out []any
	m, _ := v.(map[string]any)
	for _, k := range []string{"AutoScalingGroupName", "LoadBalancer", "TargetGroup", "fleet", "group", "relay"} {
		if m[k] != nil {
			out = append(out, map[string]any{"Name": k, "Value": m[k]})
		}
	}
	return none(out)
}

func (c *cfn) alarm(r resource) any {
	p := camel(r.args, "ok_actions", "tags", "metric_query", "dimensions")
	p["OKActions"], p["Dimensions"], p["Tags"] = r.get("ok_actions"), dimensions(r.get("dimensions")), none(tags(r.get("tags")))
	queries, _ := r.get("metric_query").([]any)
	var metrics []any
	for _, q := range queries {
		m := camel(q.(map[string]any), "metric")
		if x := at(q, "metric.0"); x != nil {
			m["ReturnData"] = false
			m["MetricStat"] = map[string]any{
				"Metric": map[string]any{"Namespace": at(x, "namespace"), "MetricName": at(x, "metric_name"), "Dimensions": dimensions(at(x, "dimensions"))},
				"Period": at(x, "period"), "Stat": at(x, "stat"),
			}
		} else {
			m["Expression"] = sub(lessTraffic.ReplaceAllString(at(q, "expression").(string), "traffic < $${"+pascal(r.key())+"NetworkInQuiet}"))
		}
		metrics = append(metrics, m)
	}
	p["Metrics"] = none(metrics)
	return typed("CloudWatch::Alarm", p)
}

func (c *cfn) logGroup(r resource) any {
	return typed("Logs::LogGroup", map[string]any{"LogGroupName": r.get("name"), "RetentionInDays": r.get("retention_in_days"), "Tags": tags(r.get("tags"))})
}

func (c *cfn) bucket(r resource) any {
	part := func(kind string) resource {
		a := "aws_s3_bucket_" + kind + ".this"
		return resource{a, r.plan[a], r.plan}
	}
	encryption := part("server_side_encryption_configuration").get("rule.0")
	var rules []any
	for _, x := range part("lifecycle_configuration").get("rule").([]any) {
		rule := map[string]any{"Id": at(x, "id"), "Status": at(x, "status")}
		if p := at(x, "filter.0.prefix"); p != "" {
			rule["Prefix"] = p
		}
		if d := at(x, "abort_incomplete_multipart_upload.0.days_after_initiation"); d != nil {
			rule["AbortIncompleteMultipartUpload"] = map[string]any{"DaysAfterInitiation": d}
		}
		if d := at(x, "noncurrent_version_expiration.0.noncurrent_days"); d != nil {
			rule["NoncurrentVersionExpiration"] = map[string]any{"NoncurrentDays": d}
		}
		rules = append(rules, rule)
	}
	out := typed("S3::Bucket", map[string]any{
		"VersioningConfiguration": map[string]any{"Status": part("versioning").get("versioning_configuration.0.status")},
		"BucketEncryption": map[string]any{"ServerSideEncryptionConfiguration": []any{map[string]any{
			"BucketKeyEnabled": at(encryption, "bucket_key_enabled"),
			"ServerSideEncryptionByDefault": map[string]any{
				"SSEAlgorithm":   at(encryption, "apply_server_side_encryption_by_default.0.sse_algorithm"),
				"KMSMasterKeyID": at(encryption, "apply_server_side_encryption_by_default.0.kms_master_key_id"),
			},
		}}},
		"PublicAccessBlockConfiguration": camel(part("public_access_block").args, "bucket"),
		"OwnershipControls":              map[string]any{"Rules": []any{map[string]any{"ObjectOwnership": part("ownership_controls").get("rule.0.object_ownership")}}},
		"LifecycleConfiguration":         map[string]any{"Rules": rules},
		"Tags":                           tags(r.get("tags")),
	})
	if r.get("lifecycle.prevent_destroy") == true {
		out["DeletionPolicy"], out["UpdateReplacePolicy"] = "Retain", "Retain"
	}
	return out
}

// document parses a policy, so that references in it become functions.
func document(text any) (doc any) {
	if err := json.Unmarshal([]byte(text.(string)), &doc); err != nil {
		panic(err)
	}
	return doc
}

func (c *cfn) bucketPolicy(r resource) any {
	return typed("S3::BucketPolicy", map[string]any{"Bucket": r.get("bucket"), "PolicyDocument": document(r.get("policy"))})
}

func (c *cfn) role(r resource) any {
	var inline, managed []any
	for _, address := range sorted(r.plan) {
		args := r.plan[address]
		switch kind, _, _ := strings.Cut(address, "."); {
		case args["role"] != r.address+".name":
		case kind == "aws_iam_role_policy":
			inline = append(inline, map[string]any{"PolicyName": args["name"], "PolicyDocument": document(args["policy"])})
		case kind == "aws_iam_role_policy_attachment":
			managed = append(managed, args["policy_arn"])
		}
	}
	return typed("IAM::Role", map[string]any{
		"RoleName": r.get("name"), "AssumeRolePolicyDocument": document(r.get("assume_role_policy")),
		"Policies": none(inline), "ManagedPolicyArns": none(managed), "Tags": tags(r.get("tags")),
	})
}

func (c *cfn) managedPolicy(r resource) any {
	return typed("IAM::ManagedPolicy", map[string]any{"ManagedPolicyName": r.get("name"), "PolicyDocument": document(r.get("policy"))})
}

func (c *cfn) profile(r resource) any {
	return typed("IAM::InstanceProfile", map[string]any{"InstanceProfileName": r.get("name"), "Roles": []any{r.get("role")}})
}
