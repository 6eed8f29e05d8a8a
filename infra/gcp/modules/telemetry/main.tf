# The baseline that is there before anything runs: where logs of the cluster, its pods and its network go, encrypted and for how long.

data "google_logging_project_cmek_settings" "this" {
  project = var.project
}

resource "google_kms_key_ring" "this" {
  name     = "${var.name}-logs"
  location = var.region
}

# What is gone with a key is gone for ever, so a key is never destroyed by the way. Who destroys the installation takes its keys out of the
# state first (`tofu state rm`); Google keeps their names.
resource "google_kms_crypto_key" "logs" {
  name                       = "${var.name}-logs"
  key_ring                   = google_kms_key_ring.this.id
  rotation_period            = "7776000s"
  destroy_scheduled_duration = "2592000s"

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_kms_crypto_key_iam_member" "logs" {
  crypto_key_id = google_kms_crypto_key.logs.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:${data.google_logging_project_cmek_settings.this.service_account_id}"

  lifecycle {
    # Never another in the same project; but unknown, and so granted anew, whenever a service is turned on.
    ignore_changes = [member]
  }
}

resource "google_logging_project_bucket_config" "this" {
  project        = var.project
  location       = var.region
  bucket_id      = var.name
  description    = "Logs of ${var.name}"
  retention_days = var.retention_days

  cmek_settings {
    kms_key_name = google_kms_crypto_key.logs.id
  }

  depends_on = [google_kms_crypto_key_iam_member.logs]
}

locals {
  filters = {
    cluster = "resource.labels.cluster_name=\"${var.name}\" AND resource.labels.location=\"${var.region}\""
    network = join(" OR ", [
      "(resource.type=\"gce_subnetwork\" AND resource.labels.subnetwork_name=\"${var.subnet}\" AND resource.labels.location:\"${var.region}\")",
      "(resource.type=\"nat_gateway\" AND resource.labels.gateway_name=\"${var.nat}\" AND resource.labels.region=\"${var.region}\")",
    ])
  }
}

# Into a bucket of the same project a sink may write without being given the right.
resource "google_logging_project_sink" "this" {
  for_each = local.filters

  name                   = "${var.name}-${each.key}"
  description            = "Logs of the ${each.key} of ${var.name}"
  destination            = "logging.googleapis.com/${google_logging_project_bucket_config.this.id}"
  filter                 = each.value
  unique_writer_identity = true
}

# Google keeps all logs of a project in a bucket of its own besides, for a month and with its own key. These are not kept, and paid, twice.
resource "google_logging_project_exclusion" "this" {
  for_each = local.filters

  name        = "${var.name}-${each.key}"
  description = "Kept in the bucket ${var.name}"
  filter      = each.value

  depends_on = [google_logging_project_sink.this]
}
