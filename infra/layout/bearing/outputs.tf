output "pools" {
  description = "The pools with all labels and taints that their nodes bear."
  value       = local.pools
}
