# One identity for each workload, which its service account alone may take, with the rights that it is said to need and no other, each for one
# container or the vault. `scales_nodes` needs none: the autoscaler is Azure's own and part of the cluster.

locals {
  # An identity without any right would be one that nobody needs.
  workloads = {
    for name, workload in var.workloads : name => workload
    if workload.reads_artifacts || workload.writes_results || workload.reads_secrets
  }
}

resource "azurerm_user_assigned_identity" "this" {
  for_each = local.workloads

  name                = "${var.name}-${each.key}"
  resource_group_name = var.resource_group
  location            = var.region
  tags                = var.tags
}

# The cluster says whose pod asks: this namespace's, this account's, and no other's.
resource "azurerm_federated_identity_credential" "this" {
  for_each = local.workloads

  name                = each.key
  resource_group_name = var.resource_group
  parent_id           = azurerm_user_assigned_identity.this[each.key].id
  issuer              = var.issuer
  audience            = ["api://AzureADTokenExchange"]
  subject             = "system:serviceaccount:${each.value.namespace}:${each.value.service_account}"
}

resource "azurerm_role_assignment" "artifacts" {
  for_each = { for name, workload in local.workloads : name => workload if workload.reads_artifacts }

  scope                = var.artifacts.id
  role_definition_name = "Storage Blob Data Reader"
  principal_id         = azurerm_user_assigned_identity.this[each.key].principal_id
  principal_type       = "ServicePrincipal"
}

# Results are written once and read back as proof; they are never deleted by who writes them, which the role alone would let them be.
resource "azurerm_role_assignment" "results" {
  for_each = { for name, workload in local.workloads : name => workload if workload.writes_results }

  scope                = var.results.id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = azurerm_user_assigned_identity.this[each.key].principal_id
  principal_type       = "ServicePrincipal"
  condition_version    = "2.0"
  condition            = "((!(ActionMatches{'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete'})))"
}

resource "azurerm_role_assignment" "secrets" {
  for_each = { for name, workload in local.workloads : name => workload if workload.reads_secrets }

  scope                = var.vault
  role_definition_name = "Key Vault Secrets User"
  principal_id         = azurerm_user_assigned_identity.this[each.key].principal_id
  principal_type       = "ServicePrincipal"
}
