output "pool" {
  description = "The pool: its name in the cloud, the machine, how many nodes at least and at most, and what they bear."
  value       = one([for name, pool in module.pool.pools : merge({ name = name }, pool)])

  precondition {
    condition     = coalesce(var.region, var.installation.region) == var.installation.region
    error_message = "region is `${coalesce(var.region, "unset")}`; the cluster is in ${var.installation.region}, and nodes are where their cluster is."
  }
}

output "workers_per_node" {
  description = "How many workers there is room for on one node."
  value       = module.pool.workers_per_node
}
