output "id" {
  description = "Id of the network."
  value       = google_compute_network.this.id
}

output "subnet" {
  description = "Id of the subnet of nodes, once it has its way out."
  value       = google_compute_subnetwork.nodes.id

  depends_on = [google_compute_router_nat.this, google_compute_firewall.internal]
}

output "private_subnets" {
  description = "Id of the private subnet for each zone: always the same, for it spans them."
  value       = { for zone in var.zones : zone => google_compute_subnetwork.nodes.id }

  depends_on = [google_compute_router_nat.this, google_compute_firewall.internal]
}

output "pod_ranges" {
  description = "Names of the ranges of pods: the cluster's own first, then what GKE takes when that is full."
  value       = keys(local.pods)
}

output "service_range" {
  description = "Name of the range of services."
  value       = "services"
}

output "subnet_name" {
  description = "Name of the subnet, as logs have it."
  value       = google_compute_subnetwork.nodes.name
}

output "nat_name" {
  description = "Name of the address translation, as logs have it."
  value       = google_compute_router_nat.this.name
}
