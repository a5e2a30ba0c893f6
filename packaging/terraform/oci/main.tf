# An instance at Oracle Cloud, in a network of its own.

terraform {
  required_version = ">= 1.5"
  required_providers {
    oci = {
      source  = "oracle/oci"
      version = ">= 5.0"
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

variable "compartment_id" {
  description = "OCID of the compartment"
  type        = string
}

variable "image_id" {
  description = "OCID of an image with cloud-init and apt"
  type        = string
}

variable "shape" {
  description = "Shape"
  type        = string
  default     = "VM.Standard.E2.1.Micro"
}

variable "vpc_cidr" {
  description = "Addresses of the network"
  type        = string
  default     = "192.168.0.0/16"
}

variable "subnet_cidr" {
  description = "Addresses of the subnet"
  type        = string
  default     = "192.168.1.0/24"
}

data "oci_identity_availability_domains" "this" {
  compartment_id = var.compartment_id
}

resource "oci_core_vcn" "this" {
  compartment_id = var.compartment_id
  display_name   = var.name
  cidr_blocks    = [var.vpc_cidr]
}

resource "oci_core_internet_gateway" "this" {
  compartment_id = var.compartment_id
  vcn_id         = oci_core_vcn.this.id
  display_name   = var.name
}

resource "oci_core_default_route_table" "this" {
  manage_default_resource_id = oci_core_vcn.this.default_route_table_id

  route_rules {
    destination       = "0.0.0.0/0"
    network_entity_id = oci_core_internet_gateway.this.id
  }
}

resource "oci_core_security_list" "this" {
  compartment_id = var.compartment_id
  vcn_id         = oci_core_vcn.this.id
  display_name   = var.name

  egress_security_rules {
    protocol    = "all"
    destination = "0.0.0.0/0"
  }

  ingress_security_rules {
    protocol = "17" # UDP
    source   = "0.0.0.0/0"
    udp_options {
      min = 9993
      max = 9993
    }
  }
}

resource "oci_core_subnet" "this" {
  compartment_id    = var.compartment_id
  vcn_id            = oci_core_vcn.this.id
  display_name      = var.name
  cidr_block        = var.subnet_cidr
  security_list_ids = [oci_core_security_list.this.id]
}

resource "oci_core_instance" "this" {
  compartment_id      = var.compartment_id
  availability_domain = data.oci_identity_availability_domains.this.availability_domains[0].name
  display_name        = var.name
  shape               = var.shape
  metadata            = { user_data = base64encode(var.user_data) }

  create_vnic_details {
    subnet_id        = oci_core_subnet.this.id
    assign_public_ip = true
  }

  source_details {
    source_type = "image"
    source_id   = var.image_id
  }
}

output "address" {
  value = oci_core_instance.this.public_ip
}
