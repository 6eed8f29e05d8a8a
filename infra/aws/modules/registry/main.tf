# Images of the installation: scanned when they come, never overwritten, so that a digest and a tag always mean the same.

module "key" {
  source = "../key"

  name        = "${var.name}-registry"
  description = "Images of ${var.name}"
}

resource "aws_ecr_repository" "this" {
  for_each = toset(["slipway", "slipway-worker", "slipway-worker-cuda"])

  name                 = "${var.name}/${each.key}"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = !var.deletion_protection

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = module.key.arn
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each = aws_ecr_repository.this

  repository = each.value.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "What no tag names any more goes after two weeks"
      selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 14 }
      action       = { type = "expire" }
    }]
  })
}
