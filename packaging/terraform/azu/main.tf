# A virtual machine at Azure, in a network of its own with IPv4 and IPv6.

terraform {
  required_version = ">= 1.5"
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 3.0"
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

variable "location" {
  description = "Region"
  type        = string
  default     = "eastus"
}

variable "size" {
  description = "Size"
  type        = string
  default     = "Standard_B1s"
}

variable "ssh_public_key" {
  description = "Azure insists on one for the user it makes: a public RSA key"
  type        = string
}

resource "azurerm_resource_group" "this" {
  name     = var.name
  location = var.location
}

resource "azurerm_virtual_network" "this" {
  name                = var.name
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
  address_space       = ["192.168.0.0/16", "fd00:192:168::/48"]
}

resource "azurerm_subnet" "this" {
  name                 = var.name
  resource_group_name  = azurerm_resource_group.this.name
  virtual_network_name = azurerm_virtual_network.this.name
  address_prefixes     = ["192.168.1.0/24", "fd00:192:168:1::/64"]
}

resource "azurerm_network_security_group" "this" {
  name                = var.name
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name

  security_rule {
    name                       = "ztnode"
    priority                   = 100
    direction                  = "Inbound"
    access                     = "Allow"
    protocol                   = "Udp"
    source_port_range          = "*"
    destination_port_range     = "9993"
    source_address_prefix      = "*"
    destination_address_prefix = "*"
  }
}

resource "azurerm_public_ip" "this" {
  for_each            = toset(["IPv4", "IPv6"])
  name                = "${var.name}-${each.key}"
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
  allocation_method   = "Static"
  sku                 = "Standard"
  ip_version          = each.key
}

resource "azurerm_network_interface" "this" {
  name                = var.name
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name

  dynamic "ip_configuration" {
    for_each = azurerm_public_ip.this
    content {
      name                          = ip_configuration.key
      primary                       = ip_configuration.key == "IPv4"
      subnet_id                     = azurerm_subnet.this.id
      private_ip_address_allocation = "Dynamic"
      private_ip_address_version    = ip_configuration.key
      public_ip_address_id          = ip_configuration.value.id
    }
  }
}

resource "azurerm_network_interface_security_group_association" "this" {
  network_interface_id      = azurerm_network_interface.this.id
  network_security_group_id = azurerm_network_security_group.this.id
}

resource "azurerm_linux_virtual_machine" "this" {
  name                  = var.name
  location              = azurerm_resource_group.this.location
  resource_group_name   = azurerm_resource_group.this.name
  size                  = var.size
  admin_username        = "admin-${var.name}"
  network_interface_ids = [azurerm_network_interface.this.id]
  custom_data           = base64encode(var.user_data)

  admin_ssh_key {
    username   = "admin-${var.name}"
    public_key = var.ssh_public_key
  }

  os_disk {
    caching              = "ReadWrite"
    storage_account_type = "Standard_LRS"
  }

  source_image_reference {
    publisher = "Debian"
    offer     = "debian-12"
    sku       = "12-gen2"
    version   = "latest"
  }
}

output "address" {
  value = azurerm_public_ip.this["IPv4"].ip_address
}
