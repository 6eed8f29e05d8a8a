output "key" {
  description = "ARN of the key that logs are encrypted with."
  value       = aws_kms_key.logs.arn
}

output "log_group" {
  description = "Where the logs of pods go."
  value       = aws_cloudwatch_log_group.pods.name
}
