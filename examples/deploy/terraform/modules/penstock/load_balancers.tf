resource "aws_lb" "this" {
  for_each = var.load_balancers

  name               = "${var.name}-${each.key}"
  load_balancer_type = "network"
  internal           = each.value.internal
  subnets            = each.value.internal ? var.network.internal_subnets : var.network.public_subnets
  # A load balancer that is created without a security group can never get one.
  security_groups = [aws_security_group.load_balancer[each.key].id]
  # Otherwise each zone's senders have the servers of that zone only, and with five servers some have one.
  enable_cross_zone_load_balancing = true
  enable_deletion_protection       = var.deletion_protection

  enforce_security_group_inbound_rules_on_private_link_traffic = "on"

  tags = local.tags
}

resource "aws_lb_listener" "this" {
  for_each = var.listeners

  load_balancer_arn = aws_lb.this[each.value.load_balancer].arn
  protocol          = each.value.protocol
  port              = each.value.port
  # A sender that has been silent for longer loses what it sends next, so this is the most that there is. UDP has 120 s always.
  tcp_idle_timeout_seconds = each.value.protocol == "TCP" ? 6000 : null

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this[each.key].arn
  }

  tags = local.tags
}

resource "aws_lb_target_group" "this" {
  for_each = var.listeners

  name        = "${var.name}-${each.key}"
  vpc_id      = var.network.vpc_id
  target_type = "instance"
  protocol    = each.value.protocol
  port        = each.value.target_port

  # Records carry the address of their sender. UDP groups cannot turn this off.
  preserve_client_ip = "true"
  proxy_protocol_v2  = false

  # A server that is deregistered keeps its flows for this time. Then UDP flows must move on: a sender that never pauses would
  # otherwise send to the server until it is gone. The collector waits for this (-quiesce) before it closes its sockets.
  # TCP connections are ended by the collector, exactly after the last record that it has kept.
  deregistration_delay   = 120
  connection_termination = each.value.protocol == "UDP"

  # A server that answers 503 for a moment keeps its TCP connections. UDP groups do not have the attribute.
  dynamic "target_health_state" {
    for_each = each.value.protocol == "TCP" ? [true] : []
    content {
      enable_unhealthy_connection_termination = false
    }
  }

  # By sender address, all traffic of a NAT gateway or a relay would reach one server.
  stickiness {
    type    = "source_ip"
    enabled = false
  }

  health_check {
    protocol            = "HTTP"
    port                = tostring(local.http_port)
    path                = "/readyz/${each.value.class}"
    matcher             = "200"
    interval            = 10
    timeout             = 6
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }

  tags = merge(local.tags, { "penstock:class" = each.value.class })
}
