# The key of secrets that External Secrets brings into the cluster. The secrets themselves are put there by their owners, with the prefix
# and in this region with this key: what OpenTofu made would stand in its state.

# In whose name the store uses its key. It need not be there before the first secret: this makes it.
resource "google_project_service_identity" "this" {
  provider = google-beta

  project = var.project
  service = "secretmanager.googleapis.com"
}

resource "google_kms_key_ring" "this" {
  name     = "${var.name}-secrets"
  location = var.region
}

# What is gone with a key is gone for ever, so a key is never destroyed by the way. Who destroys the installation takes its keys out of the
# state first (`tofu state rm`); Google keeps their names.
resource "google_kms_crypto_key" "this" {
  name                       = "${var.name}-secrets"
  key_ring                   = google_kms_key_ring.this.id
  rotation_period            = "7776000s"
  destroy_scheduled_duration = "2592000s"

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_kms_crypto_key_iam_member" "this" {
  crypto_key_id = google_kms_crypto_key.this.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:${google_project_service_identity.this.email}"
}
