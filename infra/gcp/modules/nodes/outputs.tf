output "service_account" {
  description = "E-mail address of the nodes' account, once it has its rights."
  value       = google_service_account.node.email

  depends_on = [google_project_iam_member.node]
}
