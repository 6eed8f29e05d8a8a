output "id" {
  description = "Id of the cluster."
  value       = azurerm_kubernetes_cluster.this.id
}

output "cluster" {
  description = "Name, address and certificate (base64 of PEM) of the API server, version."
  # The provider takes all of it for a secret. Without local accounts there is none in it: whoever uses it brings a token.
  value = {
    name           = azurerm_kubernetes_cluster.this.name
    endpoint       = nonsensitive(azurerm_kubernetes_cluster.this.kube_config[0].host)
    ca_certificate = nonsensitive(azurerm_kubernetes_cluster.this.kube_config[0].cluster_ca_certificate)
    version        = azurerm_kubernetes_cluster.this.kubernetes_version
  }
}

output "issuer" {
  description = "URL under which the cluster vouches for its service accounts."
  value       = azurerm_kubernetes_cluster.this.oidc_issuer_url
}

output "kubelet" {
  description = "Object id of the identity that nodes pull images with."
  value       = azurerm_kubernetes_cluster.this.kubelet_identity[0].object_id
}

output "node_resource_group" {
  description = "Name of the resource group of nodes and volumes."
  value       = azurerm_kubernetes_cluster.this.node_resource_group
}
