locals {
  # Of each group. A number that is missing never raises an alarm here; that servers are missing has alarms of its own.
  alarm = {
    pending = {
      metric = local.metric.pending_seconds, stat = "Maximum", over = var.alarms.pending_seconds, minutes = 5
      about  = "A destination lacks records of more than ${var.alarms.pending_seconds} s. Nothing is lost; volumes fill up."
    }
    lost = {
      metric = local.metric.lost, stat = "Sum", over = 0, minutes = 1
      about  = "Records were lost before a spool had them. The status page and the log name the cause."
    }
    damaged = {
      metric = local.metric.damaged, stat = "Maximum", over = 0, minutes = 1
      about  = "A disk does not return records that were kept. The damaged file must be kept until somebody has looked at it."
    }
    allowances = {
      metric = local.metric.allowances, stat = "Sum", over = 0, minutes = 5
      about  = "EC2 queues or drops packets before a server sees them: the instance type is too small, or one more server is needed."
    }
    retained = {
      metric = local.metric.retained, stat = "Maximum", over = 0, minutes = 1
      about  = "An instance was kept because its drain could not finish. It delivers on its own; terminate it only when it says so."
    }
  }
  alarms         = merge(local.alarm, var.reaper ? local.reaper_alarm : {})
  alarm_of_group = merge([for g in keys(var.groups) : { for k, a in local.alarms : "${g} ${k}" => merge(a, { group = g, name = k }) }]...)
}

resource "aws_cloudwatch_metric_alarm" "collector" {
  for_each = local.alarm_of_group

  alarm_name          = "${var.name}-${each.value.group}-${each.value.name}"
  alarm_description   = each.value.about
  namespace           = local.namespace
  metric_name         = each.value.metric
  dimensions          = { fleet = var.name, group = each.value.group }
  statistic           = each.value.stat
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.over
  period              = 60
  evaluation_periods  = each.value.minutes
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarms.actions
  ok_actions          = var.alarms.actions
  tags                = local.tags
}

resource "aws_cloudwatch_metric_alarm" "full" {
  for_each = var.groups

  alarm_name          = "${var.name}-${each.key}-full"
  alarm_description   = "A spool is full within four hours if the last minutes go on as they were."
  namespace           = local.namespace
  metric_name         = local.metric.until_full
  dimensions          = { fleet = var.name, group = each.key }
  statistic           = "Minimum"
  comparison_operator = "LessThanThreshold"
  threshold           = 4 * 3600
  period              = 60
  evaluation_periods  = 10
  treat_missing_data  = "notBreaching" # a spool that does not grow has no such number
  alarm_actions       = var.alarms.actions
  ok_actions          = var.alarms.actions
  tags                = local.tags
}

resource "aws_cloudwatch_metric_alarm" "silent" {
  for_each = var.groups

  alarm_name          = "${var.name}-${each.key}-silent"
  alarm_description   = "No server of the group has reported a number for ten minutes: the agent or the collectors do not run."
  namespace           = local.namespace
  metric_name         = local.metric.alive
  dimensions          = { fleet = var.name, group = each.key }
  statistic           = "SampleCount"
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = 60
  evaluation_periods  = 10
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarms.actions
  ok_actions          = var.alarms.actions
  tags                = local.tags
}

resource "aws_cloudwatch_metric_alarm" "unhealthy" {
  for_each = var.listeners

  alarm_name        = "${var.name}-${each.key}-unhealthy"
  alarm_description = "A server has been unable to take records of class ${each.value.class} for five minutes. Its /readyz says why."
  namespace         = "AWS/NetworkELB"
  metric_name       = "UnHealthyHostCount"
  dimensions = {
    LoadBalancer = aws_lb.this[each.value.load_balancer].arn_suffix
    TargetGroup  = aws_lb_target_group.this[each.key].arn_suffix
  }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 60
  evaluation_periods  = 5
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarms.actions
  ok_actions          = var.alarms.actions
  tags                = local.tags
}

# A drain, or an instance that waits for its drain, for six hours: half of the default drain_timeout (12 h).
resource "aws_cloudwatch_metric_alarm" "draining" {
  for_each = var.groups

  alarm_name          = "${var.name}-${each.key}-draining"
  alarm_description   = "An instance has been terminating for six hours. Its status page shows what it still owes, and to whom."
  namespace           = "AWS/AutoScaling"
  metric_name         = "GroupTerminatingInstances"
  dimensions          = { AutoScalingGroupName = "${var.name}-${each.key}" }
  statistic           = "Minimum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 3600
  evaluation_periods  = 6
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarms.actions
  ok_actions          = var.alarms.actions
  tags                = local.tags
}
