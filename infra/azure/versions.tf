terraform {
  required_version = ">= 1.8"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 4.42"
    }
  }

  # Where the state lies is told at `init` (`-backend-config`): a container of a storage account with versions and `use_azuread_auth = true`.
  # The lease that is taken on the blob is the lock, so that nobody applies beside somebody else.
  backend "azurerm" {}
}

# Which subscription is told by the environment (`ARM_SUBSCRIPTION_ID`). The feature `EncryptionAtHost` of Microsoft.Compute is registered in
# it beforehand: the provider registers resource providers, not features.
provider "azurerm" {
  # Accounts of storage take no keys.
  storage_use_azuread = true

  features {
    # What is deleted can be had back, and is had back when it is made again.
    key_vault {
      purge_soft_delete_on_destroy    = false
      recover_soft_deleted_key_vaults = true
    }

    log_analytics_workspace {
      permanently_delete_on_destroy = false
    }

    # Whoever put something beside what is made here hears of it before it is gone.
    resource_group {
      prevent_deletion_if_contains_resources = var.deletion_protection
    }

    # Storage answers inside the network only, and who applies this may be outside.
    storage {
      data_plane_available = false
    }

    # Keys go with their vault; the vendor knows no way to delete them by a template.
    template_deployment {
      delete_nested_items_during_deletion = false
    }
  }
}
