# Production: 5 TB a day, most of it UDP, from VPN and internet, at 5 to 10 servers; class "apart" has servers of its own.
region = "eu-central-1"

fleet = {
  name = "penstock"

  network = {
    vpc_id           = "vpc-0123456789abcdef0"
    server_subnets   = ["subnet-0aaaaaaaaaaaaaaa1", "subnet-0aaaaaaaaaaaaaaa2", "subnet-0aaaaaaaaaaaaaaa3"]
    public_subnets   = ["subnet-0ccccccccccccccc1", "subnet-0ccccccccccccccc2", "subnet-0ccccccccccccccc3"]
    internal_subnets = ["subnet-0bbbbbbbbbbbbbbb1", "subnet-0bbbbbbbbbbbbbbb2", "subnet-0bbbbbbbbbbbbbbb3"]
    operators        = ["10.0.0.0/16"]
    relay_clients    = ["10.64.0.0/10"]
  }

  load_balancers = {
    vpn-udp = { internal = true }
    vpn-tcp = { internal = true }
    web-udp = { internal = false }
    web-tcp = { internal = false }
    apart   = { internal = true }
  }

  listeners = {
    vpn-udp = { load_balancer = "vpn-udp", class = "vpn", protocol = "UDP", port = 514, target_port = 5140, sources = ["10.0.0.0/8"] }
    vpn-tcp = { load_balancer = "vpn-tcp", class = "vpn", protocol = "TCP", port = 514, target_port = 5140, query = "?framing=auto", sources = ["10.0.0.0/8"] }
    web-udp = { load_balancer = "web-udp", class = "web", protocol = "UDP", port = 514, target_port = 5141, sources = ["198.51.100.0/24", "203.0.113.0/24"] }
    web-tcp = { load_balancer = "web-tcp", class = "web", protocol = "TCP", port = 514, target_port = 5141, query = "?framing=auto", sources = ["198.51.100.0/24", "203.0.113.0/24"] }
    apart   = { load_balancer = "apart", class = "apart", protocol = "UDP", port = 514, target_port = 5142, sources = ["10.0.0.0/8"] }
  }

  groups = {
    main  = { classes = ["vpn", "web"], instance_types = ["c7g.2xlarge", "c6g.2xlarge"], min = 5, max = 10, bytes_per_day = 5e12 }
    apart = { classes = ["apart"], instance_types = ["c7g.xlarge", "c6g.xlarge"], min = 2, max = 4, bytes_per_day = 500e9 }
  }

  software = {
    image_id = "ami-0123456789abcdef0"
    package  = { bucket = "example-artifacts", key = "penstock/penstock_arm64.deb", sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
  }

  delivery = {
    kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
    sftp        = { url = "sftp://ingest@idc.example:22/srv/ingest", cidrs = ["192.0.2.10/32"] }
  }

  secrets = {
    idc_key         = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:penstock/idc-key-AbCdEf"
    idc_known_hosts = "arn:aws:ssm:eu-central-1:123456789012:parameter/penstock/idc-known-hosts"
  }

  alarms = { actions = ["arn:aws:sns:eu-central-1:123456789012:penstock"] }
  reaper = true

  # Only if few VPN clients send most of the datagrams: { a = { subnet_id = …, private_ip = …, listener = "vpn-udp" } }.
  relays = {}

  deletion_protection = true
  tags                = { environment = "prod" }
}
