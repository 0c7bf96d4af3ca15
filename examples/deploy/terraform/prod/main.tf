# The same in dev and prod; the sizes are in the .tfvars beside it. The module declares what each variable holds, and checks it.
terraform {
  required_version = ">= 1.9"
  # State holds no secret, but it is the fleet: keep it in a bucket with versioning (terraform init -backend-config=backend.hcl).
  backend "s3" {
    use_lockfile = true
  }
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.48, < 7.0"
    }
  }
}

provider "aws" {
  region = var.region
}

variable "region" {
  type = string
}

variable "fleet" {
  description = "Everything that the module takes, as its variables.tf describes it."
  type        = any
}

module "penstock" {
  source = "../modules/penstock"

  name                = var.fleet.name
  network             = var.fleet.network
  load_balancers      = var.fleet.load_balancers
  listeners           = var.fleet.listeners
  groups              = var.fleet.groups
  software            = var.fleet.software
  delivery            = var.fleet.delivery
  secrets             = var.fleet.secrets
  alarms              = var.fleet.alarms
  reaper              = var.fleet.reaper
  relays              = var.fleet.relays
  deletion_protection = var.fleet.deletion_protection
  tags                = var.fleet.tags
}

output "penstock" {
  value = module.penstock
}
