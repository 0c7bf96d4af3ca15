resource "aws_security_group" "load_balancer" {
  for_each = var.load_balancers

  name        = "${var.name}-lb-${each.key}"
  description = "Load balancer ${each.key} of fleet ${var.name}"
  vpc_id      = var.network.vpc_id
  tags        = merge(local.tags, { Name = "${var.name}-lb-${each.key}" })
}

locals {
  listener_sources = merge([
    for k, l in var.listeners : { for s in l.sources : "${k} ${s}" => merge(l, { source = s }) }
  ]...)
}

resource "aws_vpc_security_group_ingress_rule" "listener" {
  for_each = local.listener_sources

  security_group_id = aws_security_group.load_balancer[each.value.load_balancer].id
  description       = "Senders of class ${each.value.class}"
  ip_protocol       = lower(each.value.protocol)
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = each.value.source
}

resource "aws_vpc_security_group_egress_rule" "to_servers" {
  for_each = var.listeners

  security_group_id            = aws_security_group.load_balancer[each.value.load_balancer].id
  description                  = "Servers of class ${each.value.class}"
  ip_protocol                  = lower(each.value.protocol)
  from_port                    = each.value.target_port
  to_port                      = each.value.target_port
  referenced_security_group_id = aws_security_group.server[local.listener_group[each.key]].id
}

locals {
  # A load balancer checks the health of each group that it sends to.
  checks = {
    for pair in distinct([for k, l in var.listeners : { lb = l.load_balancer, group = local.listener_group[k] }]) :
    "${pair.lb} ${pair.group}" => pair
  }
}

resource "aws_vpc_security_group_egress_rule" "health" {
  for_each = local.checks

  security_group_id            = aws_security_group.load_balancer[each.value.lb].id
  description                  = "Health checks"
  ip_protocol                  = "tcp"
  from_port                    = local.http_port
  to_port                      = local.http_port
  referenced_security_group_id = aws_security_group.server[each.value.group].id
}

resource "aws_security_group" "server" {
  for_each = var.groups

  name        = "${var.name}-${each.key}"
  description = "Servers of group ${each.key} of fleet ${var.name}"
  vpc_id      = var.network.vpc_id
  tags        = merge(local.tags, { Name = "${var.name}-${each.key}" })
}

# Servers receive from the load balancers only. The reference also admits the senders whose addresses the load balancer keeps.
resource "aws_vpc_security_group_ingress_rule" "from_load_balancer" {
  for_each = var.listeners

  security_group_id            = aws_security_group.server[local.listener_group[each.key]].id
  description                  = "Class ${each.value.class}"
  ip_protocol                  = lower(each.value.protocol)
  from_port                    = each.value.target_port
  to_port                      = each.value.target_port
  referenced_security_group_id = aws_security_group.load_balancer[each.value.load_balancer].id
}

resource "aws_vpc_security_group_ingress_rule" "health" {
  for_each = local.checks

  security_group_id            = aws_security_group.server[each.value.group].id
  description                  = "Health checks"
  ip_protocol                  = "tcp"
  from_port                    = local.http_port
  to_port                      = local.http_port
  referenced_security_group_id = aws_security_group.load_balancer[each.value.lb].id
}

resource "aws_vpc_security_group_ingress_rule" "operator" {
  for_each = { for p in setproduct(keys(var.groups), var.network.operators) : "${p[0]} ${p[1]}" => { group = p[0], cidr = p[1] } }

  security_group_id = aws_security_group.server[each.value.group].id
  description       = "Status page"
  ip_protocol       = "tcp"
  from_port         = local.http_port
  to_port           = local.http_port
  cidr_ipv4         = each.value.cidr
}

resource "aws_vpc_security_group_egress_rule" "https" {
  for_each = var.groups

  security_group_id = aws_security_group.server[each.key].id
  description       = "S3 and the APIs"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "sftp" {
  for_each = {
    for p in setproduct(keys(var.groups), try(var.delivery.sftp.cidrs, [])) : "${p[0]} ${p[1]}" => { group = p[0], cidr = p[1] }
  }

  security_group_id = aws_security_group.server[each.value.group].id
  description       = "SFTP server of the IDC"
  ip_protocol       = "tcp"
  from_port         = var.delivery.sftp.port
  to_port           = var.delivery.sftp.port
  cidr_ipv4         = each.value.cidr
}
