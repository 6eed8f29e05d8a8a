output "url" {
  description = "What comes before the name of an image."
  value       = azurerm_container_registry.this.login_server
}
