# A server of Equinix Metal: bare metal with public addresses and no firewall in front of it.

terraform {
  required_version = ">= 1.5"
  required_providers {
    equinix = {
      source  = "equinix/equinix"
      version = ">= 1.11"
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

variable "project_id" {
  description = "ID of the project"
  type        = string
}

variable "plan" {
  description = "Plan"
  type        = string
  default     = "c3.small.x86"
}

variable "metro" {
  description = "Metro"
  type        = string
  default     = "dc"
}

variable "operating_system" {
  description = "Operating system"
  type        = string
  default     = "debian_12"
}

resource "equinix_metal_device" "this" {
  hostname         = var.name
  project_id       = var.project_id
  plan             = var.plan
  metro            = var.metro
  operating_system = var.operating_system
  billing_cycle    = "hourly"
  user_data        = var.user_data
}

output "address" {
  value = equinix_metal_device.this.access_public_ipv4
}
