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

variable "retention_days" {
  description = "How long logs are kept."
  type        = number
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
}
