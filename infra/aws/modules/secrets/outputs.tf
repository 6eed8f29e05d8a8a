output "prefix" {
  description = "What names of secrets of the installation begin with."
  value       = "${var.name}/"
}

output "key" {
  description = "ARN of the key that they are to be encrypted with."
  value       = module.key.arn
}
