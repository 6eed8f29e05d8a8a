# The vault of secrets that External Secrets brings into the cluster, and of the keys of volumes and buckets. The secrets themselves are put
# there by their owners, below the prefix: what OpenTofu made would stand in its state. Keys and secrets have different roles.

resource "azurerm_key_vault" "this" {
  name                          = "${substr(replace(var.name, "-", ""), 0, 15)}-${var.suffix}"
  resource_group_name           = var.resource_group
  location                      = var.region
  tenant_id                     = var.tenant
  sku_name                      = "premium"
  rbac_authorization_enabled    = true
  purge_protection_enabled      = true
  soft_delete_retention_days    = 90
  public_network_access_enabled = false
  tags                          = var.tags

  # Disks and storage fetch their keys as services that are trusted; they have no address in the network.
  network_acls {
    default_action = "Deny"
    bypass         = "AzureServices"
  }
}

resource "azurerm_private_endpoint" "this" {
  name                = "${var.name}-vault"
  resource_group_name = var.resource_group
  location            = var.region
  subnet_id           = var.endpoints_subnet
  tags                = var.tags

  private_service_connection {
    name                           = "vault"
    private_connection_resource_id = azurerm_key_vault.this.id
    subresource_names              = ["vault"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "vault"
    private_dns_zone_ids = [var.dns_zone]
  }
}

resource "azurerm_monitor_diagnostic_setting" "this" {
  name                       = "logs"
  target_resource_id         = azurerm_key_vault.this.id
  log_analytics_workspace_id = var.workspace

  enabled_log {
    category_group = "allLogs"
  }
}
