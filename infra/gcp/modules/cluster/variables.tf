variable "name" {
  description = "Name of the installation, and of the cluster."
  type        = string
}

variable "project" {
  description = "Id of the project."
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

variable "zones" {
  description = "The zones of nodes."
  type        = list(string)
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes, at least."
  type        = string
}

variable "network" {
  description = "Id of the network."
  type        = string
}

variable "subnet" {
  description = "Id of the subnet of nodes."
  type        = string
}

variable "pod_ranges" {
  description = "Names of the subnet's ranges for pods, the cluster's own first."
  type        = list(string)
}

variable "service_range" {
  description = "Name of the subnet's range for services."
  type        = string
}

variable "address_space" {
  description = "The block of the network."
  type        = string
}

variable "administrators" {
  description = "Members that may do everything in the cluster."
  type        = list(string)
}

variable "api_access" {
  description = "Blocks from which the API server answers besides the network itself."
  type        = list(string)
}

variable "disk_key" {
  description = "Id of the key that disks are encrypted with."
  type        = string
}

variable "deletion_protection" {
  description = "Whether the cluster resists being destroyed."
  type        = bool
}
