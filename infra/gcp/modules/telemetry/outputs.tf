output "log_bucket" {
  description = "Where the logs go."
  value       = google_logging_project_bucket_config.this.id
}
