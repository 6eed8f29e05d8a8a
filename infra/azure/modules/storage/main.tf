# Volumes for pods, and two containers: artifacts, which are read by digest, and results. Nothing in them is public, no key but an identity opens
# them, and what is overwritten or deleted can be had back for a month.

# Keys are made by the vendor's control plane: the vault answers inside the network only, and who applies this is outside the first time.
# A key that is there already stays as it is.
resource "azurerm_resource_group_template_deployment" "keys" {
  name                = "${var.name}-keys"
  resource_group_name = var.resource_group
  deployment_mode     = "Incremental"
  tags                = var.tags

  template_content = jsonencode({
    "$schema"      = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
    contentVersion = "1.0.0.0"
    resources = [
      {
        type       = "Microsoft.KeyVault/vaults/keys"
        apiVersion = "2023-07-01"
        name       = "${var.vault.name}/buckets"
        tags       = var.tags
        properties = {
          kty     = "RSA-HSM"
          keySize = 3072
          keyOps  = ["unwrapKey", "wrapKey"]
          # Every year another version, which storage follows by itself. Old ones do not expire: a key that does takes what it opens with it.
          rotationPolicy = { lifetimeActions = [{ action = { type = "rotate" }, trigger = { timeAfterCreate = "P1Y" } }] }
        }
      },
      # Disks stay with the version that they are told: to follow, the provider would ask the vault itself. Whoever makes another version of this
      # key applies with `-replace` of this deployment, and new and old disks go over to it.
      {
        type       = "Microsoft.KeyVault/vaults/keys"
        apiVersion = "2023-07-01"
        name       = "${var.vault.name}/volumes"
        tags       = var.tags
        properties = {
          kty     = "RSA-HSM"
          keySize = 3072
          keyOps  = ["unwrapKey", "wrapKey"]
        }
      },
    ]
    outputs = {
      volumes = {
        type  = "string"
        value = "[reference(resourceId('Microsoft.KeyVault/vaults/keys', '${var.vault.name}', 'volumes')).keyUriWithVersion]"
      }
    }
  })
}

# Who disks and storage are to the vault: somebody who may wrap with these two keys and do nothing else. Rights take minutes to be known; a
# first `apply` that is refused the key for that is repeated.
resource "azurerm_user_assigned_identity" "this" {
  name                = "${var.name}-storage"
  resource_group_name = var.resource_group
  location            = var.region
  tags                = var.tags
}

resource "azurerm_role_assignment" "keys" {
  for_each = toset(["buckets", "volumes"])

  scope                = "${var.vault.id}/keys/${each.key}"
  role_definition_name = "Key Vault Crypto Service Encryption User"
  principal_id         = azurerm_user_assigned_identity.this.principal_id
  principal_type       = "ServicePrincipal"

  depends_on = [azurerm_resource_group_template_deployment.keys]
}

resource "azurerm_disk_encryption_set" "this" {
  name                = "${var.name}-volumes"
  resource_group_name = var.resource_group
  location            = var.region
  key_vault_key_id    = jsondecode(azurerm_resource_group_template_deployment.keys.output_content).volumes.value
  encryption_type     = "EncryptionAtRestWithCustomerKey"
  tags                = var.tags

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.this.id]
  }

  depends_on = [azurerm_role_assignment.keys]
}

#trivy:ignore:AZU-0057 It has no queues; reads, writes and deletions of blobs are logged by the diagnostic setting below.
#trivy:ignore:AZU-0058 Three zones hold every blob; it does not leave the region that was named.
resource "azurerm_storage_account" "this" {
  #checkov:skip=CKV_AZURE_33:It has no queues
  #checkov:skip=CKV_AZURE_206:Three zones hold every blob; it does not leave the region that was named
  name                             = "${substr(replace(var.name, "-", ""), 0, 12)}data${var.suffix}"
  resource_group_name              = var.resource_group
  location                         = var.region
  account_kind                     = "StorageV2"
  account_tier                     = "Standard"
  account_replication_type         = "ZRS"
  min_tls_version                  = "TLS1_2"
  https_traffic_only_enabled       = true
  public_network_access_enabled    = false
  allow_nested_items_to_be_public  = false
  shared_access_key_enabled        = false
  local_user_enabled               = false
  cross_tenant_replication_enabled = false
  default_to_oauth_authentication  = true

  # The vendor's own keys beneath ours.
  infrastructure_encryption_enabled = true

  tags = var.tags

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.this.id]
  }

  # Without a version: the newest.
  customer_managed_key {
    key_vault_key_id          = "${var.vault.uri}keys/buckets"
    user_assigned_identity_id = azurerm_user_assigned_identity.this.id
  }

  network_rules {
    default_action = "Deny"
    bypass         = ["AzureServices"]
  }

  blob_properties {
    versioning_enabled = true

    delete_retention_policy {
      days = 30
    }

    container_delete_retention_policy {
      days = 30
    }
  }

  depends_on = [azurerm_role_assignment.keys]
}

resource "azurerm_storage_container" "this" {
  #checkov:skip=CKV2_AZURE_21:The diagnostic setting logs reads too; storage insights would need the account's key, which is off
  for_each = toset(["artifacts", "results"])

  name                  = each.key
  storage_account_id    = azurerm_storage_account.this.id
  container_access_type = "private"
}

# What is no longer the newest goes after a month, and can be had back for another.
resource "azurerm_storage_management_policy" "this" {
  storage_account_id = azurerm_storage_account.this.id

  rule {
    name    = "old-versions"
    enabled = true

    filters {
      blob_types = ["blockBlob"]
    }

    actions {
      version {
        delete_after_days_since_creation = 30
      }
    }
  }
}

resource "azurerm_private_endpoint" "this" {
  name                = "${var.name}-blob"
  resource_group_name = var.resource_group
  location            = var.region
  subnet_id           = var.endpoints_subnet
  tags                = var.tags

  private_service_connection {
    name                           = "blob"
    private_connection_resource_id = azurerm_storage_account.this.id
    subresource_names              = ["blob"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "blob"
    private_dns_zone_ids = [var.dns_zone]
  }
}

resource "azurerm_monitor_diagnostic_setting" "this" {
  name                       = "logs"
  target_resource_id         = "${azurerm_storage_account.this.id}/blobServices/default"
  log_analytics_workspace_id = var.workspace

  dynamic "enabled_log" {
    for_each = toset(["StorageDelete", "StorageRead", "StorageWrite"])

    content {
      category = enabled_log.value
    }
  }
}
