# Development: the same code, one load balancer, two small servers. Nothing is kept after a drain that could not finish.
region = "eu-central-1"

fleet = {
  name = "penstock-dev"

  network = {
    vpc_id           = "vpc-0123456789abcdef0"
    server_subnets   = ["subnet-0aaaaaaaaaaaaaaa1", "subnet-0aaaaaaaaaaaaaaa2"]
    public_subnets   = []
    internal_subnets = ["subnet-0bbbbbbbbbbbbbbb1", "subnet-0bbbbbbbbbbbbbbb2"]
    operators        = ["10.0.0.0/16"]
  }

  load_balancers = {
    all = { internal = true }
  }

  listeners = {
    vpn-udp = { load_balancer = "all", class = "vpn", protocol = "UDP", port = 514, target_port = 5140, sources = ["10.0.0.0/8"] }
    vpn-tcp = { load_balancer = "all", class = "vpn", protocol = "TCP", port = 514, target_port = 5140, query = "?framing=auto", sources = ["10.0.0.0/8"] }
    web-udp = { load_balancer = "all", class = "web", protocol = "UDP", port = 515, target_port = 5141, sources = ["10.0.0.0/8"] }
    web-tcp = { load_balancer = "all", class = "web", protocol = "TCP", port = 515, target_port = 5141, query = "?framing=auto", sources = ["10.0.0.0/8"] }
    apart   = { load_balancer = "all", class = "apart", protocol = "UDP", port = 516, target_port = 5142, sources = ["10.0.0.0/8"] }
  }

  groups = {
    main  = { classes = ["vpn", "web"], instance_types = ["c7g.medium", "c6g.medium"], min = 1, max = 2, bytes_per_day = 20e9, outage_hours = 12, retain = false, spot = true }
    apart = { classes = ["apart"], instance_types = ["c7g.medium", "c6g.medium"], min = 1, max = 1, bytes_per_day = 2e9, outage_hours = 12, retain = false, spot = true }
  }

  software = { image_id = "ami-0123456789abcdef0" }

  delivery = { noncurrent_days = 7 }
  secrets  = {}
  alarms   = {}
  reaper   = true
  relays   = {}

  deletion_protection = false
  tags                = { environment = "dev" }
}
