variable "name" {
  description = "Name of the installation, and of its resource group."
  type        = string
}

variable "region" {
  description = "The region."
  type        = string
}

variable "address_space" {
  description = "The block of the network."
  type        = string
}

variable "private_subnets" {
  description = "Blocks of the private subnets by zone."
  type        = map(string)
}

variable "endpoints_subnet" {
  description = "Block of the subnet of private endpoints."
  type        = string
}

variable "pods" {
  description = "The block that pods have their addresses from."
  type        = string
}

variable "suffix" {
  description = "What makes names ours that are the whole world's."
  type        = string
}

variable "workspace" {
  description = "Where flow logs are made searchable."
  type        = object({ id = string, guid = string, region = string })
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
}
