# Images of the installation: scanned when they come, never overwritten, so that a digest and a tag always mean the same.

# In whose name the registry uses its key. It need not be there before the first image: this makes it.
resource "google_project_service_identity" "this" {
  provider = google-beta

  project = var.project
  service = "artifactregistry.googleapis.com"
}

resource "google_kms_key_ring" "this" {
  name     = "${var.name}-registry"
  location = var.region
}

# What is gone with a key is gone for ever, so a key is never destroyed by the way. Who destroys the installation takes its keys out of the
# state first (`tofu state rm`); Google keeps their names.
resource "google_kms_crypto_key" "this" {
  name                       = "${var.name}-registry"
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

# One for all images: here a repository is what holds them, not what they are called.
resource "google_artifact_registry_repository" "this" {
  repository_id = var.name
  location      = var.region
  description   = "Images of ${var.name}"
  format        = "DOCKER"
  kms_key_name  = google_kms_crypto_key.this.id

  docker_config {
    immutable_tags = true
  }

  # As the project has it, and there it is turned on.
  vulnerability_scanning_config {
    enablement_config = "INHERITED"
  }

  # What no tag names any more goes after two weeks.
  cleanup_policies {
    id     = "untagged"
    action = "DELETE"

    condition {
      tag_state  = "UNTAGGED"
      older_than = "1209600s"
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.this]
}

resource "google_artifact_registry_repository_iam_member" "readers" {
  for_each = var.readers

  location   = google_artifact_registry_repository.this.location
  repository = google_artifact_registry_repository.this.name
  role       = "roles/artifactregistry.reader"
  member     = "serviceAccount:${each.value}"
}
