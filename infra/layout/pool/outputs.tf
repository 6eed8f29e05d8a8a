output "pools" {
  description = "The one pool, by the name that a cloud has for it, with the labels and taints of its nodes."
  value       = module.bearing.pools

  precondition {
    condition     = local.per_node >= 1
    error_message = "machine `${var.machine.type}` has no room for a worker: of ${jsonencode(var.machine)} a node keeps ${local.kept_millis} millicores and ${format("%.2f", local.kept_gib)} GiB, and a worker asks for ${jsonencode(var.workers)}; by what there is too little of: ${jsonencode(local.rooms)}. Name a larger one."
  }

  precondition {
    condition     = var.machine.gpu_memory_gib == null ? true : !local.has_gpu || var.machine.gpu_memory_gib * local.gib >= var.workers.gpu_memory_bytes
    error_message = "machine `${var.machine.type}`: a GPU of it has ${coalesce(var.machine.gpu_memory_gib, 0)} GiB, and a worker asks for ${format("%.1f", var.workers.gpu_memory_bytes / local.gib)}. Name one with larger GPUs."
  }
}

output "workers_per_node" {
  description = "How many workers there is room for on one node."
  value       = local.per_node
}
