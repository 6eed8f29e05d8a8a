variable "name" {
  description = "Name of the installation."
  type        = string
}

variable "region" {
  description = "The region."
  type        = string
}

variable "resource_group" {
  description = "Name of the resource group."
  type        = string
}

variable "suffix" {
  description = "What makes names ours that are the whole world's."
  type        = string
}

variable "endpoints_subnet" {
  description = "Id of the subnet of private endpoints."
  type        = string
}

variable "dns_zone" {
  description = "Id of the zone that private endpoints of registries are found in."
  type        = string
}

variable "workspace" {
  description = "Id of the workspace that logs go to."
  type        = string
}

variable "puller" {
  description = "Object id of the identity that nodes pull images with."
  type        = string
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
}
