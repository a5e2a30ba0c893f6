# A droplet at DigitalOcean.

terraform {
  required_version = ">= 1.5"
  required_providers {
    digitalocean = {
      source  = "digitalocean/digitalocean"
      version = "~> 2.11"
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
  default     = "nyc1"
}

variable "size" {
  description = "Size"
  type        = string
  default     = "s-1vcpu-1gb"
}

variable "image" {
  description = "Image"
  type        = string
  default     = "debian-12-x64"
}

resource "digitalocean_droplet" "this" {
  name      = var.name
  region    = var.region
  size      = var.size
  image     = var.image
  ipv6      = true
  user_data = var.user_data
}

resource "digitalocean_firewall" "this" {
  name        = var.name
  droplet_ids = [digitalocean_droplet.this.id]

  inbound_rule {
    protocol         = "udp"
    port_range       = "9993"
    source_addresses = ["0.0.0.0/0", "::/0"]
  }

  dynamic "outbound_rule" {
    for_each = ["tcp", "udp"]
    content {
      protocol              = outbound_rule.value
      port_range            = "1-65535"
      destination_addresses = ["0.0.0.0/0", "::/0"]
    }
  }

  outbound_rule {
    protocol              = "icmp"
    destination_addresses = ["0.0.0.0/0", "::/0"]
  }
}

output "address" {
  value = digitalocean_droplet.this.ipv4_address
}
