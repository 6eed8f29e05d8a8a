terraform {
  required_version = ">= 1.8"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 7.0"
    }

    # For one resource, which the other has not: it makes the accounts in whose name Google's services use our keys.
    google-beta = {
      source  = "hashicorp/google-beta"
      version = "~> 7.0"
    }
  }

  # Where the state lies is told at `init` (`-backend-config`): a bucket with versions and encryption. This backend locks by itself, so
  # nobody applies beside somebody else.
  backend "gcs" {}
}

# Some services, that of budgets among them, refuse a person's own credentials unless a project is named that answers for the calls.

provider "google" {
  project               = var.project
  region                = var.region
  billing_project       = var.project
  user_project_override = true
  default_labels        = local.labels
}

provider "google-beta" {
  project               = var.project
  region                = var.region
  billing_project       = var.project
  user_project_override = true
}
