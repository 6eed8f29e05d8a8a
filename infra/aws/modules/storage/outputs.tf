output "artifacts" {
  description = "The bucket of artifacts."
  value       = { name = aws_s3_bucket.this["artifacts"].id, arn = aws_s3_bucket.this["artifacts"].arn }
}

output "results" {
  description = "The bucket of results."
  value       = { name = aws_s3_bucket.this["results"].id, arn = aws_s3_bucket.this["results"].arn }
}

output "key" {
  description = "ARN of the key of volumes and buckets."
  value       = module.key.arn
}

output "classes" {
  description = "Storage classes to make in the cluster, by what they are for."
  value = {
    ephemeral = {
      provisioner         = "ebs.csi.aws.com"
      reclaim_policy      = "Delete"
      volume_binding_mode = "WaitForFirstConsumer"
      allow_expansion     = true
      parameters          = { type = "gp3", encrypted = "true", kmsKeyId = module.key.arn }
    }
    persistent = {
      provisioner         = "ebs.csi.aws.com"
      reclaim_policy      = "Retain"
      volume_binding_mode = "WaitForFirstConsumer"
      allow_expansion     = true
      parameters          = { type = "gp3", encrypted = "true", kmsKeyId = module.key.arn, iops = "6000", throughput = "250" }
    }
  }
}
