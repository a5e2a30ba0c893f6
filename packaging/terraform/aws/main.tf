# An instance at AWS, in a VPC of its own with IPv4 and IPv6.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
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

variable "availability_zone" {
  description = "Zone"
  type        = string
  default     = "us-east-2a"
}

variable "instance_type" {
  description = "Type"
  type        = string
  default     = "t3.micro"
}

variable "cidr_block" {
  description = "Addresses of the VPC"
  type        = string
  default     = "192.168.0.0/16"
}

data "aws_ami" "debian" {
  most_recent = true
  owners      = ["136693071363"] # Debian

  filter {
    name   = "name"
    values = ["debian-12-amd64-*"]
  }
}

resource "aws_vpc" "this" {
  cidr_block                       = var.cidr_block
  assign_generated_ipv6_cidr_block = true
  tags                             = { Name = var.name }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = var.name }
}

resource "aws_subnet" "this" {
  vpc_id                          = aws_vpc.this.id
  availability_zone               = var.availability_zone
  cidr_block                      = cidrsubnet(var.cidr_block, 8, 1)
  ipv6_cidr_block                 = cidrsubnet(aws_vpc.this.ipv6_cidr_block, 8, 1)
  assign_ipv6_address_on_creation = true
  tags                            = { Name = var.name }
}

resource "aws_default_route_table" "this" {
  default_route_table_id = aws_vpc.this.default_route_table_id

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.this.id
  }

  route {
    ipv6_cidr_block = "::/0"
    gateway_id      = aws_internet_gateway.this.id
  }
}

resource "aws_security_group" "this" {
  name   = var.name
  vpc_id = aws_vpc.this.id

  ingress {
    protocol         = "udp"
    from_port        = 9993
    to_port          = 9993
    cidr_blocks      = ["0.0.0.0/0"]
    ipv6_cidr_blocks = ["::/0"]
  }

  egress {
    protocol         = "-1"
    from_port        = 0
    to_port          = 0
    cidr_blocks      = ["0.0.0.0/0"]
    ipv6_cidr_blocks = ["::/0"]
  }
}

resource "aws_instance" "this" {
  ami                    = data.aws_ami.debian.id
  instance_type          = var.instance_type
  subnet_id              = aws_subnet.this.id
  vpc_security_group_ids = [aws_security_group.this.id]
  source_dest_check      = false
  user_data_base64       = base64gzip(var.user_data)
  tags                   = { Name = var.name }
}

resource "aws_eip" "this" {
  instance   = aws_instance.this.id
  depends_on = [aws_internet_gateway.this]
}

output "address" {
  value = aws_eip.this.public_ip
}
