# The baseline that is there before anything runs: a key for logs, and the group that the cluster's collector ships the logs of pods to.

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

data "aws_iam_policy_document" "logs" {
  statement {
    sid       = "LogsOfThisInstallation"
    actions   = ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${data.aws_region.this.region}.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values = [
        for group in ["/slipway/${var.name}/*", "/aws/eks/${var.name}/*"] :
        "arn:${data.aws_partition.this.partition}:logs:${data.aws_region.this.region}:${data.aws_caller_identity.this.account_id}:log-group:${group}"
      ]
    }
  }
}

module "key" {
  source = "../key"

  name        = "${var.name}-logs"
  description = "Logs of ${var.name}"
  policy      = data.aws_iam_policy_document.logs.json
}

resource "aws_cloudwatch_log_group" "pods" {
  name              = "/slipway/${var.name}/pods"
  kms_key_id        = module.key.arn
  retention_in_days = var.retention_days
}
