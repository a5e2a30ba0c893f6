# An instance at Vultr.

terraform {
  required_version = ">= 1.5"
  required_providers {
    vultr = {
      source  = "vultr/vultr"
      version = "~> 2.4"
    }
  }
}

variable "name" {
  description = "Name of the machine and of what belongs to it"
  type        = string
}

variable "user_data" {
  description = "Text of the user-data module"
  type        = string
  sensitive   = true
}

variable "region" {
  description = "Region"
  type        = string
  default     = "ewr"
}

variable "plan" {
  description = "Plan"
  type        = string
  default     = "vc2-1c-1gb"
}

data "vultr_os" "debian" {
  filter {
    name   = "name"
    values = ["Debian 12 x64 (bookworm)"]
  }
}

resource "vultr_firewall_group" "this" {
  description = var.name
}

resource "vultr_firewall_rule" "this" {
  for_each          = { v4 = "0.0.0.0", v6 = "::" }
  firewall_group_id = vultr_firewall_group.this.id
  protocol          = "udp"
  port              = "9993"
  ip_type           = each.key
  subnet            = each.value
  subnet_size       = 0
}

resource "vultr_instance" "this" {
  label             = var.name
  hostname          = var.name
  region            = var.region
  plan              = var.plan
  os_id             = data.vultr_os.debian.id
  enable_ipv6       = true
  firewall_group_id = vultr_firewall_group.this.id
  user_data         = var.user_data
}

output "address" {
  value = vultr_instance.this.main_ip
}
