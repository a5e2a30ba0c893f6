# The user-data of packaging/cloud-init, filled in: with an identity, with a token, or with neither.

terraform {
  required_version = ">= 1.5"
}

variable "network" {
  description = "ID of the network to join: 16 hexadecimal digits"
  type        = string
  validation {
    condition     = can(regex("^[0-9a-f]{16}$", var.network))
    error_message = "A network's ID is 16 hexadecimal digits."
  }
}

variable "identity" {
  description = "Secret identity of the node, as `ztnode-cli identity new` prints it; null: it makes its own"
  type        = string
  default     = null
  sensitive   = true
  validation {
    condition     = var.identity == null || can(regex("^[0-9a-f]{10}:0:[0-9a-f]{128}:[0-9a-f]{128}$", trimspace(var.identity)))
    error_message = "A secret identity is ADDRESS:0:PUBLIC:SECRET, as identity.secret holds it."
  }
}

variable "token" {
  description = "Join token, as `ztnode-cli token create` prints it; null: the member is authorized otherwise"
  type        = string
  default     = null
  sensitive   = true
  validation {
    # It becomes a word of a command line.
    condition     = var.token == null || can(regex("^[A-Za-z0-9._~+/=:-]+$", var.token))
    error_message = "A token has no spaces or quotes."
  }
}

variable "repository" {
  description = "Where the packages are: the URL of what `make repo` made"
  type        = string
  validation {
    condition     = can(regex("^https?://[A-Za-z0-9:/._~%@+-]+[^/]$", var.repository))
    error_message = "A repository is an http:// or https:// URL without a slash at its end."
  }
}

variable "repository_key" {
  description = "Its keys: the text of ztnode-archive-keyring.asc"
  type        = string
  validation {
    condition     = startswith(trimspace(var.repository_key), "-----BEGIN PGP PUBLIC KEY BLOCK-----")
    error_message = "The keys are the text of ztnode-archive-keyring.asc, which begins with -----BEGIN PGP PUBLIC KEY BLOCK-----."
  }
}

variable "wait" {
  description = "How long the boot waits until the node is a member, in seconds"
  type        = number
  default     = 300
}

variable "users" {
  description = "People who may log in: name = public SSH key"
  type        = map(string)
  default     = {}
}

locals {
  keyring = "/usr/share/keyrings/ztnode-archive-keyring.asc"
  keys = [{
    path    = local.keyring
    content = var.repository_key
  }]
  identity = var.identity == null ? [] : [{
    path        = "/var/lib/ztnode/identity.secret"
    permissions = "0600"
    content     = trimspace(var.identity)
  }]
  users = length(var.users) == 0 ? {} : {
    users = [for name, key in var.users : {
      name                = name
      shell               = "/bin/bash"
      sudo                = "ALL=(ALL) NOPASSWD:ALL"
      ssh_authorized_keys = [key]
    }]
  }
  join = join(" ", concat(
    ["ztnode-cli join ${var.network}"],
    var.token == null ? [] : ["--token ${var.token}"],
    ["--wait=${var.wait}"],
  ))
}

output "text" {
  description = "What goes into a machine's user_data"
  sensitive   = true
  value = "#cloud-config\n${yamlencode(merge(local.users, {
    write_files = concat(local.keys, local.identity)
    apt         = { sources = { ztnode = { source = "deb [signed-by=${local.keyring}] ${var.repository}/deb stable main" } } }
    packages    = ["ztnode", "ztnode-archive-keyring"]
    runcmd      = [local.join]
  }))}"
}
