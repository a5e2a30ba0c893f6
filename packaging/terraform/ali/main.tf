# An instance at Alibaba Cloud, in a VPC of its own.

terraform {
  required_version = ">= 1.5"
  required_providers {
    alicloud = {
      source  = "aliyun/alicloud"
      version = "~> 1.133"
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

variable "instance_type" {
  description = "Type"
  type        = string
  default     = "ecs.g6.large"
}

variable "cidr_block" {
  description = "Addresses of the VPC"
  type        = string
  default     = "192.168.0.0/16"
}

data "alicloud_zones" "this" {
  available_instance_type     = var.instance_type
  available_resource_creation = "VSwitch"
}

data "alicloud_images" "debian" {
  name_regex  = "^debian_12"
  owners      = "system"
  most_recent = true
}

resource "alicloud_vpc" "this" {
  vpc_name   = var.name
  cidr_block = var.cidr_block
}

resource "alicloud_vswitch" "this" {
  vswitch_name = var.name
  vpc_id       = alicloud_vpc.this.id
  zone_id      = data.alicloud_zones.this.zones[0].id
  cidr_block   = cidrsubnet(var.cidr_block, 8, 1)
}

resource "alicloud_security_group" "this" {
  description = var.name
  vpc_id      = alicloud_vpc.this.id
}

resource "alicloud_security_group_rule" "this" {
  security_group_id = alicloud_security_group.this.id
  type              = "ingress"
  ip_protocol       = "udp"
  port_range        = "9993/9993"
  cidr_ip           = "0.0.0.0/0"
}

resource "alicloud_instance" "this" {
  instance_name   = var.name
  host_name       = var.name
  instance_type   = var.instance_type
  image_id        = data.alicloud_images.debian.images[0].id
  vswitch_id      = alicloud_vswitch.this.id
  security_groups = [alicloud_security_group.this.id]
  user_data       = var.user_data
}

resource "alicloud_eip_address" "this" {
  address_name = var.name
}

resource "alicloud_eip_association" "this" {
  allocation_id = alicloud_eip_address.this.id
  instance_id   = alicloud_instance.this.id
}

output "address" {
  value = alicloud_eip_address.this.ip_address
}
