variable "name" {
  description = "Name of the fleet: prefix of every name, and value of the tag penstock:fleet."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "Use 2 to 20 small letters, digits and hyphens: names of load balancers have at most 32 characters."
  }
}

variable "network" {
  description = "Where the fleet runs. Servers need one private subnet per availability zone, with a way to S3 and to the APIs."
  type = object({
    vpc_id           = string
    server_subnets   = list(string)
    public_subnets   = list(string)               # of internet-facing load balancers
    internal_subnets = list(string)               # of internal load balancers, which VPN clients reach
    operators        = list(string)               # CIDR blocks that may read the status page
    relay_clients    = optional(list(string), []) # CIDR blocks that send to relays, which servers then admit too
  })
  validation {
    condition     = length(var.network.server_subnets) >= 2
    error_message = "Give server_subnets in at least two availability zones: one zone may fail as a whole."
  }
}

variable "load_balancers" {
  description = "Network load balancers by name."
  type        = map(object({ internal = bool }))
}

variable "listeners" {
  description = "Ports of the load balancers. Each has a target group of its own, and protocols are never mixed."
  type = map(object({
    load_balancer = string
    class         = string
    protocol      = string               # UDP or TCP
    port          = number               # of the load balancer
    target_port   = number               # of the servers
    scheme        = optional(string)     # of the collector's -listen; default udp or tcp
    query         = optional(string, "") # its parameters, such as "?framing=auto"
    sources       = list(string)         # CIDR blocks that may send
  }))
  validation {
    condition     = alltrue([for l in var.listeners : contains(["UDP", "TCP"], l.protocol)])
    error_message = "The protocol of a listener is UDP or TCP. TCP_UDP would give both one target group and one setting."
  }
  validation {
    condition     = alltrue([for l in var.listeners : l.target_port >= 1024 && l.target_port != 8080])
    error_message = "Servers receive at ports from 1024, which need no privilege, and 8080 is the status page."
  }
  validation {
    condition     = alltrue([for l in var.listeners : contains(flatten([for g in var.groups : g.classes]), l.class)])
    error_message = "No group of servers has the class of a listener."
  }
  validation {
    condition     = alltrue([for l in var.listeners : contains(keys(var.load_balancers), l.load_balancer)])
    error_message = "A listener names a load balancer that is not among load_balancers."
  }
}

variable "groups" {
  description = "Groups of servers by name. Each class belongs to exactly one: a class that must be isolated has a group of its own."
  type = map(object({
    classes        = list(string)
    instance_types = list(string)
    min            = number
    max            = number
    bytes_per_day  = number               # that all servers of the group receive together
    peak_factor    = optional(number, 3)  # the busiest minute as a multiple of the mean
    outage_hours   = optional(number, 24) # for which the volumes hold what no destination takes
    heartbeat      = optional(number, 1800)
    drain_timeout  = optional(string, "12h")
    retain         = optional(bool, true) # keep an instance whose drain could not finish
    spot           = optional(bool, false)
  }))
  validation {
    condition     = alltrue([for g in var.groups : g.min >= 1 && g.min <= g.max])
    error_message = "A group has at least one server, and max is not below min."
  }
  validation {
    condition     = length(flatten([for g in var.groups : g.classes])) == length(distinct(flatten([for g in var.groups : g.classes])))
    error_message = "A class belongs to exactly one group."
  }
  validation {
    condition     = alltrue([for g in var.groups : g.heartbeat >= 1200 && g.heartbeat <= 7200])
    error_message = "A heartbeat is 1200 to 7200 s: twice the drain's stall time-out at least, and not more than EC2 Auto Scaling takes."
  }
}

variable "software" {
  description = "What runs on the servers. The image has systemd, cloud-init, nvme-cli, the AWS CLI and the CloudWatch agent; for relays also nftables."
  type = object({
    image_id = string
    # The package, if the image does not contain it: its place in S3 and its SHA-256.
    package = optional(object({ bucket = string, key = string, sha256 = string }))
  })
}

variable "delivery" {
  description = "Destinations: a bucket, which this module makes, and an SFTP server in the datacenter (IDC)."
  type = object({
    prefix      = optional(string, "ingest")
    kms_key_arn = optional(string) # encrypts the bucket and the volumes; default: keys that AWS manages
    # Days after which older versions of an object are removed. Objects themselves are never removed.
    noncurrent_days = optional(number, 365)
    sftp = optional(object({
      url   = string       # sftp://USER@HOST:PORT/DIR; key and known_hosts are added
      cidrs = list(string) # of the host
      port  = optional(number, 22)
    }))
  })
}

variable "secrets" {
  description = "Files in /run/penstock/secrets, and the ARN of the Secrets Manager secret or SSM parameter with the content."
  type        = map(string)
  default     = {}
  validation {
    condition     = alltrue([for f, a in var.secrets : can(regex("^[a-z0-9_.-]+$", f)) && can(regex("^arn:[a-z-]+:(secretsmanager|ssm):", a))])
    error_message = "Give names of files, and ARNs of secretsmanager or ssm. Never a secret itself: it would be in the state and in user data."
  }
}

variable "alarms" {
  description = "Who is told (ARNs of SNS topics), and from which values on."
  type = object({
    actions         = optional(list(string), [])
    pending_seconds = optional(number, 900) # age of the oldest record that a destination lacks
  })
  default = {}
}

variable "reaper" {
  description = "Whether servers may attach, and after a proof delete, volumes that instances of this fleet have left."
  type        = bool
  default     = true
}

variable "relays" {
  description = "Instances that give each datagram of few VPN clients to the next healthy server, by name. Clients send to their addresses."
  type = map(object({
    subnet_id     = string
    private_ip    = string
    instance_type = optional(string, "c7gn.large")
    listener      = string # whose port it has, and whose class its datagrams are of
  }))
  default = {}
  validation {
    condition     = alltrue([for r in var.relays : try(var.listeners[r.listener].protocol, "") == "UDP"])
    error_message = "The listener of a relay is the name of a UDP listener: only datagrams can be spread one by one."
  }
  validation {
    condition     = length(var.relays) == 0 || length(var.network.relay_clients) > 0
    error_message = "Name the clients of relays in network.relay_clients: security groups admit nobody else."
  }
}

variable "deletion_protection" {
  description = "Whether load balancers refuse to be deleted."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
}
