# The API server. It answers inside the network, and outside only to the blocks that are named; nobody enters but by Microsoft Entra, and nobody
# is an administrator by having made it; all kinds of its logs are kept.
#
# What it stores is encrypted with the vendor's keys. A key of the installation is left out: what this provider knows of it
# (`key_management_service`) wants the right to change the whole vault, stays with one version of the key, and is the old way to Azure since
# Kubernetes 1.33; the new one the provider does not know.

locals {
  private = length(var.api_access) == 0
}

resource "azurerm_user_assigned_identity" "this" {
  name                = "${var.name}-cluster"
  resource_group_name = var.resource_group
  location            = var.region
  tags                = var.tags
}

# Nodes and internal load balancers take their addresses in these subnets, and nowhere else.
resource "azurerm_role_assignment" "subnets" {
  for_each = var.subnets

  scope                = each.value
  role_definition_name = "Network Contributor"
  principal_id         = azurerm_user_assigned_identity.this.principal_id
  principal_type       = "ServicePrincipal"
}

# It names the set to the disks that it makes.
resource "azurerm_role_assignment" "disks" {
  scope                = var.disk_encryption_set
  role_definition_name = "Reader"
  principal_id         = azurerm_user_assigned_identity.this.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_kubernetes_cluster" "this" {
  #checkov:skip=CKV_AZURE_172:External Secrets reads the vault; the driver that the check means is not there
  #checkov:skip=CKV_AZURE_226:Not every machine has a disk of its own that holds disk_gib; the managed disk is encrypted with our key
  #checkov:skip=CKV_AZURE_232:The services of the installation run on the first pool, beside the cluster's own
  name                      = var.name
  resource_group_name       = var.resource_group
  location                  = var.region
  node_resource_group       = "${var.name}-nodes"
  dns_prefix                = var.name
  sku_tier                  = "Standard"
  kubernetes_version        = var.kubernetes_version
  automatic_upgrade_channel = "patch"
  node_os_upgrade_channel   = "NodeImage"
  disk_encryption_set_id    = var.disk_encryption_set
  tags                      = var.tags

  private_cluster_enabled             = local.private
  private_cluster_public_fqdn_enabled = false
  private_dns_zone_id                 = local.private ? "System" : null

  role_based_access_control_enabled = true
  local_account_disabled            = true
  oidc_issuer_enabled               = true
  workload_identity_enabled         = true
  azure_policy_enabled              = true

  # The right to change the cluster in Azure is no right to run something in it.
  run_command_enabled = false

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.this.id]
  }

  azure_active_directory_role_based_access_control {
    tenant_id              = var.tenant
    azure_rbac_enabled     = true
    admin_group_object_ids = var.administrators
  }

  # Nodes come from outside then, from the addresses of their way out.
  dynamic "api_server_access_profile" {
    for_each = local.private ? [] : [1]

    content {
      authorized_ip_ranges = concat(var.api_access, [for address in var.outward_addresses : "${address}/32"])
    }
  }

  # Its name is not the pool's: if it changed, Azure would make another cluster. Which pool it is, the label says.
  default_node_pool {
    name                         = "slipway"
    temporary_name_for_rotation  = "slipwaytmp"
    orchestrator_version         = var.kubernetes_version
    type                         = "VirtualMachineScaleSets"
    vm_size                      = var.pool.machine
    zones                        = var.zones
    vnet_subnet_id               = var.pool_subnet
    node_public_ip_enabled       = false
    only_critical_addons_enabled = false
    max_pods                     = 110
    os_disk_type                 = "Managed"
    os_disk_size_gb              = var.pool.disk_gib
    host_encryption_enabled      = true
    auto_scaling_enabled         = true
    min_count                    = var.pool.min
    max_count                    = var.pool.max
    node_count                   = var.pool.min
    node_labels                  = var.pool.labels
    tags                         = var.tags

    upgrade_settings {
      max_surge = "10%"
    }
  }

  network_profile {
    network_plugin      = "azure"
    network_plugin_mode = "overlay"
    network_data_plane  = "cilium"
    network_policy      = "cilium"
    load_balancer_sku   = "standard"
    outbound_type       = "userAssignedNATGateway"
    pod_cidr            = var.pods
    service_cidr        = var.services
    dns_service_ip      = cidrhost(var.services, 10)
  }

  # Volumes are disks; nobody asks for shares.
  storage_profile {
    disk_driver_enabled         = true
    snapshot_controller_enabled = true
    file_driver_enabled         = false
    blob_driver_enabled         = false
  }

  # It ships the logs of pods, by the rule below.
  oms_agent {
    log_analytics_workspace_id      = var.workspace
    msi_auth_for_monitoring_enabled = true
  }

  lifecycle {
    # How many there are now is the autoscaler's to say.
    ignore_changes = [default_node_pool[0].node_count]

    precondition {
      condition     = cidrhost("${cidrhost(var.address_space, 0)}/13", 0) != "172.16.0.0"
      error_message = "address_space is `${var.address_space}`; allowed is what lies outside of 172.16.0.0/13, where pods (${var.pods}) and services (${var.services}) have their addresses."
    }
  }

  depends_on = [azurerm_role_assignment.disks, azurerm_role_assignment.subnets]
}

resource "azurerm_monitor_data_collection_rule_association" "pods" {
  name                    = "ContainerInsightsExtension"
  target_resource_id      = azurerm_kubernetes_cluster.this.id
  data_collection_rule_id = var.collection_rule
}

# All kinds there are but one: `kube-audit` holds what `kube-audit-admin` holds.
resource "azurerm_monitor_diagnostic_setting" "this" {
  name                           = "logs"
  target_resource_id             = azurerm_kubernetes_cluster.this.id
  log_analytics_workspace_id     = var.workspace
  log_analytics_destination_type = "Dedicated"

  dynamic "enabled_log" {
    for_each = toset([
      "cloud-controller-manager", "cluster-autoscaler", "csi-azuredisk-controller", "csi-azurefile-controller", "csi-snapshot-controller",
      "guard", "kube-apiserver", "kube-audit", "kube-controller-manager", "kube-scheduler",
    ])

    content {
      category = enabled_log.value
    }
  }
}
