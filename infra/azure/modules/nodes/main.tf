# Groups of equal nodes, besides the one that the cluster is made with. What has a GPU comes when pods ask for one and goes when none does; what
# a node would be like while there is none, Azure's autoscaler knows from the pool.

locals {
  # Azure puts these on nodes at spot prices itself. Who schedules wants to know of them, and without them here every plan would take them away.
  spot_label = { "kubernetes.azure.com/scalesetpriority" = "spot" }
  spot_taint = { key = "kubernetes.azure.com/scalesetpriority", value = "spot", effect = "NoSchedule" }
  pools = {
    for name, pool in var.pools : name => merge(pool, {
      labels = merge(pool.labels, pool.spot ? local.spot_label : {})
      taints = concat(pool.taints, pool.spot ? [local.spot_taint] : [])
    })
  }

  # All nodes of a pool are in one subnet here, whatever their zones. The pool's name decides which: so a pool that is added moves no other.
  subnets = {
    for name, _ in var.pools : name => var.subnets[var.zones[parseint(substr(sha256(name), 0, 4), 16) % length(var.zones)]]
  }
}

resource "azurerm_kubernetes_cluster_node_pool" "this" {
  for_each = local.pools

  name                        = each.key
  temporary_name_for_rotation = "t${substr(sha256(each.key), 0, 8)}"
  kubernetes_cluster_id       = var.cluster
  orchestrator_version        = var.kubernetes_version
  mode                        = "User"
  vm_size                     = each.value.machine
  zones                       = var.zones
  vnet_subnet_id              = local.subnets[each.key]
  node_public_ip_enabled      = false
  max_pods                    = 110
  tags                        = var.tags

  # Machines differ in whether they have a disk of their own for the system, and how large: this one they all have, under our key.
  os_disk_type            = "Managed"
  os_disk_size_gb         = each.value.disk_gib
  host_encryption_enabled = true

  auto_scaling_enabled = true
  min_count            = each.value.min
  max_count            = each.value.max
  node_count           = each.value.min

  # At spot prices up to that of a node which stays; then it goes.
  priority        = each.value.spot ? "Spot" : "Regular"
  eviction_policy = each.value.spot ? "Delete" : null
  spot_max_price  = each.value.spot ? -1 : null

  # The driver comes with the node; the device plugin is the cluster's.
  gpu_driver = each.value.gpu == null ? null : "Install"

  node_labels = each.value.labels
  node_taints = [for taint in each.value.taints : "${taint.key}=${taint.value}:${taint.effect}"]

  # Nodes at spot prices Azure replaces where they are.
  dynamic "upgrade_settings" {
    for_each = each.value.spot ? [] : [1]

    content {
      max_surge = "10%"
    }
  }

  lifecycle {
    # How many there are now is the autoscaler's to say.
    ignore_changes = [node_count]
  }
}
