output "service_accounts" {
  description = "Annotations and labels of each workload's service account, by workload; its pods bear the labels too. Without a right there are none."
  value = {
    for name, _ in var.workloads : name => {
      annotations = {
        for workload, identity in azurerm_user_assigned_identity.this :
        "azure.workload.identity/client-id" => identity.client_id if workload == name
      }
      labels = { for workload, _ in azurerm_user_assigned_identity.this : "azure.workload.identity/use" => "true" if workload == name }
    }
  }
}
