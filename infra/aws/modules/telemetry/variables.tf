variable "name" {
  description = "Name of the installation."
  type        = string
}

variable "retention_days" {
  description = "How long logs are kept."
  type        = number
}
