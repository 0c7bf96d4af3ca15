locals {
  # Every reaper sees the same volumes of its zone.
  reaper_alarm = {
    kept = {
      metric = local.reaper_metric.kept, stat = "Maximum", over = 0, minutes = 10
      about  = "A volume that an instance has left is kept, since it is not proven to be delivered. Its tag penstock:reason says why; do not delete it."
    }
    orphaned = {
      metric = local.reaper_metric.oldest, stat = "Maximum", over = 86400, minutes = 10
      about  = "A volume has been without its instance for a day, and is neither delivered nor deleted."
    }
    reaper-failing = {
      metric = local.reaper_metric.success, stat = "Maximum", over = 3600, minutes = 5
      about  = "A reaper has had no pass without an error for an hour. Its log says what fails; nothing is lost by it."
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "reaper_silent" {
  for_each = var.reaper ? var.groups : {}

  alarm_name          = "${var.name}-${each.key}-reaper-silent"
  alarm_description   = "No reaper of the group has reported a number for ten minutes: volumes that instances leave stay as they are."
  namespace           = local.namespace
  metric_name         = local.reaper_metric.alive
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
