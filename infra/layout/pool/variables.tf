variable "name" {
  description = "Name of the deployment's stack."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$", var.name))
    error_message = "name is `${var.name}`; allowed are 1 to 20 lower-case letters, digits and hyphens, a letter first and no hyphen last."
  }
}

variable "workers" {
  description = "The workers, as the provisioner tells: how many at least and at most, and what one of them asks for."
  type = object({
    min              = number
    max              = number
    cpu_millis       = number
    memory_bytes     = number
    gpus             = number
    gpu_type         = optional(string)
    gpu_memory_bytes = optional(number, 0)
  })

  validation {
    condition     = var.workers.min >= 0 && var.workers.max >= max(var.workers.min, 1)
    error_message = "workers: min is 0 or more, max at least 1 and not below min; they are ${var.workers.min} and ${var.workers.max}."
  }

  validation {
    condition     = var.workers.cpu_millis > 0 && var.workers.memory_bytes > 0 && var.workers.gpus >= 0
    error_message = "workers: cpu_millis and memory_bytes are more than 0, gpus is 0 or more; they are ${var.workers.cpu_millis}, ${var.workers.memory_bytes} and ${var.workers.gpus}."
  }
}

variable "machine" {
  description = "The kind of machine: the vendor's name of it, and what it has. Of its GPUs the type, in the vendor's words where it wants them (Google), and the memory of one, if it is to be looked at."
  type = object({
    type           = string
    cpus           = number
    memory_gib     = number
    gpus           = optional(number, 0)
    gpu_type       = optional(string)
    gpu_memory_gib = optional(number)
  })

  validation {
    condition     = var.machine.cpus > 0 && var.machine.memory_gib > 0 && var.machine.gpus >= 0
    error_message = "machine: cpus and memory_gib are more than 0, gpus is 0 or more; they are ${var.machine.cpus}, ${var.machine.memory_gib} and ${var.machine.gpus}."
  }
}

variable "revisions" {
  description = "For how many revisions there is to be room at most: one that is tried, beside the one that serves."
  type        = number
  default     = 2

  validation {
    condition     = var.revisions >= 1 && var.revisions <= 4 && floor(var.revisions) == var.revisions
    error_message = "revisions is ${var.revisions}; allowed are 1 to 4."
  }
}

variable "disk_gib" {
  description = "Size of a node's disk."
  type        = number
  default     = 100

  validation {
    condition     = var.disk_gib >= 50 && var.disk_gib <= 16384
    error_message = "disk_gib is ${var.disk_gib}; allowed are 50 to 16384: images of GPU runtimes alone take 20."
  }
}

variable "spot" {
  description = "Whether nodes may be taken back by the vendor at any time, for a lower price."
  type        = bool
  default     = false
}
