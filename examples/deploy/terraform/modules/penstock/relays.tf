# All datagrams of one flow reach one server, and a sender with one port is one flow. A relay gives the datagrams of its clients
# many source ports, in generations: a port rests for more than the 120 s after which a load balancer forgets it, so that its next
# flow may reach a server that has joined since. It keeps the client's address, and fragments.
resource "aws_security_group" "relay" {
  count = length(var.relays) > 0 ? 1 : 0

  name        = "${var.name}-relay"
  description = "Relays of fleet ${var.name}"
  vpc_id      = var.network.vpc_id
  tags        = merge(local.tags, { Name = "${var.name}-relay" })
}

resource "aws_vpc_security_group_ingress_rule" "relay" {
  for_each = {
    for p in setproduct(keys(var.relays), var.network.relay_clients) : "${p[0]} ${p[1]}" => { relay = p[0], cidr = p[1] }
  }

  security_group_id = aws_security_group.relay[0].id
  description       = "Clients of ${each.value.relay}"
  ip_protocol       = "udp"
  from_port         = var.listeners[var.relays[each.value.relay].listener].port
  to_port           = var.listeners[var.relays[each.value.relay].listener].port
  cidr_ipv4         = each.value.cidr
}

resource "aws_vpc_security_group_egress_rule" "relay" {
  count = length(var.relays) > 0 ? 1 : 0

  security_group_id = aws_security_group.relay[0].id
  description       = "Load balancers"
  ip_protocol       = "udp"
  from_port         = 1
  to_port           = 65535
  cidr_ipv4         = "0.0.0.0/0"
}

data "aws_network_interface" "balancer" {
  for_each = var.relays

  filter {
    name   = "description"
    values = ["ELB ${aws_lb.this[var.listeners[each.value.listener].load_balancer].arn_suffix}"]
  }
  filter {
    name   = "subnet-id"
    values = [each.value.subnet_id]
  }
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

resource "aws_instance" "relay" {
  for_each = var.relays

  ami           = var.software.image_id
  instance_type = each.value.instance_type
  ebs_optimized = true
  user_data = join("", ["#cloud-config\n", yamlencode({
    write_files = [
      {
        path        = "/usr/local/sbin/penstock-relay"
        permissions = "0755"
        content = templatefile("${path.module}/relay.sh.tftpl", {
          relay    = each.value.private_ip
          balancer = data.aws_network_interface.balancer[each.key].private_ip
          port     = var.listeners[each.value.listener].port
        })
      },
      {
        path        = "/etc/systemd/system/penstock-relay.service"
        permissions = "0644"
        content     = "[Service]\nExecStart=/usr/local/sbin/penstock-relay\nRestart=always\n\n[Install]\nWantedBy=multi-user.target\n"
      },
      {
        path        = "/etc/sysctl.d/60-penstock-relay.conf"
        permissions = "0644"
        content     = "net.ipv4.ip_forward = 1\n"
      },
    ]
    runcmd = [["sh", "-euc", "sysctl --system\nsystemctl daemon-reload\nsystemctl enable --now penstock-relay.service"]]
  })])

  primary_network_interface {
    network_interface_id = aws_network_interface.relay[each.key].id
  }

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 2
  }

  tags = merge(local.tags, { Name = "${var.name}-${each.key}" })
}
