variable "pools" {
  description = "The pools by name, with the labels and taints that were asked for."
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
