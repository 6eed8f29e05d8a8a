output "accounts" {
  description = "E-mail addresses of the accounts, by workload; who has no right has none."
  value       = { for name, account in google_service_account.this : name => account.email }
}
