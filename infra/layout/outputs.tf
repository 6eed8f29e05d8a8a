output "private_subnets" {
  description = "The address block of each zone's private subnet, by zone."
  value       = local.private_subnets
}

output "public_subnets" {
  description = "The address block of each zone's public subnet, by zone. Load balancers and address translation are there, never nodes."
  value       = local.public_subnets
}

output "node_pools" {
  description = "The pools with the labels and taints that their nodes bear."
  value       = module.bearing.pools
}

output "tags" {
  description = "Tags of everything that can bear some."
  value       = local.tags
}
