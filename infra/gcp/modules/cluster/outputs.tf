output "name" {
  description = "Name of the cluster."
  value       = google_container_cluster.this.name
}

output "workload_pool" {
  description = "The pool that service accounts of the cluster belong to."
  value       = google_container_cluster.this.workload_identity_config[0].workload_pool
}

output "cluster" {
  description = "Name, address and certificate (base64 of PEM) of the API server, version."
  value = {
    name           = google_container_cluster.this.name
    endpoint       = "https://${local.endpoint}"
    ca_certificate = google_container_cluster.this.master_auth[0].cluster_ca_certificate
    version        = google_container_cluster.this.master_version
  }
}

output "node_service_account" {
  description = "E-mail address of the nodes' account, once it has its rights."
  value       = google_service_account.node.email

  depends_on = [google_project_iam_member.node]
}
