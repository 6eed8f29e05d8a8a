terraform {
  required_version = ">= 1.8"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 7.0"
    }
  }

  # Where the state lies the provisioner says (`stack.backend`), for each stack another prefix; this backend locks by itself.
  backend "gcs" {}
}

provider "google" {
  project               = var.installation.project
  region                = var.installation.region
  billing_project       = var.installation.project
  user_project_override = true
  default_labels        = local.labels
}
