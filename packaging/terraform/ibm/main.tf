# An instance at IBM Cloud. It has no public address: it goes out through a gateway and is reached by hole punching.

terraform {
  required_version = ">= 1.5"
  required_providers {
    ibm = {
      source  = "IBM-Cloud/ibm"
      version = ">= 1.49"
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

variable "zone" {
  description = "Zone"
  type        = string
  default     = "us-east-1"
}

variable "profile" {
  description = "Profile"
  type        = string
  default     = "cx2-2x4"
}

variable "image" {
  description = "Name of the image"
  type        = string
  default     = "ibm-debian-12-6-minimal-amd64-1"
}

variable "vpc_cidr" {
  description = "Addresses of the zone"
  type        = string
  default     = "192.168.0.0/16"
}

variable "subnet_cidr" {
  description = "Addresses of the subnet"
  type        = string
  default     = "192.168.1.0/24"
}

data "ibm_is_image" "this" {
  name = var.image
}

resource "ibm_is_vpc" "this" {
  name                      = var.name
  address_prefix_management = "manual"
}

resource "ibm_is_vpc_address_prefix" "this" {
  name = var.name
  vpc  = ibm_is_vpc.this.id
  zone = var.zone
  cidr = var.vpc_cidr
}

resource "ibm_is_public_gateway" "this" {
  name = var.name
  vpc  = ibm_is_vpc.this.id
  zone = var.zone
}

resource "ibm_is_subnet" "this" {
  name            = var.name
  vpc             = ibm_is_vpc.this.id
  zone            = var.zone
  ipv4_cidr_block = var.subnet_cidr
  public_gateway  = ibm_is_public_gateway.this.id
  depends_on      = [ibm_is_vpc_address_prefix.this]
}

resource "ibm_is_security_group" "this" {
  name = var.name
  vpc  = ibm_is_vpc.this.id
}

resource "ibm_is_security_group_rule" "ztnode" {
  group     = ibm_is_security_group.this.id
  direction = "inbound"
  remote    = "0.0.0.0/0"
  udp {
    port_min = 9993
    port_max = 9993
  }
}

resource "ibm_is_security_group_rule" "out" {
  group     = ibm_is_security_group.this.id
  direction = "outbound"
  remote    = "0.0.0.0/0"
}

resource "ibm_is_instance" "this" {
  name      = var.name
  vpc       = ibm_is_vpc.this.id
  zone      = var.zone
  profile   = var.profile
  image     = data.ibm_is_image.this.id
  keys      = []
  user_data = var.user_data

  primary_network_interface {
    subnet          = ibm_is_subnet.this.id
    security_groups = [ibm_is_security_group.this.id]
  }
}

output "address" {
  value = ibm_is_instance.this.primary_network_interface[0].primary_ip[0].address
}
