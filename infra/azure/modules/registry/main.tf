# Images of the installation, reached from within the network only. Azure knows no registry whose tags stay what they are; deployments name
# digests. It is encrypted with the vendor's own keys: to a closed vault a registry gets only as itself, and it is nobody before it is made.

resource "azurerm_container_registry" "this" {
  #checkov:skip=CKV_AZURE_164:The service gives up its trust policy; signatures are verified by who pulls
  #checkov:skip=CKV_AZURE_165:Three zones hold every image; it does not leave the region that was named
  #checkov:skip=CKV_AZURE_166:In quarantine an image waits for a scanner that lets it go, and there is none of ours
  name                          = "${replace(var.name, "-", "")}${var.suffix}"
  resource_group_name           = var.resource_group
  location                      = var.region
  sku                           = "Premium"
  admin_enabled                 = false
  anonymous_pull_enabled        = false
  public_network_access_enabled = false
  export_policy_enabled         = false
  data_endpoint_enabled         = true
  zone_redundancy_enabled       = true
  tags                          = var.tags

  # What no tag names any more goes after two weeks.
  retention_policy_in_days = 14

  # Defender scans images as a service that is trusted.
  network_rule_bypass_option = "AzureServices"
}

resource "azurerm_private_endpoint" "this" {
  name                = "${var.name}-registry"
  resource_group_name = var.resource_group
  location            = var.region
  subnet_id           = var.endpoints_subnet
  tags                = var.tags

  private_service_connection {
    name                           = "registry"
    private_connection_resource_id = azurerm_container_registry.this.id
    subresource_names              = ["registry"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "registry"
    private_dns_zone_ids = [var.dns_zone]
  }
}

resource "azurerm_role_assignment" "pull" {
  scope                = azurerm_container_registry.this.id
  role_definition_name = "AcrPull"
  principal_id         = var.puller
  principal_type       = "ServicePrincipal"
}

resource "azurerm_monitor_diagnostic_setting" "this" {
  name                       = "logs"
  target_resource_id         = azurerm_container_registry.this.id
  log_analytics_workspace_id = var.workspace

  enabled_log {
    category_group = "allLogs"
  }
}
