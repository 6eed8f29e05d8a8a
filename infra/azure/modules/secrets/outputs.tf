output "vault" {
  description = "The vault: id, name, URI (with a slash at its end)."
  value       = { id = azurerm_key_vault.this.id, name = azurerm_key_vault.this.name, uri = azurerm_key_vault.this.vault_uri }
}

output "prefix" {
  description = "What names of secrets of the installation begin with. Names in a vault know no slash."
  value       = "${var.name}-"
}
