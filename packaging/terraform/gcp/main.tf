# An instance at Google Cloud, in a network of its own.

terraform {
  required_version = ">= 1.5"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 4.0"
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
  default     = "europe-west4"
}

variable "zone" {
  description = "Zone"
  type        = string
  default     = "europe-west4-a"
}

variable "machine_type" {
  description = "Type"
  type        = string
  default     = "e2-medium"
}

variable "image" {
  description = "Image"
  type        = string
  default     = "debian-cloud/debian-12"
}

variable "ip_cidr_range" {
  description = "Addresses of the subnet"
  type        = string
  default     = "192.168.1.0/24"
}

resource "google_compute_network" "this" {
  name                    = var.name
  auto_create_subnetworks = false
}

resource "google_compute_subnetwork" "this" {
  name          = var.name
  network       = google_compute_network.this.id
  region        = var.region
  ip_cidr_range = var.ip_cidr_range
}

resource "google_compute_firewall" "this" {
  name          = "${var.name}-ztnode"
  network       = google_compute_network.this.id
  source_ranges = ["0.0.0.0/0"]

  allow {
    protocol = "udp"
    ports    = ["9993"]
  }
}

resource "google_compute_address" "this" {
  name   = var.name
  region = var.region
}

resource "google_compute_instance" "this" {
  name           = var.name
  zone           = var.zone
  machine_type   = var.machine_type
  can_ip_forward = true
  metadata       = { user-data = var.user_data }

  boot_disk {
    initialize_params {
      image = var.image
    }
  }

  network_interface {
    subnetwork = google_compute_subnetwork.this.id
    access_config {
      nat_ip = google_compute_address.this.address
    }
  }
}

output "address" {
  value = google_compute_address.this.address
}
