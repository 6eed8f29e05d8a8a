output "pools" {
  description = "The pools by name, with the labels and taints of their nodes."
  value       = local.pools
}
