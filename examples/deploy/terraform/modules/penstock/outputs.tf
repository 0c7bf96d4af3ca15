output "addresses" {
  description = "Where to send: load balancer, port and protocol of each listener."
  value = {
    for k, l in var.listeners : k => { host = aws_lb.this[l.load_balancer].dns_name, port = l.port, protocol = l.protocol, class = l.class }
  }
}

output "bucket" {
  description = "Bucket with the delivered objects."
  value       = aws_s3_bucket.this.id
}

output "groups" {
  description = "Auto Scaling groups, and the size of each server's volume."
  value = {
    for k, g in var.groups : k => {
      name   = aws_autoscaling_group.this[k].name
      volume = { gibibytes = local.gibibytes[k], mebibytes_per_second = local.throughput[k], iops = local.iops[k] }
    }
  }
}

output "roles" {
  description = "ARNs of the roles for hosts beside the servers."
  value       = { adopter = aws_iam_role.adopter.arn, auditor = aws_iam_role.auditor.arn, reaper = aws_iam_role.reaper.arn }
}
