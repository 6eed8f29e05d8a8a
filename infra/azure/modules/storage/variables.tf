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

variable "vault" {
  description = "The vault that the keys are made in."
  type        = object({ id = string, name = string, uri = string })
}

variable "endpoints_subnet" {
  description = "Id of the subnet of private endpoints."
  type        = string
}

variable "dns_zone" {
  description = "Id of the zone that private endpoints of blobs are found in."
  type        = string
}

variable "workspace" {
  description = "Id of the workspace that logs go to."
  type        = string
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
}
