variable "name" {
  description = "Name of the installation."
  type        = string
}

variable "project_number" {
  description = "Number of the project."
  type        = string
}

variable "region" {
  description = "The region."
  type        = string
}

variable "deletion_protection" {
  description = "Whether buckets that hold something resist being destroyed."
  type        = bool
}
