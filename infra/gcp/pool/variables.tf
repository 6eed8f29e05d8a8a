variable "name" {
  description = "Name of the deployment's stack."
  type        = string
}

variable "region" {
  description = "The vendor's name of the region that was chosen, which must be that of the cluster."
  type        = string
  default     = null
}

variable "workers" {
  description = "The workers that the pool is for, as the provisioner tells."
  type = object({
    min              = number
    max              = number
    cpu_millis       = number
    memory_bytes     = number
    gpus             = number
    gpu_type         = optional(string)
    gpu_memory_bytes = optional(number, 0)
  })
}

variable "tags" {
  description = "Tags by which the deployment is known."
  type        = map(string)
}

variable "machine" {
  description = "The kind of machine: the vendor's name of it, and what it has; see the README."
  type = object({
    type           = string
    cpus           = number
    memory_gib     = number
    gpus           = optional(number, 0)
    gpu_type       = optional(string)
    gpu_memory_gib = optional(number)
  })
}

variable "revisions" {
  description = "For how many revisions there is to be room at most: one that is tried, beside the one that serves."
  type        = number
  default     = 2
}

variable "disk_gib" {
  description = "Size of a node's disk."
  type        = number
  default     = 100
}

variable "spot" {
  description = "Whether nodes may be taken back by the vendor at any time, for a lower price."
  type        = bool
  default     = false
}

variable "installation" {
  description = "What the cluster's own stack says in its output `pool`."
  type = object({
    region          = string
    project         = string
    cluster         = string
    zones           = list(string)
    service_account = string
    disk_key        = string
    tags            = map(string)
  })
}
