# What a server writes at its first boot. User data can be read by everyone who may describe the instance, so it names secrets and
# never holds one. The files that it relies on come with the package: those of ../../../systemd.
locals {
  secrets_dir = "/run/penstock/secrets"

  destinations = merge(
    { s3 = "s3://${aws_s3_bucket.this.id}/${var.delivery.prefix}?region=${local.region}" },
    var.delivery.sftp == null ? {} : { idc = {
      url         = try(var.delivery.sftp.url, "")
      key         = "${local.secrets_dir}/idc_key"
      known_hosts = "${local.secrets_dir}/idc_known_hosts"
    } },
  )

  collector = { for k, g in var.groups : k => {
    spool         = "${local.mount}/spool"
    http          = ":${local.http_port}"
    lifecycle     = "asg"
    asg-hook      = "drain"
    drain-timeout = g.drain_timeout
    # Scale-in takes an instance without a backlog first.
    protect-above = "1GiB"
    # The reaper mounts volumes there, read-only.
    adopt = ["${local.mount}/orphans"]
    dest  = local.destinations
    classes = { for c in g.classes : c => {
      listen = [
        for l in values(local.group_listeners[k]) : "${coalesce(l.scheme, lower(l.protocol))}://:${l.target_port}${l.query}" if l.class == c
      ]
    } }
  } }

  # What the reaper audits: all that the collector delivers to.
  reaper = yamlencode({
    fleet = var.name
    apply = true
    http  = "127.0.0.1:${local.reaper_port}"
    at = concat([local.destinations.s3], var.delivery.sftp == null ? [] : [
      "${try(var.delivery.sftp.url, "")}?key=${local.secrets_dir}/idc_key&known_hosts=${local.secrets_dir}/idc_known_hosts",
    ])
  })

  install = var.software.package == null ? [] : [
    "aws s3 cp --only-show-errors 's3://${var.software.package.bucket}/${var.software.package.key}' /run/penstock.package",
    "echo '${var.software.package.sha256}  /run/penstock.package' | sha256sum --check --quiet",
    "if command -v dpkg; then dpkg --install --force-confold /run/penstock.package; else rpm --install /run/penstock.package; fi",
  ]

  user_data = { for k, g in var.groups : k => join("", ["#cloud-config\n", yamlencode({
    write_files = concat([
      { path = "/etc/penstock/collector.yaml", permissions = "0644", content = yamlencode(local.collector[k]) },
      {
        path        = "/etc/penstock/secrets"
        permissions = "0644"
        content     = join("", [for f, arn in var.secrets : "${f} ${arn}\n"])
      },
      { path = "/etc/penstock/prometheus.yaml", permissions = "0644", content = yamlencode(local.scrape[k]) },
      { path = "/etc/penstock/cloudwatch.json", permissions = "0644", content = jsonencode(local.agent[k]) },
    ], [for f in [local.reaper] : { path = "/etc/penstock/reaper.yaml", permissions = "0644", content = f } if var.reaper])
    runcmd = [["sh", "-euc", join("\n", concat(local.install, [
      "systemd-sysusers",
      "udevadm control --reload",
      "udevadm trigger --settle --subsystem-match=block",
      "sysctl --quiet --load=/usr/lib/sysctl.d/60-penstock.conf",
      # At every boot these units prepare the volume if it is new, mount it, and fetch the secrets; then the collector starts.
      "systemctl enable ${join(" ", [for u in ["penstock-volume.service", "var-lib-penstock.mount", "penstock-secrets.service", "penstock-reaper.service"] : "/usr/lib/penstock/aws/${u}"])}",
      "systemctl enable --now penstock.service",
      "systemctl start --no-block penstock-reaper.service", # it ends at once without /etc/penstock/reaper.yaml
      "/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl -a fetch-config -m ec2 -s -c file:/etc/penstock/cloudwatch.json",
    ]))]]
  })]) }
}
