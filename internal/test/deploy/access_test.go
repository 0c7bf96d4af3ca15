package deploy

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestAccess: the bucket and the roles.
func TestAccess(t *testing.T) {
	bucket, iam := module1+"bucket.tf", module1+"iam.tf"
	b := func(s string) string { return "aws_s3_bucket_" + s + ".this" }
	prove(t, []invariant{
		{"the bucket keeps older versions", same(b("versioning"), "versioning_configuration.0.status", "Enabled"), []mutation{
			{bucket, "  versioning_configuration {\n    status = \"Enabled\"", "  versioning_configuration {\n    status = \"Suspended\""},
		}},
		{"the bucket is encrypted, with the key of the fleet", func(w *world) error {
			return w.each(b("server_side_encryption_configuration"), func(r resource) error {
				key := "rule.0.apply_server_side_encryption_by_default.0."
				if r.plan.environment() == "dev" {
					return r.want(key+"sse_algorithm", "AES256")
				}
				if err := r.want(key+"sse_algorithm", "aws:kms"); err != nil {
					return err
				}
				return r.want(key+"kms_master_key_id", r.plan["aws_launch_template.server[main]"]["block_device_mappings"].([]any)[0].(map[string]any)["ebs"].([]any)[0].(map[string]any)["kms_key_id"])
			})
		}, []mutation{
			{bucket, `var.delivery.kms_key_arn == null ? "AES256" : "aws:kms"`, `"AES256"`},
			{bucket, "kms_master_key_id = var.delivery.kms_key_arn", ""},
			{module1 + "servers.tf", "kms_key_id            = var.delivery.kms_key_arn", ""},
		}},
		{"nothing of the bucket is public", func(w *world) error {
			for _, a := range []string{"block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"} {
				if err := same(b("public_access_block"), a, true)(w); err != nil {
					return err
				}
			}
			return same(b("ownership_controls"), "rule.0.object_ownership", "BucketOwnerEnforced")(w)
		}, []mutation{
			{bucket, "block_public_policy     = true", "block_public_policy     = false"},
			{bucket, `"BucketOwnerEnforced"`, `"ObjectWriter"`},
		}},
		{"Terraform does not delete the bucket", func(w *world) error {
			if err := same("aws_s3_bucket.this", "force_destroy", false)(w); err != nil {
				return err
			}
			return same("aws_s3_bucket.this", "lifecycle.prevent_destroy", true)(w)
		}, []mutation{
			{bucket, "force_destroy = false", "force_destroy = true"},
			{bucket, "prevent_destroy = true", "prevent_destroy = false"},
		}},
		{"unfinished uploads go, after the collectors' own sweep", func(w *world) error {
			return same(b("lifecycle_configuration"), "rule.0.abort_incomplete_multipart_upload.0.days_after_initiation", 3)(w)
		}, []mutation{
			{bucket, "days_after_initiation = 3", "days_after_initiation = 1"},
			{bucket, "    abort_incomplete_multipart_upload {\n      days_after_initiation = 3\n    }", ""},
		}},
		{"no rule removes a current object", func(w *world) error {
			return w.each(b("lifecycle_configuration"), func(r resource) error {
				for _, rule := range r.get("rule").([]any) {
					if at(rule, "expiration") != nil || at(rule, "transition") != nil || at(rule, "status") != "Enabled" {
						return fmt.Errorf("%v", rule)
					}
				}
				return nil
			})
		}, []mutation{
			{bucket, "    noncurrent_version_expiration {\n      noncurrent_days = var.delivery.noncurrent_days\n    }", "    expiration {\n      days = 30\n    }"},
			{bucket, "    noncurrent_version_expiration {", "    transition {\n      days = 30\n      storage_class = \"GLACIER\"\n    }\n    noncurrent_version_expiration {"},
		}},
		{"the bucket refuses plain HTTP", tlsOnly, []mutation{
			{bucket, `"aws:SecureTransport" = "false"`, `"aws:SecureTransport" = "true"`},
			{bucket, `Resource  = [aws_s3_bucket.this.arn, "${aws_s3_bucket.this.arn}/*"]`, `Resource  = [aws_s3_bucket.this.arn]`},
			{bucket, "Effect    = \"Deny\"\n        Principal = \"*\"", "Effect    = \"Deny\"\n        Principal = { AWS = \"arn:aws:iam::123456789012:root\" }"},
			{bucket, `Action    = "s3:*"`, `Action    = "s3:GetObject"`},
		}},
		{"the bucket refuses its writers' deletions", neverDelete, []mutation{
			{bucket, `"s3:DeleteObject", `, ``},
			{bucket, `"s3:DeleteObjectVersion", `, ``},
			{bucket, `"s3:PutLifecycleConfiguration", `, ``},
			{bucket, "concat([for r in aws_iam_role.server : r.arn], [aws_iam_role.adopter.arn])", "[for r in aws_iam_role.server : r.arn]"},
		}},
		{"a server may do what it needs", allowed("aws_iam_role.server[main]", map[string][]string{
			"prod": append(slices.Concat(delivers, encrypts, hooks, observes, reaps), "kms:CreateGrant", "secretsmanager:GetSecretValue", "ssm:GetParameter"),
			"dev":  slices.Concat(delivers, hooks, observes, reaps),
		}), []mutation{
			{iam, `"s3:AbortMultipartUpload"`, `"s3:AbortMultipartUpload", "s3:DeleteObject"`},
			{iam, `["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"]`, `["s3:*"]`},
			{iam, `["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"]`, `["s3:PutObject"]`},
			{iam, `, "autoscaling:SetInstanceProtection",`, `,`},
			{iam, `["kms:GenerateDataKey", "kms:Decrypt"]`, `["kms:Decrypt"]`},
			{iam, `"secretsmanager:GetSecretValue"`, `"secretsmanager:ListSecrets"`},
		}},
		{"an adopter delivers and nothing else", allowed("aws_iam_role.adopter", map[string][]string{
			"prod": append(slices.Concat(delivers, encrypts, observes), "secretsmanager:GetSecretValue", "ssm:GetParameter"),
			"dev":  slices.Concat(delivers, observes),
		}), []mutation{
			{iam, "concat(local.deliver, local.read_secrets, local.observe, local.package)", "concat(local.deliver, local.read_secrets, local.observe, local.package, local.reap)"},
			{iam, "concat(local.deliver, local.read_secrets, local.observe, local.package)", "concat(local.read_secrets, local.observe, local.package)"},
		}},
		{"an auditor reads and nothing else", allowed("aws_iam_role.auditor", map[string][]string{
			"prod": {"kms:Decrypt", "s3:GetObject", "s3:ListBucket", "secretsmanager:GetSecretValue", "ssm:GetParameter"},
			"dev":  {"s3:GetObject", "s3:ListBucket"},
		}), []mutation{
			{iam, "concat(local.audit, local.read_secrets)", "concat(local.deliver, local.read_secrets)"},
			{iam, `["s3:ListBucket"]`, `["s3:ListBucket", "s3:ListBucketVersions"]`},
		}},
		{"whoever reads objects is told that one is absent", absentIsTold, []mutation{
			{iam, `["s3:ListBucket", "s3:ListBucketMultipartUploads"]`, `["s3:ListBucketMultipartUploads"]`},
			{iam, `      Action   = ["s3:ListBucket"]`, "      Condition = { StringLike = { \"s3:prefix\" = [\"ingest/*\"] } }\n      Action   = [\"s3:ListBucket\"]"},
		}},
		{"a grant for an encrypted volume is for EC2 only", func(w *world) error {
			return condition(w.plans["prod"], "kms:CreateGrant", "Bool", "kms:GrantIsForAWSResource", "true")
		}, []mutation{
			{iam, `      Condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } }`, ""},
			{iam, `["kms:CreateGrant"]`, `["kms:ListGrants"]`},
		}},
		{"a reaper moves volumes and audits", allowed("aws_iam_role.reaper", map[string][]string{
			"prod": append(slices.Clone(reaps), "kms:CreateGrant", "kms:Decrypt", "s3:GetObject", "s3:ListBucket"),
			"dev":  append(slices.Clone(reaps), "s3:GetObject", "s3:ListBucket"),
		}), []mutation{
			{iam, "concat(local.reap, local.audit)", "concat(local.reap, local.deliver)"},
			{iam, `["ec2:DescribeVolumes"]`, `["ec2:DescribeVolumes", "ec2:TerminateInstances"]`},
		}},
		{"only a volume with a proof can be deleted", conditions("ec2:DeleteVolume", "StringEquals", "aws:ResourceTag/penstock:state", "delivered"), []mutation{
			{iam, `, "aws:ResourceTag/penstock:state" = "delivered"`, ``},
			{iam, `"aws:ResourceTag/penstock:state" = "delivered"`, `"aws:ResourceTag/penstock:state" = "*"`},
			{iam, `["ec2:DescribeVolumes"]`, `["ec2:DescribeVolumes", "ec2:DeleteVolume"]`},
		}},
		{"only volumes of the fleet are touched", func(w *world) error {
			for _, a := range []string{"ec2:AttachVolume", "ec2:DetachVolume", "ec2:CreateTags", "ec2:DeleteVolume"} {
				for env, fleet := range map[string]string{"prod": "penstock", "dev": "penstock-dev"} {
					if err := condition(w.plans[env], a, "StringEquals", "aws:ResourceTag/penstock:fleet", fleet); err != nil {
						return fmt.Errorf("%s: %w", a, err)
					}
				}
			}
			return nil
		}, []mutation{
			{iam, `      Condition = { StringEquals = { "aws:ResourceTag/penstock:fleet" = var.name } }`, ``},
			{iam, "        StringEquals                = { \"aws:ResourceTag/penstock:fleet\" = var.name }\n        \"ForAll", "        \"ForAll"},
		}},
		{"a server attaches volumes to itself only", func(w *world) error {
			return w.each("aws_iam_policy.reaper", func(r resource) error {
				s, err := r.policy("policy")
				if err != nil {
					return err
				}
				for _, s := range s {
					if slices.Contains(s.Action, "ec2:AttachVolume") && strings.Contains(s.Resource[0], ":instance/") {
						if have := s.Condition["StringLike"]["aws:userid"]; have != "*:${ec2:InstanceID}" {
							return fmt.Errorf("the user is %v", have)
						}
						return nil
					}
				}
				return fmt.Errorf("no instance can be attached to")
			})
		}, []mutation{
			{iam, `        StringLike   = { "aws:userid" = "*:$${ec2:InstanceID}" }`, ``},
			{iam, `"*:$${ec2:InstanceID}"`, `"*"`},
		}},
		{"only three tags are written", conditions("ec2:CreateTags", "ForAllValues:StringEquals", "aws:TagKeys", []any{"penstock:state", "penstock:reason", "penstock:since"}), []mutation{
			{iam, `["penstock:state", "penstock:reason", "penstock:since"]`, `["penstock:state", "penstock:reason", "penstock:since", "penstock:fleet"]`},
		}},
		{"all resources only for what has none", wildcards, []mutation{
			{iam, "\"s3:AbortMultipartUpload\"]\n      Resource = [local.objects]", "\"s3:AbortMultipartUpload\"]\n      Resource = [\"*\"]"},
			{iam, `Resource = local.secretsmgr`, `Resource = ["*"]`},
			{iam, `Resource = ["arn:${local.partition}:autoscaling:${local.region}:${local.account}:autoScalingGroup:*:autoScalingGroupName/${var.name}-${k}"]`, `Resource = ["*"]`},
		}},
		{"objects are written below the prefix only", func(w *world) error {
			return w.each("aws_iam_policy.server", func(r resource) error {
				s, err := r.policy("policy")
				if err != nil {
					return err
				}
				for _, s := range s {
					if slices.Contains(s.Action, "s3:PutObject") && !slices.Equal(s.Resource, list{"aws_s3_bucket.this.arn/ingest/*"}) {
						return fmt.Errorf("%v", s.Resource)
					}
				}
				return nil
			})
		}, []mutation{{iam, `"${aws_s3_bucket.this.arn}/${var.delivery.prefix}/*"`, `"${aws_s3_bucket.this.arn}/*"`}}},
		{"a server reads the secrets of the configuration only", func(w *world) error {
			p := w.plans["prod"]
			s, err := resource{"", p["aws_iam_policy.server[main]"], p}.policy("policy")
			var read list
			for _, s := range s {
				if strings.HasPrefix(s.Action[0], "secretsmanager:") || strings.HasPrefix(s.Action[0], "ssm:") {
					read = append(read, s.Resource...)
				}
			}
			if want := (list{"arn:aws:secretsmanager:eu-central-1:123456789012:secret:penstock/idc-key-AbCdEf", "arn:aws:ssm:eu-central-1:123456789012:parameter/penstock/idc-known-hosts"}); err == nil && !slices.Equal(read, want) {
				err = fmt.Errorf("%v", read)
			}
			return err
		}, []mutation{{iam, `if strcontains(a, ":ssm:")`, ""}}},
	})
}

// What the roles may do.
var (
	delivers = []string{"s3:AbortMultipartUpload", "s3:GetObject", "s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:PutObject"}
	encrypts = []string{"kms:Decrypt", "kms:GenerateDataKey"}
	observes = []string{"logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"}
	hooks    = []string{
		"autoscaling:CompleteLifecycleAction", "autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeAutoScalingInstances",
		"autoscaling:DescribeLifecycleHooks", "autoscaling:RecordLifecycleActionHeartbeat", "autoscaling:SetInstanceProtection",
	}
	reaps = []string{"ec2:AttachVolume", "ec2:CreateTags", "ec2:DeleteVolume", "ec2:DescribeVolumes", "ec2:DetachVolume"}
)

// TestDocumentedAccess: the documentation of the packages that make the requests has the same lists.
func TestDocumentedAccess(t *testing.T) {
	for path, want := range map[string][]string{
		"../../../ship/s3ship/doc.go": append(slices.Clone(delivers), "s3:ListBucket", "kms:Decrypt", "kms:GenerateDataKey"),
		"../../../drain/asg/doc.go":   hooks,
	} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range want {
			if _, name, _ := strings.Cut(a, ":"); !regexp.MustCompile(`\b` + name + `\b`).Match(b) {
				t.Errorf("%s does not mention %s", path, a)
			}
		}
	}
}

// TestReaperCalls: the reaper's policy allows exactly the calls that its program makes of the SDK's client of EC2.
func TestReaperCalls(t *testing.T) {
	files, err := filepath.Glob("../../../examples/reaper/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	calls := map[string]bool{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		for _, m := range regexp.MustCompile(`\bec2\.(\w+)Input\{`).FindAllSubmatch(b, -1) {
			calls["ec2:"+string(m[1])] = true
		}
	}
	if have := slices.Sorted(maps.Keys(calls)); !slices.Equal(have, reaps) {
		t.Errorf("the program calls\n%v, the policy allows\n%v", have, reaps)
	}
}

// allowed demands the exact set of actions of a role in each configuration.
func allowed(role string, want map[string][]string) func(*world) error {
	return func(w *world) error {
		for plan, actions := range want {
			actions = slices.Clone(actions)
			slices.Sort(actions)
			have, err := w.actions(plan, role)
			if err != nil {
				return err
			}
			if actions = slices.Compact(actions); !slices.Equal(have, actions) {
				return fmt.Errorf("%s in %s may do\n%v, want\n%v", role, plan, have, actions)
			}
		}
		return nil
	}
}

// conditions demands a condition of every statement that allows an action.
func conditions(action, operator, key string, want any) func(*world) error {
	return func(w *world) error {
		for name, p := range w.plans {
			if err := condition(p, action, operator, key, want); err != nil {
				return fmt.Errorf("%s: %s: %w", name, action, err)
			}
		}
		return nil
	}
}

func condition(p Plan, action, operator, key string, want any) error {
	s, err := resource{"", p["aws_iam_policy.reaper"], p}.policy("policy")
	if err != nil {
		return err
	}
	n := 0
	for _, s := range s {
		if slices.Contains(s.Action, action) {
			if n++; fmt.Sprint(s.Condition[operator][key]) != fmt.Sprint(want) {
				return fmt.Errorf("%s %s is %v, want %v", operator, key, s.Condition[operator][key], want)
			}
		}
	}
	if n == 0 {
		return fmt.Errorf("nobody may")
	}
	return nil
}

// absentIsTold: S3 answers a request for an absent object with 404 only if s3:ListBucket is allowed without a condition on the
// prefix, which such a request does not have. With 403 an audit could not be finished, and would not name what is missing.
func absentIsTold(w *world) error {
	for _, kind := range []string{"aws_iam_policy", "aws_iam_role_policy"} {
		if err := w.each(kind, func(r resource) error {
			statements, err := r.policy("policy")
			if err != nil {
				return err
			}
			for _, s := range statements {
				if slices.Contains(s.Action, "s3:ListBucket") && len(s.Condition) == 0 && slices.Equal(s.Resource, list{"aws_s3_bucket.this.arn"}) {
					return nil
				}
			}
			return fmt.Errorf("reads objects without s3:ListBucket")
		}); err != nil {
			return err
		}
	}
	return nil
}

func tlsOnly(w *world) error {
	return w.each("aws_s3_bucket_policy", func(r resource) error {
		statements, err := r.policy("policy")
		if err != nil {
			return err
		}
		for _, s := range statements {
			if s.Effect == "Deny" && s.Principal == "*" && slices.Equal(s.Action, list{"s3:*"}) && s.Condition["Bool"]["aws:SecureTransport"] == "false" &&
				slices.Equal(s.Resource, list{"aws_s3_bucket.this.arn", "aws_s3_bucket.this.arn/*"}) {
				return nil
			}
		}
		return fmt.Errorf("plain HTTP is not denied")
	})
}

func neverDelete(w *world) error {
	return w.each("aws_s3_bucket_policy", func(r resource) error {
		statements, err := r.policy("policy")
		if err != nil {
			return err
		}
		for _, s := range statements {
			if s.Sid != "WritersNeverDelete" {
				continue
			}
			who := fmt.Sprint(at(s.Principal, "AWS"))
			for _, role := range []string{"server[main]", "server[apart]", "adopter"} {
				if !strings.Contains(who, "aws_iam_role."+role+".arn") {
					return fmt.Errorf("%s is missing in %s", role, who)
				}
			}
			for _, a := range []string{"s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutLifecycleConfiguration"} {
				if !slices.Contains(s.Action, a) || s.Effect != "Deny" {
					return fmt.Errorf("%s is not denied", a)
				}
			}
			return nil
		}
		return fmt.Errorf("deletions are not denied")
	})
}

// wildcards: a statement about all resources has actions only that take none.
func wildcards(w *world) error {
	describe := regexp.MustCompile(`^(autoscaling|ec2):Describe`)
	for _, kind := range []string{"aws_iam_policy", "aws_iam_role_policy"} {
		if err := w.each(kind, func(r resource) error {
			statements, err := r.policy("policy")
			if err != nil {
				return err
			}
			for _, s := range statements {
				for _, a := range s.Action {
					if slices.Contains(s.Resource, "*") && !describe.MatchString(a) || strings.HasSuffix(a, "*") {
						return fmt.Errorf("%s on %v", a, s.Resource)
					}
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}
