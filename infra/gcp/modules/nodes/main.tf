# Groups of equal nodes. GKE's own autoscaler grows and shrinks them: what has a GPU comes when pods ask for one and goes when none does.

locals {
  effects = { NoSchedule = "NO_SCHEDULE", PreferNoSchedule = "PREFER_NO_SCHEDULE", NoExecute = "NO_EXECUTE" }

  # Google counts in each zone at first. Rounded up where that stays below the limit: the smallest number is to be there from the start.
  zones = length(var.zones)
  first = {
    for name, pool in var.pools : name =>
    ceil(pool.min / local.zones) * local.zones <= pool.max ? ceil(pool.min / local.zones) : floor(pool.min / local.zones)
  }
}

resource "google_container_node_pool" "this" {
  for_each = var.pools

  name               = each.key
  cluster            = var.cluster
  location           = var.region
  node_locations     = var.zones
  initial_node_count = local.first[each.key]

  autoscaling {
    total_min_node_count = each.value.min
    total_max_node_count = each.value.max

    # Spot machines, and GPUs, are taken where there are any.
    location_policy = each.value.spot || each.value.gpu != null ? "ANY" : "BALANCED"
  }

  management {
    auto_repair  = true
    auto_upgrade = true
  }

  # A node more while one is renewed; of GPUs there is seldom one to spare.
  upgrade_settings {
    strategy        = "SURGE"
    max_surge       = each.value.gpu == null ? 1 : 0
    max_unavailable = each.value.gpu == null ? 0 : 1
  }

  node_config {
    machine_type = each.value.machine
    image_type   = "COS_CONTAINERD"
    spot         = each.value.spot

    # Of which kind is left to GKE: balanced persistent disks, and hyperdisks for machines that take no other.
    disk_size_gb      = each.value.disk_gib
    boot_disk_kms_key = var.disk_key

    service_account = var.service_account
    # What an account may do its roles say; scopes are older than roles and only stand in the way.
    oauth_scopes = ["https://www.googleapis.com/auth/cloud-platform"]

    labels          = each.value.labels
    resource_labels = var.labels
    metadata        = { "disable-legacy-endpoints" = "true" }

    # Machines that are made with GPUs (A2, A3, G2) want to be told of them like any other.
    dynamic "guest_accelerator" {
      for_each = each.value.gpu == null ? [] : [each.value.gpu]

      content {
        type  = guest_accelerator.value.type
        count = guest_accelerator.value.count

        gpu_driver_installation_config {
          gpu_driver_version = "DEFAULT"
        }
      }
    }

    dynamic "taint" {
      for_each = each.value.taints

      content {
        key    = taint.value.key
        value  = taint.value.value
        effect = local.effects[taint.value.effect]
      }
    }

    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }

    # Credentials of the node are for the node: pods see a server that gives them their own.
    workload_metadata_config {
      mode = "GKE_METADATA"
    }

    kubelet_config {
      insecure_kubelet_readonly_port_enabled = "FALSE"
    }
  }

  lifecycle {
    # How many there are now is the autoscaler's to say.
    ignore_changes = [initial_node_count]
  }
}
