# The baseline that is there before anything runs: the workspace that all logs go to, and the rule by which those of pods get there. Azure
# encrypts it with keys of its own; with ours it would only from 100 GB a day on.

resource "azurerm_log_analytics_workspace" "this" {
  name                         = "${var.name}-logs"
  resource_group_name          = var.resource_group
  location                     = var.region
  sku                          = "PerGB2018"
  retention_in_days            = var.retention_days
  local_authentication_enabled = false
  tags                         = var.tags
}

locals {
  # Logs and events, and what says whose they are. Metrics are Prometheus' part.
  streams = ["Microsoft-ContainerLogV2", "Microsoft-KubeEvents", "Microsoft-KubePodInventory"]
}

resource "azurerm_monitor_data_collection_rule" "pods" {
  name                = "${var.name}-pods"
  resource_group_name = var.resource_group
  location            = var.region
  kind                = "Linux"
  tags                = var.tags

  destinations {
    log_analytics {
      name                  = "logs"
      workspace_resource_id = azurerm_log_analytics_workspace.this.id
    }
  }

  data_flow {
    streams      = local.streams
    destinations = ["logs"]
  }

  data_sources {
    extension {
      name           = "ContainerInsightsExtension"
      extension_name = "ContainerInsights"
      streams        = local.streams
      extension_json = jsonencode({
        dataCollectionSettings = { interval = "1m", namespaceFilteringMode = "Off", enableContainerLogV2 = true }
      })
    }
  }
}
