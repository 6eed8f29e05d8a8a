output "key" {
  description = "ARN of the key that logs are encrypted with."
  value       = module.key.arn
}

output "log_group" {
  description = "Where the logs of pods go."
  value       = aws_cloudwatch_log_group.pods.name
}
