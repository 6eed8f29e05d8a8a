# The same in all clouds, and the project; the words in them (regions, machines, principals) are the vendor's.

variable "project" {
  description = "Id of the project that everything is made in. It has a billing account."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project is `${var.project}`; allowed are 6 to 30 lower-case letters, digits and hyphens, a letter first and no hyphen last."
  }
}

variable "name" {
  description = "Name of the installation. Everything that is made bears it."
  type        = string
}

variable "region" {
  description = "The vendor's name of the region, such as europe-west4."
  type        = string
}

variable "zones" {
  description = "The availability zones to spread over, two or three, such as europe-west4-a."
  type        = list(string)
}

variable "address_space" {
  description = "The private IPv4 block that all subnets are cut from, /16 to /20."
  type        = string
  default     = "10.64.0.0/16"
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes, such as 1.33. Google may go further by itself, never back."
  type        = string
  default     = "1.33"

  validation {
    condition     = can(regex("^1\\.(2[9]|[3-9][0-9])$", var.kubernetes_version))
    error_message = "kubernetes_version is `${var.kubernetes_version}`; allowed is a minor version from 1.29 on, such as 1.33."
  }
}

variable "administrators" {
  description = "Principals that may do everything in the cluster: members such as group:platform@example.com, user:... or serviceAccount:..."
  type        = list(string)

  validation {
    condition     = length(var.administrators) > 0
    error_message = "administrators is empty; name at least one, else nobody can enter the cluster."
  }
}

variable "api_access" {
  description = "IPv4 blocks from which the API server answers besides the network itself; none: it is private."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for block in var.api_access : can(cidrnetmask(block)) && !endswith(block, "/0")])
    error_message = "api_access holds ${join(", ", var.api_access)}; allowed are IPv4 blocks, not the whole internet."
  }
}

variable "node_pools" {
  description = "Groups of equal nodes by name; see the README. `gpu.type` is Google's word, such as nvidia-l4."
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
}

variable "workloads" {
  description = "What of the cloud each service account may use; whoever is not named may use nothing."
  type = map(object({
    namespace       = string
    service_account = string
    reads_artifacts = optional(bool, false)
    writes_results  = optional(bool, false)
    reads_secrets   = optional(bool, false)
    scales_nodes    = optional(bool, false)
  }))
  default = {}

  validation {
    condition     = alltrue([for name, _ in var.workloads : can(regex("^[a-z]([a-z0-9-]{0,22}[a-z0-9])?$", name))])
    error_message = "workloads has the names ${join(", ", keys(var.workloads))}; allowed are 1 to 24 lower-case letters, digits and hyphens."
  }
}

variable "retention_days" {
  description = "How long logs are kept."
  type        = number
  default     = 365

  validation {
    condition     = var.retention_days >= 365 && var.retention_days <= 3650 && floor(var.retention_days) == var.retention_days
    error_message = "retention_days is ${var.retention_days}; allowed are whole numbers from 365 to 3650."
  }
}

variable "budget" {
  description = "What a month may cost, in US dollars, and who is told at 80 % of it and when 100 % are foreseen."
  type        = object({ monthly = number, contacts = list(string) })

  validation {
    condition     = var.budget.monthly > 0 && length(var.budget.contacts) > 0
    error_message = "budget: monthly is more than 0, and contacts holds at least one e-mail address."
  }
}

variable "deletion_protection" {
  description = "Whether the cluster and what is stored resist being destroyed. Turned off, and applied, before `destroy`."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of everything that can bear some, beside those of the installation."
  type        = map(string)
  default     = {}
}
