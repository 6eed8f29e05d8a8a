variable "name" {
  description = "Name of the installation, and of the cluster."
  type        = string
}

variable "region" {
  description = "The region."
  type        = string
}

variable "zones" {
  description = "The zones that nodes are spread over."
  type        = list(string)
}

variable "resource_group" {
  description = "Name of the resource group."
  type        = string
}

variable "tenant" {
  description = "GUID of the tenant whose identities the cluster knows."
  type        = string
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes."
  type        = string
}

variable "address_space" {
  description = "The block of the network."
  type        = string
}

variable "subnets" {
  description = "Ids of the private subnets by zone."
  type        = map(string)
}

variable "outward_addresses" {
  description = "The addresses that nodes are seen at from outside."
  type        = list(string)
}

variable "pods" {
  description = "The block that pods have their addresses from."
  type        = string
}

variable "services" {
  description = "The block that services have their addresses from."
  type        = string
}

variable "administrators" {
  description = "Object ids of groups of Microsoft Entra that may do everything in the cluster."
  type        = list(string)
}

variable "api_access" {
  description = "Blocks from which the API server answers besides the network itself."
  type        = list(string)
}

variable "pool" {
  description = "The pool that the cluster is made with, and that its own services run on."
  type        = object({ machine = string, min = number, max = number, disk_gib = number, labels = map(string) })
}

variable "pool_subnet" {
  description = "Id of the subnet of that pool's nodes."
  type        = string
}

variable "disk_encryption_set" {
  description = "Id of what encrypts the disks of nodes and volumes."
  type        = string
}

variable "workspace" {
  description = "Id of the workspace that logs go to."
  type        = string
}

variable "collection_rule" {
  description = "Id of the rule by which logs of pods get there."
  type        = string
}

variable "tags" {
  description = "Tags of everything, nodes too."
  type        = map(string)
}
