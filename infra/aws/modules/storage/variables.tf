variable "name" {
  description = "Name of the installation."
  type        = string
}

variable "cluster" {
  description = "Name of the cluster."
  type        = string
}

variable "deletion_protection" {
  description = "Whether buckets that hold something resist being destroyed."
  type        = bool
}
