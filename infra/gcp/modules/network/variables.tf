variable "name" {
  description = "Name of the installation."
  type        = string
}

variable "region" {
  description = "The region."
  type        = string
}

variable "zones" {
  description = "The zones. Their order says whose block is used for what."
  type        = list(string)
}

variable "address_space" {
  description = "The block of the network."
  type        = string
}

variable "private_subnets" {
  description = "Blocks that `layout` keeps for private subnets, by zone."
  type        = map(string)
}

variable "public_subnets" {
  description = "Blocks that `layout` keeps for public subnets, by zone."
  type        = map(string)
}
