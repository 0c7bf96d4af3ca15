# A sender with one port is one flow, and a load balancer sends a flow to one server. A relay takes the load balancer's place for such
# senders: it gives each datagram to the next healthy server of the group (mode spray).
#
# Not the mode generations, which stays in front of the load balancer and gives datagrams 24,576 source ports. The load balancer and
# the connection tracking of the security groups would remember that many flows of each client twice (conntrack_allowance_exceeded),
# new servers would wait for their share for up to 150 s, and the load balancer would charge for each byte. The price of spray is that
# servers admit the clients themselves, since a datagram keeps the address of its sender, and that the relay may list the group.
locals {
  # What each relay relays: the class of its listener, at the servers of the group that has the class.
  relay = { for k, r in var.relays : k => merge(var.listeners[r.listener], r, { group = local.listener_group[r.listener] }) }

  relay_config = { for k, r in local.relay : k => {
    listen  = ["${r.private_ip}:${r.port}"]
    targets = "asg:${aws_autoscaling_group.this[r.group].name}:${r.target_port}"
    mode    = "spray"
    # The kernel forwards. Without nft the relay fails and is started again; the other engine would put headers before datagrams that
    # the servers do not expect.
    engine = "nft"
    check  = "http://{host}:${local.http_port}/readyz/${r.class}"
    # A server that drains leaves with the next check. The list only has to name new servers soon, and every call of the API counts.
    refresh = "5s"
    http    = ":${local.http_port}"
  } }

  relay_agent = { for k, r in local.relay : k => {
    logs = {
      force_flush_interval = 15
      metrics_collected = {
        prometheus = {
          log_group_name         = aws_cloudwatch_log_group.metrics.name
          prometheus_config_path = "/etc/penstock/prometheus.yaml"
          emf_processor = {
            metric_declaration_dedup = true
            metric_namespace         = local.namespace
            metric_declaration = [{
              source_labels    = ["job"]
              label_matcher    = "^penstock-relay$"
              dimensions       = [["fleet", "relay"]]
              metric_selectors = [for m in values(local.relay_metric) : "^${m}$"]
            }]
          }
        }
      }
    }
  } }
  relay_scrape = { for k, r in local.relay : k => {
    global = { scrape_interval = "1m", scrape_timeout = "10s" }
    scrape_configs = [{
      job_name       = "penstock-relay"
      static_configs = [{ targets = ["127.0.0.1:${local.http_port}"], labels = { fleet = var.name, relay = k } }]
    }]
  } }

  relay_role = concat([{
    # These have no resources.
    Sid      = "Targets"
    Effect   = "Allow"
    Action   = ["autoscaling:DescribeAutoScalingGroups", "ec2:DescribeInstances"]
    Resource = ["*"]
  }], local.observe, local.package)
}

resource "aws_network_interface" "relay" {
  for_each = var.relays

  description     = "Relay ${each.key} of fleet ${var.name}"
  subnet_id       = each.value.subnet_id
  private_ips     = [each.value.private_ip]
  security_groups = [aws_security_group.relay[0].id]
  # The relay sends with the addresses of its clients.
  source_dest_check = false
  tags              = merge(local.tags, { Name = "${var.name}-${each.key}" })
}

# The interface, and so the address that clients send to, stays if the instance is replaced. It keeps nothing.
resource "aws_instance" "relay" {
  for_each = var.relays

  ami                         = var.software.image_id
  instance_type               = each.value.instance_type
  ebs_optimized               = true
  iam_instance_profile        = aws_iam_instance_profile.relay[0].name
  user_data_replace_on_change = true # files of user data are written at the first boot only
  user_data = join("", ["#cloud-config\n", yamlencode({
    write_files = [
      { path = "/etc/penstock/udprelay.yaml", permissions = "0644", content = yamlencode(local.relay_config[each.key]) },
      # The region of the group that it lists.
      { path = "/etc/penstock/udprelay.env", permissions = "0644", content = "AWS_REGION=${local.region}\n" },
      { path = "/etc/penstock/prometheus.yaml", permissions = "0644", content = yamlencode(local.relay_scrape[each.key]) },
      { path = "/etc/penstock/cloudwatch.json", permissions = "0644", content = jsonencode(local.relay_agent[each.key]) },
    ]
    runcmd = [["sh", "-euc", join("\n", concat(local.install, [
      "systemd-sysusers",
      "systemctl enable --now penstock-udprelay.service",
      "/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl -a fetch-config -m ec2 -s -c file:/etc/penstock/cloudwatch.json",
    ]))]]
  })])

  primary_network_interface {
    network_interface_id = aws_network_interface.relay[each.key].id
  }

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 2
  }

  tags = merge(local.tags, { Name = "${var.name}-${each.key}" })

  depends_on = [aws_iam_role_policy.relay]
}

resource "aws_iam_role" "relay" {
  count = length(var.relays) > 0 ? 1 : 0

  name               = "${var.name}-relay"
  assume_role_policy = local.trust_ec2
  tags               = local.tags
}

resource "aws_iam_role_policy" "relay" {
  count = length(var.relays) > 0 ? 1 : 0

  name   = "spread"
  role   = aws_iam_role.relay[0].name
  policy = jsonencode({ Version = "2012-10-17", Statement = local.relay_role })
}

resource "aws_iam_instance_profile" "relay" {
  count = length(var.relays) > 0 ? 1 : 0

  name = "${var.name}-relay"
  role = aws_iam_role.relay[0].name
  tags = local.tags
}

resource "aws_security_group" "relay" {
  count = length(var.relays) > 0 ? 1 : 0

  name        = "${var.name}-relay"
  description = "Relays of fleet ${var.name}"
  vpc_id      = var.network.vpc_id
  tags        = merge(local.tags, { Name = "${var.name}-relay" })
}

locals {
  relay_clients   = { for p in setproduct(keys(var.relays), var.network.relay_clients) : "${p[0]} ${p[1]}" => merge(local.relay[p[0]], { cidr = p[1] }) }
  relay_operators = length(var.relays) > 0 ? toset(var.network.operators) : toset([])
  # Several relays may send to one group and port.
  relay_targets = { for k, r in local.relay : "${r.group} ${r.target_port}" => { group = r.group, port = r.target_port, class = r.class }... }
  relay_groups  = toset([for r in values(local.relay) : r.group])
  relay_admits  = { for p in setproduct(keys(local.relay_targets), var.network.relay_clients) : "${p[0]} ${p[1]}" => merge(local.relay_targets[p[0]][0], { cidr = p[1] }) }
}

resource "aws_vpc_security_group_ingress_rule" "relay" {
  for_each = local.relay_clients

  security_group_id = aws_security_group.relay[0].id
  description       = "Senders of class ${each.value.class}"
  ip_protocol       = "udp"
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = each.value.cidr
}

resource "aws_vpc_security_group_ingress_rule" "relay_operator" {
  for_each = local.relay_operators

  security_group_id = aws_security_group.relay[0].id
  description       = "Status page"
  ip_protocol       = "tcp"
  from_port         = local.http_port
  to_port           = local.http_port
  cidr_ipv4         = each.key
}

resource "aws_vpc_security_group_egress_rule" "relay" {
  for_each = local.relay_targets

  security_group_id            = aws_security_group.relay[0].id
  description                  = "Servers of class ${each.value[0].class}"
  ip_protocol                  = "udp"
  from_port                    = each.value[0].port
  to_port                      = each.value[0].port
  referenced_security_group_id = aws_security_group.server[each.value[0].group].id
}

resource "aws_vpc_security_group_egress_rule" "relay_health" {
  for_each = local.relay_groups

  security_group_id            = aws_security_group.relay[0].id
  description                  = "Health checks"
  ip_protocol                  = "tcp"
  from_port                    = local.http_port
  to_port                      = local.http_port
  referenced_security_group_id = aws_security_group.server[each.key].id
}

resource "aws_vpc_security_group_egress_rule" "relay_https" {
  count = length(var.relays) > 0 ? 1 : 0

  security_group_id = aws_security_group.relay[0].id
  description       = "The APIs"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

# A datagram reaches a server with the address of its sender: a reference to the relay's security group would not admit it.
resource "aws_vpc_security_group_ingress_rule" "from_relay" {
  for_each = local.relay_admits

  security_group_id = aws_security_group.server[each.value.group].id
  description       = "Class ${each.value.class}, by a relay"
  ip_protocol       = "udp"
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = each.value.cidr
}

resource "aws_vpc_security_group_ingress_rule" "relay_health" {
  for_each = local.relay_groups

  security_group_id            = aws_security_group.server[each.key].id
  description                  = "Health checks of relays"
  ip_protocol                  = "tcp"
  from_port                    = local.http_port
  to_port                      = local.http_port
  referenced_security_group_id = aws_security_group.relay[0].id
}
