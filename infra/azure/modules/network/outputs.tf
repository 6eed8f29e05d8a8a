output "resource_group" {
  description = "Name of the resource group that everything but nodes and volumes is in."
  value       = azurerm_resource_group.this.name
}

output "id" {
  description = "Id of the network."
  value       = azurerm_virtual_network.this.id
}

output "private_subnets" {
  description = "Ids of the private subnets by zone, once they have their way out."
  value       = { for zone, subnet in azurerm_subnet.private : zone => subnet.id }

  depends_on = [
    azurerm_nat_gateway_public_ip_association.this, azurerm_subnet_nat_gateway_association.private,
    azurerm_subnet_network_security_group_association.private,
  ]
}

output "endpoints_subnet" {
  description = "Id of the subnet of private endpoints, once it is closed."
  value       = azurerm_subnet.endpoints.id

  depends_on = [azurerm_subnet_network_security_group_association.endpoints]
}

output "dns_zones" {
  description = "Ids of the zones that private endpoints are found in, by service, once the network asks them."
  value       = { for service, zone in azurerm_private_dns_zone.this : service => zone.id }

  depends_on = [azurerm_private_dns_zone_virtual_network_link.this]
}

output "outward_addresses" {
  description = "The addresses that nodes are seen at from outside."
  value       = [for address in azurerm_public_ip.nat : address.ip_address]
}
