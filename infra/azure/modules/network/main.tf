# Nodes are in private subnets and reach out through one address for each zone; the vault, the registry and the storage are reached without
# leaving the network. Every packet that is let through or refused is logged.

resource "azurerm_resource_group" "this" {
  name     = var.name
  location = var.region
  tags     = var.tags
}

resource "azurerm_virtual_network" "this" {
  name                = var.name
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  address_space       = [var.address_space]
  tags                = var.tags

  lifecycle {
    # Subnets are resources of their own.
    ignore_changes = [subnet]
  }
}

# Subnets span zones in Azure. There is one for each zone all the same: an address of the way out lies in one zone, and what leaves through it
# stands and falls with that zone alone.
resource "azurerm_subnet" "private" {
  for_each = var.private_subnets

  name                            = "${var.name}-private-${each.key}"
  resource_group_name             = azurerm_resource_group.this.name
  virtual_network_name            = azurerm_virtual_network.this.name
  address_prefixes                = [each.value]
  default_outbound_access_enabled = false
}

resource "azurerm_subnet" "endpoints" {
  name                              = "${var.name}-endpoints"
  resource_group_name               = azurerm_resource_group.this.name
  virtual_network_name              = azurerm_virtual_network.this.name
  address_prefixes                  = [var.endpoints_subnet]
  default_outbound_access_enabled   = false
  private_endpoint_network_policies = "NetworkSecurityGroupEnabled"
}

# What every group has beneath its own rules lets in the network itself and the probes of load balancers, and nothing else. Pods have
# addresses that are not the network's, so they are let in by name.
resource "azurerm_network_security_group" "private" {
  name                = "${var.name}-private"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  tags                = var.tags

  security_rule {
    name                       = "pods"
    description                = "Pods of other nodes"
    priority                   = 100
    direction                  = "Inbound"
    access                     = "Allow"
    protocol                   = "*"
    source_address_prefix      = var.pods
    source_port_range          = "*"
    destination_address_prefix = "*"
    destination_port_range     = "*"
  }
}

resource "azurerm_network_security_group" "endpoints" {
  name                = "${var.name}-endpoints"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  tags                = var.tags

  security_rule {
    name                       = "https"
    description                = "HTTPS from within the network"
    priority                   = 100
    direction                  = "Inbound"
    access                     = "Allow"
    protocol                   = "Tcp"
    source_address_prefix      = var.address_space
    source_port_range          = "*"
    destination_address_prefix = var.endpoints_subnet
    destination_port_range     = "443"
  }

  security_rule {
    name                       = "nothing-else"
    description                = "Not even from within the network"
    priority                   = 4096
    direction                  = "Inbound"
    access                     = "Deny"
    protocol                   = "*"
    source_address_prefix      = "*"
    source_port_range          = "*"
    destination_address_prefix = "*"
    destination_port_range     = "*"
  }
}

resource "azurerm_subnet_network_security_group_association" "private" {
  for_each = var.private_subnets

  subnet_id                 = azurerm_subnet.private[each.key].id
  network_security_group_id = azurerm_network_security_group.private.id
}

resource "azurerm_subnet_network_security_group_association" "endpoints" {
  subnet_id                 = azurerm_subnet.endpoints.id
  network_security_group_id = azurerm_network_security_group.endpoints.id
}

resource "azurerm_public_ip" "nat" {
  for_each = var.private_subnets

  name                = "${var.name}-nat-${each.key}"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  allocation_method   = "Static"
  sku                 = "Standard"
  zones               = [each.key]
  tags                = var.tags
}

# One for each zone: a zone that fails takes no other's way out with it.
resource "azurerm_nat_gateway" "this" {
  for_each = var.private_subnets

  name                = "${var.name}-${each.key}"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  sku_name            = "Standard"
  zones               = [each.key]
  tags                = var.tags
}

resource "azurerm_nat_gateway_public_ip_association" "this" {
  for_each = var.private_subnets

  nat_gateway_id       = azurerm_nat_gateway.this[each.key].id
  public_ip_address_id = azurerm_public_ip.nat[each.key].id
}

resource "azurerm_subnet_nat_gateway_association" "private" {
  for_each = var.private_subnets

  subnet_id      = azurerm_subnet.private[each.key].id
  nat_gateway_id = azurerm_nat_gateway.this[each.key].id
}

# Under their usual names the vendor's services are found at private addresses.
locals {
  dns_zones = {
    blob     = "privatelink.blob.core.windows.net"
    registry = "privatelink.azurecr.io"
    vault    = "privatelink.vaultcore.azure.net"
  }
}

resource "azurerm_private_dns_zone" "this" {
  for_each = local.dns_zones

  name                = each.value
  resource_group_name = azurerm_resource_group.this.name
  tags                = var.tags
}

resource "azurerm_private_dns_zone_virtual_network_link" "this" {
  for_each = local.dns_zones

  name                  = var.name
  resource_group_name   = azurerm_resource_group.this.name
  private_dns_zone_name = azurerm_private_dns_zone.this[each.key].name
  virtual_network_id    = azurerm_virtual_network.this.id
  registration_enabled  = false
  tags                  = var.tags
}

# Where the flow logs are first. An account for them alone: what writes them also sets the rules after which blobs of the account go.
#trivy:ignore:AZU-0057 It has no queues; who reads and writes its blobs is the flow log service.
#trivy:ignore:AZU-0058 Three zones hold every log; it does not leave the region that was named.
resource "azurerm_storage_account" "flows" {
  #checkov:skip=CKV_AZURE_33:It has no queues
  #checkov:skip=CKV_AZURE_206:Three zones hold every log; it does not leave the region that was named
  #checkov:skip=CKV2_AZURE_1:Addresses and ports are in it, never content; the vendor's own keys encrypt it twice
  #checkov:skip=CKV2_AZURE_33:Nothing in the network reads it; what is read is in Log Analytics
  #checkov:skip=CKV2_AZURE_40:The flow log service writes with the account's key
  name                             = "${substr(replace(var.name, "-", ""), 0, 12)}flow${var.suffix}"
  resource_group_name              = azurerm_resource_group.this.name
  location                         = azurerm_resource_group.this.location
  account_kind                     = "StorageV2"
  account_tier                     = "Standard"
  account_replication_type         = "ZRS"
  min_tls_version                  = "TLS1_2"
  https_traffic_only_enabled       = true
  public_network_access_enabled    = false
  allow_nested_items_to_be_public  = false
  shared_access_key_enabled        = true
  local_user_enabled               = false
  cross_tenant_replication_enabled = false
  default_to_oauth_authentication  = true

  infrastructure_encryption_enabled = true

  tags = var.tags

  # The flow log service is one of those that are trusted.
  network_rules {
    default_action = "Deny"
    bypass         = ["AzureServices"]
  }

  sas_policy {
    expiration_period = "01.00:00:00"
    expiration_action = "Log"
  }

  blob_properties {
    delete_retention_policy {
      days = 7
    }

    container_delete_retention_policy {
      days = 7
    }
  }
}

# The watcher is there as soon as a region has a network: Azure makes it, one for each region, under this name.
resource "azurerm_network_watcher_flow_log" "this" {
  name                 = "${var.name}-flows"
  network_watcher_name = "NetworkWatcher_${azurerm_virtual_network.this.location}"
  resource_group_name  = "NetworkWatcherRG"
  location             = azurerm_virtual_network.this.location
  target_resource_id   = azurerm_virtual_network.this.id
  storage_account_id   = azurerm_storage_account.flows.id
  enabled              = true
  version              = 2
  tags                 = var.tags

  # More than a year Azure does not keep them raw; what Log Analytics makes of them is kept as long as all logs.
  retention_policy {
    enabled = true
    days    = 365
  }

  traffic_analytics {
    enabled               = true
    workspace_id          = var.workspace.guid
    workspace_region      = var.workspace.region
    workspace_resource_id = var.workspace.id
    interval_in_minutes   = 10
  }
}
