locals {
  http_port   = 8080 # of the status page, with /readyz
  reaper_port = 8081 # of the reaper's metrics, for the agent of its host only
  mount       = "/var/lib/penstock"
  device      = "/dev/sdf"
  tags        = merge(var.tags, { "penstock:fleet" = var.name })
  account     = data.aws_caller_identity.current.account_id
  partition   = data.aws_partition.current.partition
  region      = data.aws_region.current.region

  # The listeners of each group: those of its classes.
  group_listeners = {
    for name, g in var.groups : name => { for k, l in var.listeners : k => l if contains(g.classes, l.class) }
  }
  listener_group = merge([for name, ls in local.group_listeners : { for k, l in ls : k => name }]...)
}

# Sizes of a server, from the traffic. All are bytes per second.
locals {
  mean  = { for k, g in var.groups : k => g.bytes_per_day / 86400 / g.min } # when the group is smallest
  burst = { for k, g in var.groups : k => local.mean[k] * g.peak_factor }   # until more servers have started
  rated = { for k, g in var.groups : k => max(local.mean[k], local.burst[k] * g.min / g.max) }

  # Each byte is written once, read once to compress it, and as a fifth of its size written again and read once per destination.
  throughput_wanted = { for k, g in var.groups : k => ceil(local.burst[k] * 2.6 / 1048576) }               # MiB/s
  gibibytes_wanted  = { for k, g in var.groups : k => local.mean[k] * 3600 * g.outage_hours / 1073741824 } # raw

  # Limits of gp3: 125 to 2000 MiB/s, 4 IOPS per MiB/s at least, 500 IOPS per GiB at most.
  throughput = { for k, g in var.groups : k => min(2000, max(125, local.throughput_wanted[k])) }
  iops       = { for k, g in var.groups : k => max(3000, 4 * local.throughput[k]) }
  # A fifth more for the compressed copy, and a tenth that spools leave free on their file system.
  gibibytes = { for k, g in var.groups : k => max(20, ceil(local.iops[k] / 500), ceil(local.gibibytes_wanted[k] * 1.2 / 0.9)) }
}
