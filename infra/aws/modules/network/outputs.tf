output "id" {
  description = "Id of the network."
  value       = aws_vpc.this.id
}

output "private_subnets" {
  description = "Ids of the private subnets by zone, once they have their way out."
  value       = { for zone, subnet in aws_subnet.private : zone => subnet.id }

  depends_on = [aws_route.outward, aws_route_table_association.private, aws_vpc_endpoint.services]
}
