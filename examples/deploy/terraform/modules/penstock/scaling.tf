locals {
  # A server has this many bytes per minute at seven tenths of its rate.
  network_in_target = { for k, g in var.groups : k => floor(local.rated[k] * 60 * 0.7) }
}

# More servers on received bytes. Network load balancers have no metric for target tracking.
resource "aws_autoscaling_policy" "out_network" {
  for_each = var.groups

  name                   = "out-network"
  autoscaling_group_name = aws_autoscaling_group.this[each.key].name
  policy_type            = "TargetTrackingScaling"

  target_tracking_configuration {
    target_value     = local.network_in_target[each.key]
    disable_scale_in = true
    predefined_metric_specification {
      predefined_metric_type = "ASGAverageNetworkIn"
    }
  }
}

resource "aws_autoscaling_policy" "out_cpu" {
  for_each = var.groups

  name                   = "out-cpu"
  autoscaling_group_name = aws_autoscaling_group.this[each.key].name
  policy_type            = "TargetTrackingScaling"

  target_tracking_configuration {
    target_value     = 60
    disable_scale_in = true
    predefined_metric_specification {
      predefined_metric_type = "ASGAverageCPUUtilization"
    }
  }
}

# Fewer servers, one at a time, only while no server has a backlog: a scale-in drains, and a drain takes as long as the backlog.
resource "aws_autoscaling_policy" "in" {
  for_each = var.groups

  name                      = "in-backlog"
  autoscaling_group_name    = aws_autoscaling_group.this[each.key].name
  policy_type               = "StepScaling"
  adjustment_type           = "ChangeInCapacity"
  metric_aggregation_type   = "Maximum"
  estimated_instance_warmup = 300

  step_adjustment {
    metric_interval_lower_bound = "0"
    scaling_adjustment          = -1
  }
}

resource "aws_cloudwatch_metric_alarm" "in" {
  for_each = var.groups

  alarm_name          = "${var.name}-${each.key}-scale-in"
  alarm_description   = "Group ${each.key} has no backlog and half of the traffic that it could take: one server drains."
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  evaluation_periods  = 15
  datapoints_to_alarm = 15
  # Without a number nobody knows whether there is a backlog.
  treat_missing_data = "notBreaching"
  alarm_actions      = [aws_autoscaling_policy.in[each.key].arn]

  metric_query {
    id          = "quiet"
    label       = "No backlog and little traffic"
    return_data = true
    expression  = "IF(backlog < ${var.alarms.pending_seconds / 3} AND traffic < ${floor(local.network_in_target[each.key] / 2)}, 1, 0)"
  }
  metric_query {
    id = "backlog"
    metric {
      namespace   = local.namespace
      metric_name = local.metric.pending_seconds
      dimensions  = { fleet = var.name, group = each.key }
      period      = 60
      stat        = "Maximum"
    }
  }
  metric_query {
    id = "traffic"
    metric {
      namespace   = "AWS/EC2"
      metric_name = "NetworkIn"
      dimensions  = { AutoScalingGroupName = "${var.name}-${each.key}" }
      period      = 60
      stat        = "Average"
    }
  }
}
