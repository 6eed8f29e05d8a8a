output "artifacts" {
  description = "Name of the bucket of artifacts."
  value       = google_storage_bucket.this["artifacts"].name
}

output "results" {
  description = "Name of the bucket of results."
  value       = google_storage_bucket.this["results"].name
}

output "key" {
  description = "Id of the key of disks, volumes and buckets, once disks may be encrypted with it."
  value       = google_kms_crypto_key.this.id

  depends_on = [google_kms_crypto_key_iam_member.disks]
}

output "classes" {
  description = "Storage classes to make in the cluster, by what they are for."
  value = {
    ephemeral = {
      provisioner         = "pd.csi.storage.gke.io"
      reclaim_policy      = "Delete"
      volume_binding_mode = "WaitForFirstConsumer"
      allow_expansion     = true
      parameters          = { type = "pd-balanced", "disk-encryption-kms-key" = google_kms_crypto_key.this.id }
    }
    persistent = {
      provisioner         = "pd.csi.storage.gke.io"
      reclaim_policy      = "Retain"
      volume_binding_mode = "WaitForFirstConsumer"
      allow_expansion     = true
      parameters          = { type = "pd-ssd", "disk-encryption-kms-key" = google_kms_crypto_key.this.id }
    }
  }
}
