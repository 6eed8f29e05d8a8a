output "workspace" {
  description = "Where logs go: id, GUID, name and region of the workspace."
  value = {
    id     = azurerm_log_analytics_workspace.this.id
    guid   = azurerm_log_analytics_workspace.this.workspace_id
    name   = azurerm_log_analytics_workspace.this.name
    region = azurerm_log_analytics_workspace.this.location
  }
}

output "collection_rule" {
  description = "Id of the rule by which logs of pods get there."
  value       = azurerm_monitor_data_collection_rule.pods.id
}
