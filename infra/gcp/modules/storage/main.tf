# Volumes for pods, and two buckets: artifacts, which are read by digest, and results. Nothing in them can be made public, and what is
# overwritten or deleted can be had back for a month.

# Who writes objects in the name of the storage service; asking for it makes it.
data "google_storage_project_service_account" "this" {}

resource "google_kms_key_ring" "this" {
  name     = "${var.name}-storage"
  location = var.region
}

# What is gone with a key is gone for ever, so a key is never destroyed by the way. Who destroys the installation takes its keys out of the
# state first (`tofu state rm`); Google keeps their names.
resource "google_kms_crypto_key" "this" {
  name                       = "${var.name}-storage"
  key_ring                   = google_kms_key_ring.this.id
  rotation_period            = "7776000s"
  destroy_scheduled_duration = "2592000s"

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_kms_crypto_key_iam_member" "objects" {
  crypto_key_id = google_kms_crypto_key.this.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:${data.google_storage_project_service_account.this.email_address}"

  lifecycle {
    # Never another in the same project; but unknown, and so granted anew, whenever a service is turned on.
    ignore_changes = [member]
  }
}

# Disks of nodes and volumes of pods: the service of machines encrypts both.
resource "google_kms_crypto_key_iam_member" "disks" {
  crypto_key_id = google_kms_crypto_key.this.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:service-${var.project_number}@compute-system.iam.gserviceaccount.com"
}

locals {
  # Names of buckets are the whole world's: the project's number makes them ours.
  buckets = { for use in ["artifacts", "results"] : use => "${var.name}-${use}-${var.project_number}" }
}

# It holds who read and wrote the others.
#trivy:ignore:AVD-GCP-0077
resource "google_storage_bucket" "access_logs" {
  #checkov:skip=CKV_GCP_62:it is where the others' access logs go; logs of its own would have no end
  name                        = "${var.name}-access-logs-${var.project_number}"
  location                    = var.region
  force_destroy               = !var.deletion_protection
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true
  }

  encryption {
    default_kms_key_name = google_kms_crypto_key.this.id
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      days_since_noncurrent_time = 30
      with_state                 = "ARCHIVED"
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.objects]
}

# The group that Google delivers access logs by.
resource "google_storage_bucket_iam_member" "access_logs" {
  bucket = google_storage_bucket.access_logs.name
  role   = "roles/storage.objectCreator"
  member = "group:cloud-storage-analytics@google.com"
}

resource "google_storage_bucket" "this" {
  for_each = local.buckets

  name                        = each.value
  location                    = var.region
  force_destroy               = !var.deletion_protection
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true
  }

  encryption {
    default_kms_key_name = google_kms_crypto_key.this.id
  }

  logging {
    log_bucket        = google_storage_bucket.access_logs.name
    log_object_prefix = each.key
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      days_since_noncurrent_time = 30
      with_state                 = "ARCHIVED"
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }

    condition {
      age = 7
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.objects, google_storage_bucket_iam_member.access_logs]
}
