variable "name" {
  description = "Name of the installation. Everything that is made bears it."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$", var.name))
    error_message = "name is `${var.name}`; allowed are 1 to 20 lower-case letters, digits and hyphens, a letter first and no hyphen last."
  }
}

variable "address_space" {
  description = "The private IPv4 block that all subnets are cut from, /16 to /20."
  type        = string

  validation {
    condition     = can(cidrnetmask(var.address_space)) && can(regex("/(16|17|18|19|20)$", var.address_space))
    error_message = "address_space is `${var.address_space}`; allowed is an IPv4 block from /16 to /20, such as 10.64.0.0/16."
  }

  validation {
    condition     = can(cidrnetmask(var.address_space)) ? cidrhost(var.address_space, 0) == split("/", var.address_space)[0] : true
    error_message = "address_space is `${var.address_space}`; the address must be the first of its block."
  }
}

variable "zones" {
  description = "The availability zones to spread over, two or three."
  type        = list(string)

  validation {
    condition     = length(var.zones) >= 2 && length(var.zones) <= 3 && length(distinct(var.zones)) == length(var.zones)
    error_message = "zones has ${length(var.zones)} entries; allowed are two or three different ones."
  }
}

variable "node_pools" {
  description = "Groups of equal nodes by name. See the README for what each field means."
  type = map(object({
    machine  = string
    min      = number
    max      = number
    disk_gib = optional(number, 100)
    spot     = optional(bool, false)
    gpu      = optional(object({ type = string, count = number }))
    labels   = optional(map(string), {})
    taints   = optional(list(object({ key = string, value = string, effect = string })), [])
  }))

  validation {
    condition     = alltrue([for name, _ in var.node_pools : can(regex("^[a-z][a-z0-9]{0,11}$", name))])
    error_message = "node_pools has the names ${join(", ", keys(var.node_pools))}; allowed are 1 to 12 lower-case letters and digits, a letter first."
  }

  validation {
    condition     = alltrue([for _, pool in var.node_pools : pool.min >= 0 && pool.max >= pool.min && pool.max > 0 && floor(pool.min) == pool.min && floor(pool.max) == pool.max])
    error_message = "node_pools: min and max are whole numbers, min from 0 to max, max at least 1."
  }

  validation {
    condition     = alltrue([for _, pool in var.node_pools : pool.disk_gib >= 50 && pool.disk_gib <= 16384])
    error_message = "node_pools: disk_gib is 50 to 16384; images of GPU runtimes alone take 20."
  }

  validation {
    condition     = alltrue(flatten([for _, pool in var.node_pools : [for taint in pool.taints : contains(["NoSchedule", "PreferNoSchedule", "NoExecute"], taint.effect)]]))
    error_message = "node_pools: the effect of a taint is NoSchedule, PreferNoSchedule or NoExecute."
  }

  validation {
    condition     = alltrue([for _, pool in var.node_pools : pool.gpu == null ? true : pool.gpu.count >= 1 && pool.gpu.count <= 16])
    error_message = "node_pools: gpu.count is 1 to 16 to a node."
  }

  validation {
    condition     = anytrue([for _, pool in var.node_pools : pool.gpu == null && length(pool.taints) == 0 && pool.min >= 1 && !pool.spot])
    error_message = "node_pools: one pool has neither a GPU nor a taint nor spot prices and keeps at least one node: the services of Slipway and the cluster's own run there."
  }
}

variable "tags" {
  description = "Tags of everything that can bear some, beside those of this module."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key, _ in var.tags : !startswith(key, "slipway")])
    error_message = "tags: keys that begin with `slipway` are this module's own."
  }
}
