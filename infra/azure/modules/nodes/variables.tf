variable "cluster" {
  description = "Id of the cluster."
  type        = string
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes."
  type        = string
}

variable "zones" {
  description = "The zones that each pool is spread over."
  type        = list(string)
}

variable "subnets" {
  description = "Ids of the private subnets by zone."
  type        = map(string)
}

variable "pools" {
  description = "The pools by name, with the labels and taints of their nodes."
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
  description = "Tags of nodes and their disks."
  type        = map(string)
}
