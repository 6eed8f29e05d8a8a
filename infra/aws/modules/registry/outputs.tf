output "url" {
  description = "What comes before the name of an image."
  value       = trimsuffix(aws_ecr_repository.this["slipway"].repository_url, "/slipway")
}
