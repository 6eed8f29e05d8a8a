# The API server, in all zones of the region. It answers inside the network, and outside only to the blocks that are named; what it stores
# of secrets is encrypted with a key of the installation; all five kinds of its logs are kept.

resource "google_kms_key_ring" "this" {
  name     = "${var.name}-cluster"
  location = var.region
}

# What is gone with a key is gone for ever, so a key is never destroyed by the way. Who destroys the installation takes its keys out of the
# state first (`tofu state rm`); Google keeps their names.
resource "google_kms_crypto_key" "secrets" {
  name                       = "${var.name}-cluster"
  key_ring                   = google_kms_key_ring.this.id
  rotation_period            = "7776000s"
  destroy_scheduled_duration = "2592000s"

  lifecycle {
    prevent_destroy = true
  }
}

# GKE itself, in this project.
resource "google_kms_crypto_key_iam_member" "secrets" {
  crypto_key_id = google_kms_crypto_key.secrets.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:service-${var.project_number}@container-engine-robot.iam.gserviceaccount.com"
}

# Two hyphens: no workload's account can have this name.
resource "google_service_account" "node" {
  account_id   = "${var.name}--nodes"
  display_name = "Nodes of ${var.name}"
}

# What a node itself needs: to say how it is. Images it may pull from the registry of the installation alone, which says so itself. What
# pods need they have by their own identity.
resource "google_project_iam_member" "node" {
  project = var.project
  role    = "roles/container.defaultNodeServiceAccount"
  member  = "serviceAccount:${google_service_account.node.email}"
}

resource "google_container_cluster" "this" {
  #checkov:skip=CKV_GCP_12:dataplane V2 enforces network policies by itself and excludes the add-on that this rule asks for
  #checkov:skip=CKV_GCP_65:groups are given their rights by IAM; groups in RBAC need a Workspace domain, which not every organization has
  #checkov:skip=CKV_GCP_67:the root refuses versions below 1.29, and nodes turn the old endpoints off
  #checkov:skip=CKV2_GCP_25:the API server is in all zones of the region; how many nodes are spread over, two or three, is a variable
  name                = var.name
  location            = var.region
  node_locations      = var.zones
  min_master_version  = var.kubernetes_version
  deletion_protection = var.deletion_protection

  # Nodes and disks inherit it: what they cost can be told from the rest.
  resource_labels = { "slipway-part" = "cluster" }

  network                     = var.network
  subnetwork                  = var.subnet
  networking_mode             = "VPC_NATIVE"
  datapath_provider           = "ADVANCED_DATAPATH"
  enable_intranode_visibility = true

  # A node takes twice as many addresses as it may have pods. With 64 a block of /18 holds 128 nodes, with GKE's 110 half as many.
  default_max_pods_per_node = 64

  ip_allocation_policy {
    cluster_secondary_range_name  = var.pod_ranges[0]
    services_secondary_range_name = var.service_range

    dynamic "additional_pod_ranges_config" {
      for_each = length(var.pod_ranges) > 1 ? [slice(var.pod_ranges, 1, length(var.pod_ranges))] : []

      content {
        pod_range_names = additional_pod_ranges_config.value
      }
    }
  }

  private_cluster_config {
    enable_private_nodes    = true
    enable_private_endpoint = length(var.api_access) == 0
  }

  master_authorized_networks_config {
    gcp_public_cidrs_access_enabled      = false
    private_endpoint_enforcement_enabled = true

    cidr_blocks {
      cidr_block   = var.address_space
      display_name = "the network itself"
    }

    dynamic "cidr_blocks" {
      for_each = toset(var.api_access)

      content {
        cidr_block   = cidr_blocks.value
        display_name = "api_access"
      }
    }
  }

  master_auth {
    client_certificate_config {
      issue_client_certificate = false
    }
  }

  # A slip in a chart shall not hand rights to whoever has no account, or to everybody who has one with Google.
  rbac_binding_config {
    enable_insecure_binding_system_unauthenticated = false
    enable_insecure_binding_system_authenticated   = false
  }

  database_encryption {
    state    = "ENCRYPTED"
    key_name = google_kms_crypto_key.secrets.id
  }

  workload_identity_config {
    workload_pool = "${var.project}.svc.id.goog"
  }

  # Which images may run, the project's policy says; by default it allows all.
  binary_authorization {
    evaluation_mode = "PROJECT_SINGLETON_POLICY_ENFORCE"
  }

  # Images are scanned in the registry.
  security_posture_config {
    mode = "BASIC"
  }

  enable_shielded_nodes = true

  release_channel {
    channel = "REGULAR"
  }

  # Nights of weekends, in UTC. GKE wants at least 48 hours in 32 days.
  maintenance_policy {
    recurring_window {
      start_time = "2025-01-04T00:00:00Z"
      end_time   = "2025-01-04T06:00:00Z"
      recurrence = "FREQ=WEEKLY;BYDAY=SA,SU"
    }
  }

  cost_management_config {
    enabled = true
  }

  logging_config {
    enable_components = ["SYSTEM_COMPONENTS", "WORKLOADS", "APISERVER", "SCHEDULER", "CONTROLLER_MANAGER"]
  }

  monitoring_config {
    enable_components = ["SYSTEM_COMPONENTS", "APISERVER", "SCHEDULER", "CONTROLLER_MANAGER"]

    managed_prometheus {
      enabled = true
    }
  }

  gateway_api_config {
    channel = "CHANNEL_STANDARD"
  }

  addons_config {
    gce_persistent_disk_csi_driver_config {
      enabled = true
    }

    dns_cache_config {
      enabled = true
    }

    # Gateways are its work too.
    http_load_balancing {
      disabled = false
    }
  }

  # GKE makes no cluster without nodes. These go at once, but while they are there they are not of the project's default account, and their
  # disks are encrypted like others.
  remove_default_node_pool = true
  initial_node_count       = 1

  node_config {
    image_type        = "COS_CONTAINERD"
    service_account   = google_service_account.node.email
    oauth_scopes      = ["https://www.googleapis.com/auth/cloud-platform"]
    boot_disk_kms_key = var.disk_key
    metadata          = { "disable-legacy-endpoints" = "true" }

    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }

    workload_metadata_config {
      mode = "GKE_METADATA"
    }
  }

  lifecycle {
    # Of a pool that is gone; a difference would make the cluster anew.
    ignore_changes = [node_config]
  }

  depends_on = [google_kms_crypto_key_iam_member.secrets, google_project_iam_member.node]
}

locals {
  cluster = google_container_cluster.this.id

  # `endpoint` may be the outer address even where nobody is answered there.
  endpoint = (
    length(var.api_access) == 0
    ? google_container_cluster.this.private_cluster_config[0].private_endpoint
    : google_container_cluster.this.endpoint
  )
}

# `container.admin` is the narrowest of Google's roles that may do everything in a cluster; the condition keeps it to this one. What is in
# the cluster has names below the cluster's.
resource "google_project_iam_member" "administrators" {
  for_each = toset(var.administrators)

  project = var.project
  role    = "roles/container.admin"
  member  = each.key

  condition {
    title       = "${var.name}-only"
    description = "The cluster of the installation, and what is in it"
    expression  = "resource.name == \"${local.cluster}\" || resource.name.startsWith(\"${local.cluster}/\")"
  }
}
