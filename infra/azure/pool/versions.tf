terraform {
  required_version = ">= 1.8"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 4.42"
    }
  }

  # Where the state lies the provisioner says (`stack.backend`), for each stack another key; the lease on the blob locks it.
  backend "azurerm" {}
}

# Which subscription is told by the environment (`ARM_SUBSCRIPTION_ID`). Resource providers were registered with the cluster.
provider "azurerm" {
  resource_provider_registrations = "none"

  features {}
}
