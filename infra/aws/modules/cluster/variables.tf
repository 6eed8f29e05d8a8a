variable "name" {
  description = "Name of the installation, and of the cluster."
  type        = string
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes."
  type        = string
}

variable "subnets" {
  description = "Ids of the private subnets."
  type        = list(string)
}

variable "administrators" {
  description = "ARNs of roles that may do everything in the cluster."
  type        = list(string)
}

variable "api_access" {
  description = "Blocks from which the API server answers besides the network itself."
  type        = list(string)
}

variable "log_key" {
  description = "ARN of the key that logs are encrypted with."
  type        = string
}

variable "retention_days" {
  description = "How long logs are kept."
  type        = number
}

variable "deletion_protection" {
  description = "Whether the cluster resists being destroyed."
  type        = bool
}
