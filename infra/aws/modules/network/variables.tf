variable "name" {
  description = "Name of the installation."
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

variable "public_subnets" {
  description = "Blocks of the public subnets by zone."
  type        = map(string)
}

variable "log_key" {
  description = "ARN of the key that logs are encrypted with."
  type        = string
}

variable "retention_days" {
  description = "How long logs are kept."
  type        = number
}
