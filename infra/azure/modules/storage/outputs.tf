locals {
  containers = {
    for name, container in azurerm_storage_container.this : name => {
      id  = "${azurerm_storage_account.this.id}/blobServices/default/containers/${container.name}"
      uri = "${azurerm_storage_account.this.primary_blob_endpoint}${container.name}"
    }
  }

  # Nobody copies a disk out of the network.
  volume = { diskEncryptionSetID = azurerm_disk_encryption_set.this.id, networkAccessPolicy = "DenyAll", publicNetworkAccess = "Disabled" }
}

output "artifacts" {
  description = "The container of artifacts."
  value       = local.containers["artifacts"]
}

output "results" {
  description = "The container of results."
  value       = local.containers["results"]
}

output "disk_encryption_set" {
  description = "Id of what encrypts the disks of nodes and volumes."
  value       = azurerm_disk_encryption_set.this.id
}

output "classes" {
  description = "Storage classes to make in the cluster, by what they are for."
  value = {
    ephemeral = {
      provisioner         = "disk.csi.azure.com"
      reclaim_policy      = "Delete"
      volume_binding_mode = "WaitForFirstConsumer"
      allow_expansion     = true
      parameters          = merge(local.volume, { skuName = "Premium_LRS" })
    }
    persistent = {
      provisioner         = "disk.csi.azure.com"
      reclaim_policy      = "Retain"
      volume_binding_mode = "WaitForFirstConsumer"
      allow_expansion     = true
      parameters = merge(local.volume, {
        skuName = "PremiumV2_LRS", cachingMode = "None", DiskIOPSReadWrite = "6000", DiskMBpsReadWrite = "250"
      })
    }
  }
}
