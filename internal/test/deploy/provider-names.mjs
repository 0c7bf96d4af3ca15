// Writes the names of all arguments of the AWS provider's resources that the Terraform module uses, as the npm package
// @pulumi/aws has them, which is made from the provider:
//
//   node provider-names.mjs 7.48.0 > provider-names.txt
//
// A line is "RESOURCE PATH"; "[]" marks a list, whose Pulumi name is a plural.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

// Where the package has each resource: the names differ from Terraform's.
const resources = {
  aws_autoscaling_group: "autoscaling/group",
  aws_autoscaling_policy: "autoscaling/policy",
  aws_cloudwatch_log_group: "cloudwatch/logGroup",
  aws_cloudwatch_metric_alarm: "cloudwatch/metricAlarm",
  aws_iam_instance_profile: "iam/instanceProfile",
  aws_iam_policy: "iam/policy",
  aws_iam_role: "iam/role",
  aws_iam_role_policy: "iam/rolePolicy",
  aws_iam_role_policy_attachment: "iam/rolePolicyAttachment",
  aws_instance: "ec2/instance",
  aws_launch_template: "ec2/launchTemplate",
  aws_lb: "lb/loadBalancer",
  aws_lb_listener: "lb/listener",
  aws_lb_target_group: "lb/targetGroup",
  aws_network_interface: "ec2/networkInterface",
  aws_s3_bucket: "s3/bucket",
  aws_s3_bucket_lifecycle_configuration: "s3/bucketLifecycleConfiguration",
  aws_s3_bucket_ownership_controls: "s3/bucketOwnershipControls",
  aws_s3_bucket_policy: "s3/bucketPolicy",
  aws_s3_bucket_public_access_block: "s3/bucketPublicAccessBlock",
  aws_s3_bucket_server_side_encryption_configuration: "s3/bucketServerSideEncryptionConfiguration",
  aws_s3_bucket_versioning: "s3/bucketVersioning",
  aws_security_group: "ec2/securityGroup",
  aws_vpc_security_group_egress_rule: "vpc/securityGroupEgressRule",
  aws_vpc_security_group_ingress_rule: "vpc/securityGroupIngressRule",
};

// Arguments that the package has renamed, by their names in Terraform.
const renamed = { "aws_cloudwatch_metric_alarm name": "alarm_name" };

const version = process.argv[2] ?? execFileSync("npm", ["view", "@pulumi/aws", "version"], { encoding: "utf8" }).trim();
const dir = mkdtempSync(join(tmpdir(), "names"));
try {
  const tgz = execFileSync("npm", ["pack", "--silent", `@pulumi/aws@${version}`], { cwd: dir, encoding: "utf8" }).trim();
  execFileSync("tar", ["-xzf", tgz], { cwd: dir });
  const root = join(dir, "package");
  const types = interfaces(readFileSync(join(root, "types/input.d.ts"), "utf8"));
  const lines = [];
  for (const [name, path] of Object.entries(resources)) {
    const own = interfaces(readFileSync(join(root, path + ".d.ts"), "utf8"));
    const args = [...own.keys()].find((k) => k.endsWith("Args"));
    walk(own.get(args), "", (p) => lines.push(`${name} ${renamed[`${name} ${p}`] ?? p}`), types, []);
  }
  console.log(`# @pulumi/aws ${version}\n` + lines.join("\n"));
} finally {
  rmSync(dir, { recursive: true });
}

// interfaces returns the members of each interface of a declaration file, by "namespace.Name".
function interfaces(text) {
  const all = new Map();
  let space = "", members;
  for (const line of text.split("\n")) {
    let m;
    if ((m = line.match(/^export declare namespace (\w+) \{/))) space = m[1] + ".";
    else if ((m = line.match(/^\s*(?:export )?interface (\w+) \{/))) all.set(space + m[1], (members = []));
    else if (/^ {0,4}\}/.test(line)) members = /^\}/.test(line) ? undefined : members;
    else if (members && (m = line.match(/^\s+(\w+)\??: (.*)/))) members.push([m[1], m[2]]);
  }
  return all;
}

// walk reports each member and, below it, those of its type. A type within itself (a statement of a statement) is left out.
function walk(members, prefix, report, types, within) {
  for (const [name, type] of members) {
    const path = prefix + name.replace(/[A-Z]/g, (c) => "_" + c.toLowerCase());
    const list = type.includes(">[]") ? "[]" : "";
    report(path + list);
    const inner = type.match(/inputs\.(\w+\.\w+)/)?.[1];
    if (inner && types.has(inner) && !within.includes(inner)) {
      walk(types.get(inner), path + list + ".", report, types, [...within, inner]);
    }
  }
}
