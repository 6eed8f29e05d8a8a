variable "service_account" {
  description = "E-mail address of the nodes' account, once it has its rights."
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

variable "cluster" {
  description = "Name of the cluster."
  type        = string
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

variable "labels" {
  description = "Google's labels of nodes and their disks, which the provider's default labels do not reach."
  type        = map(string)
}

variable "disk_key" {
  description = "Id of the key that disks are encrypted with."
  type        = string
}
