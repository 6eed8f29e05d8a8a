variable "name" {
  description = "Name of the installation."
  type        = string
}

variable "deletion_protection" {
  description = "Whether repositories that hold images resist being destroyed."
  type        = bool
}
