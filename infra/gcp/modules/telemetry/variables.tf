variable "name" {
  description = "Name of the installation, and of the cluster."
  type        = string
}

variable "project" {
  description = "Id of the project."
  type        = string
}

variable "region" {
  description = "The region."
  type        = string
}

variable "subnet" {
  description = "Name of the subnet of nodes."
  type        = string
}

variable "nat" {
  description = "Name of the address translation."
  type        = string
}

variable "retention_days" {
  description = "How long logs are kept."
  type        = number
}
