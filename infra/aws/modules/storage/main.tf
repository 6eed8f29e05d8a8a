# Volumes for pods, and two buckets: artifacts, which are read by digest, and results. Nothing in them is public, nothing goes over plain
# HTTP, and what is overwritten or deleted can be had back for a month.

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}

module "key" {
  source = "../key"

  name        = "${var.name}-storage"
  description = "Volumes and buckets of ${var.name}"
}

locals {
  # Names of buckets are the whole world's: the account makes them ours.
  buckets = { for use in ["artifacts", "results", "access-logs"] : use => "${var.name}-${use}-${data.aws_caller_identity.this.account_id}" }
  logged  = toset(["artifacts", "results"])
}

#trivy:ignore:AWS-0089 Two of the three are logged, into the third; a log of the log has no end.
resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_18:two of the three are logged, into the third; a log of the log has no end
  #checkov:skip=CKV_AWS_144:data stays in the region that was chosen for where it may be; who wants a copy elsewhere says where
  #checkov:skip=CKV2_AWS_62:nobody waits for objects; what comes is told over the broker
  for_each = local.buckets

  bucket        = each.value
  force_destroy = !var.deletion_protection
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = aws_s3_bucket.this

  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      # The service that delivers access logs takes S3's own keys only.
      sse_algorithm     = each.key == "access-logs" ? "AES256" : "aws:kms"
      kms_master_key_id = each.key == "access-logs" ? null : module.key.arn
    }
  }
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  rule {
    id     = "old-versions-and-halves"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 30
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_logging" "this" {
  for_each = local.logged

  bucket        = aws_s3_bucket.this[each.key].id
  target_bucket = aws_s3_bucket.this["access-logs"].id
  target_prefix = "${each.key}/"
}

data "aws_iam_policy_document" "bucket" {
  for_each = aws_s3_bucket.this

  statement {
    sid       = "NeverInTheOpen"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [each.value.arn, "${each.value.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  dynamic "statement" {
    for_each = each.key == "access-logs" ? [1] : []

    content {
      sid       = "AccessLogsOfOurs"
      actions   = ["s3:PutObject"]
      resources = ["${each.value.arn}/*"]

      principals {
        type        = "Service"
        identifiers = ["logging.s3.amazonaws.com"]
      }

      condition {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [data.aws_caller_identity.this.account_id]
      }
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id
  policy = data.aws_iam_policy_document.bucket[each.key].json

  depends_on = [aws_s3_bucket_public_access_block.this]
}

# The driver of volumes, with an identity of its own.

data "aws_iam_policy_document" "driver_trust" {
  statement {
    actions = ["sts:AssumeRole", "sts:TagSession"]

    principals {
      type        = "Service"
      identifiers = ["pods.eks.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "driver_key" {
  statement {
    actions   = ["kms:Decrypt", "kms:Encrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
    resources = [module.key.arn]
  }

  # Only to hand it to the disk service.
  statement {
    actions   = ["kms:CreateGrant"]
    resources = [module.key.arn]

    condition {
      test     = "Bool"
      variable = "kms:GrantIsForAWSResource"
      values   = ["true"]
    }
  }
}

resource "aws_iam_role" "driver" {
  name               = "${var.name}-volumes"
  assume_role_policy = data.aws_iam_policy_document.driver_trust.json
}

resource "aws_iam_role_policy_attachment" "driver" {
  role       = aws_iam_role.driver.name
  policy_arn = "arn:${data.aws_partition.this.partition}:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy"
}

resource "aws_iam_role_policy" "driver" {
  name   = "use-key"
  role   = aws_iam_role.driver.id
  policy = data.aws_iam_policy_document.driver_key.json
}

resource "aws_eks_addon" "driver" {
  cluster_name                = var.cluster
  addon_name                  = "aws-ebs-csi-driver"
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "PRESERVE"

  pod_identity_association {
    role_arn        = aws_iam_role.driver.arn
    service_account = "ebs-csi-controller-sa"
  }
}
