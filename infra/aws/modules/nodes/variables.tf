variable "name" {
  description = "Name that everything which is made bears: that of the installation, or of a deployment's stack."
  type        = string
}

variable "cluster" {
  description = "Name of the cluster."
  type        = string
}

variable "role" {
  description = "ARN of the nodes' role, once it has its rights."
  type        = string
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes."
  type        = string
}

variable "subnets" {
  description = "Ids of the private subnets by zone."
  type        = map(string)
}

variable "pools" {
  description = "The pools by name, as `layout` gives them."
  type = map(object({
    machine  = string
    min      = number
    max      = number
    disk_gib = number
    spot     = bool
    gpu      = optional(object({ type = string, count = number }))
    labels   = map(string)
    taints   = list(object({ key = string, value = string, effect = string }))
  }))
}

variable "tags" {
  description = "Tags of nodes and their disks, which the provider's default tags do not reach."
  type        = map(string)
}
