resource "aws_launch_template" "server" {
  for_each = var.groups

  name                   = "${var.name}-${each.key}"
  description            = "Servers of group ${each.key} of fleet ${var.name}"
  image_id               = var.software.image_id
  update_default_version = true
  ebs_optimized          = "true"
  # The collector ends by itself; an instance that shuts down must not take its volumes with it.
  instance_initiated_shutdown_behavior = "stop"
  vpc_security_group_ids               = [aws_security_group.server[each.key].id]
  user_data                            = base64gzip(local.user_data[each.key])

  iam_instance_profile {
    arn = aws_iam_instance_profile.server[each.key].arn
  }

  # The spools. The volume outlives its instance, and is deleted only after a proof that everything on it is delivered.
  block_device_mappings {
    device_name = local.device
    ebs {
      volume_type           = "gp3"
      volume_size           = local.gibibytes[each.key]
      throughput            = local.throughput[each.key]
      iops                  = local.iops[each.key]
      delete_on_termination = "false"
      encrypted             = "true"
      kms_key_id            = var.delivery.kms_key_arn
    }
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 2 # a container behind a bridge is one hop further
    instance_metadata_tags      = "enabled"
  }

  # Metrics once a minute: the scaling policies count bytes per minute.
  monitoring {
    enabled = true
  }

  dynamic "tag_specifications" {
    for_each = toset(["instance", "volume", "network-interface"])
    content {
      resource_type = tag_specifications.value
      tags          = merge(local.tags, { Name = "${var.name}-${each.key}", "penstock:group" = each.key })
    }
  }

  tags = local.tags

  lifecycle {
    precondition {
      condition     = local.throughput_wanted[each.key] <= 2000 && local.gibibytes[each.key] <= 65536
      error_message = "One gp3 volume cannot take this traffic: raise min, or lower outage_hours."
    }
  }
}

resource "aws_autoscaling_group" "this" {
  for_each = var.groups

  name                = "${var.name}-${each.key}"
  min_size            = each.value.min
  max_size            = each.value.max
  vpc_zone_identifier = var.network.server_subnets
  target_group_arns   = [for k in keys(local.group_listeners[each.key]) : aws_lb_target_group.this[k].arn]

  # A server whose page does not answer may still hold records: load balancers avoid it, but nothing terminates it.
  health_check_type         = "EC2"
  health_check_grace_period = 300
  default_instance_warmup   = 300
  termination_policies      = ["OldestLaunchTemplate", "Default"]
  # Forced deletion would skip the drain.
  force_delete              = false
  wait_for_capacity_timeout = "15m"
  metrics_granularity       = "1Minute"
  enabled_metrics = [
    "GroupDesiredCapacity", "GroupInServiceInstances", "GroupMaxSize", "GroupPendingInstances", "GroupTerminatingInstances",
  ]

  mixed_instances_policy {
    instances_distribution {
      on_demand_base_capacity                  = 0
      on_demand_percentage_above_base_capacity = each.value.spot ? 0 : 100
      spot_allocation_strategy                 = "price-capacity-optimized"
    }
    launch_template {
      launch_template_specification {
        launch_template_id = aws_launch_template.server[each.key].id
        version            = aws_launch_template.server[each.key].latest_version
      }
      dynamic "override" {
        for_each = each.value.instance_types
        content {
          instance_type = override.value
        }
      }
    }
  }

  # A hook that is a resource of its own is missing while the first instances start. ABANDON is the answer if nobody answers.
  initial_lifecycle_hook {
    name                 = "drain"
    lifecycle_transition = "autoscaling:EC2_INSTANCE_TERMINATING"
    default_result       = "ABANDON"
    heartbeat_timeout    = each.value.heartbeat
  }

  # Without retain, ABANDON terminates like CONTINUE.
  instance_lifecycle_policy {
    retention_triggers {
      terminate_hook_abandon = each.value.retain ? "retain" : "terminate"
    }
  }

  # A server is replaced after its successor has started.
  instance_maintenance_policy {
    min_healthy_percentage = 100
    max_healthy_percentage = 110
  }

  instance_refresh {
    strategy = "Rolling"
    preferences {
      min_healthy_percentage = 100
      max_healthy_percentage = 110
      instance_warmup        = "300"
      auto_rollback          = true
    }
  }

  dynamic "tag" {
    for_each = merge(local.tags, { Name = "${var.name}-${each.key}", "penstock:group" = each.key })
    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = true
    }
  }

  lifecycle {
    # The scaling policies decide.
    ignore_changes = [desired_capacity]
  }

  depends_on = [aws_iam_role_policy_attachment.server]
}
