locals {
  relay_metric = {
    dropped   = "penstock_relay_dropped_datagrams_total" # that came in and did not go out
    unhealthy = "penstock_relay_all_unhealthy"           # 1 while no server is healthy, so that all are used
    refused   = "penstock_relay_failed_changes_total"    # changes of the servers that the kernel refused
    lists     = "penstock_relay_list_errors_total"       # attempts to list the group that failed
    alive     = "penstock_relay_info"                    # 1 for each process
  }
  # A number that is missing raises an alarm for "alive" only.
  relay_alarm = {
    dropped = {
      metric = local.relay_metric.dropped, stat = "Sum", over = 0, minutes = 1
      about  = "The relay drops datagrams: they are lost. Its /status.json says why."
    }
    unhealthy = {
      metric = local.relay_metric.unhealthy, stat = "Maximum", over = 0, minutes = 2
      about  = "No server of the group is healthy for the relay, which sends to all of them: datagrams may be lost."
    }
    refused = {
      metric = local.relay_metric.refused, stat = "Sum", over = 0, minutes = 2
      about  = "The relay cannot change where the kernel sends datagrams to: it goes on with the servers of before."
    }
    lists = {
      metric = local.relay_metric.lists, stat = "Sum", over = 0, minutes = 10
      about  = "The relay has not been able to list the group for ten minutes: new servers get nothing."
    }
  }
  alarm_of_relay = merge([for r in keys(var.relays) : { for k, a in local.relay_alarm : "${r} ${k}" => merge(a, { relay = r, name = k }) }]...)
}

resource "aws_cloudwatch_metric_alarm" "relay" {
  for_each = local.alarm_of_relay

  alarm_name          = "${var.name}-relay-${each.value.relay}-${each.value.name}"
  alarm_description   = each.value.about
  namespace           = local.namespace
  metric_name         = each.value.metric
  dimensions          = { fleet = var.name, relay = each.value.relay }
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

# Clients send to one relay, and nothing takes its place: the alarm is for two minutes of silence, not for ten.
resource "aws_cloudwatch_metric_alarm" "relay_silent" {
  for_each = var.relays

  alarm_name          = "${var.name}-relay-${each.key}-silent"
  alarm_description   = "The relay has reported nothing for two minutes. What its clients send is lost while it does not run."
  namespace           = local.namespace
  metric_name         = local.relay_metric.alive
  dimensions          = { fleet = var.name, relay = each.key }
  statistic           = "SampleCount"
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = 60
  evaluation_periods  = 2
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarms.actions
  ok_actions          = var.alarms.actions
  tags                = local.tags
}
