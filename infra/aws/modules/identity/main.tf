# One role for each workload, which its service account alone may take, with the rights that it is said to need and no other.

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  account = data.aws_caller_identity.this.account_id
  cluster = "arn:${data.aws_partition.this.partition}:eks:${data.aws_region.this.region}:${local.account}:cluster/${var.cluster}"
  groups  = "arn:${data.aws_partition.this.partition}:autoscaling:${data.aws_region.this.region}:${local.account}:autoScalingGroup:*:autoScalingGroupName/*"
  # A role without any right would be a role that nobody needs.
  workloads = {
    for name, workload in var.workloads : name => workload
    if workload.reads_artifacts || workload.writes_results || workload.reads_secrets || workload.scales_nodes
  }
}

data "aws_iam_policy_document" "trust" {
  for_each = local.workloads

  statement {
    actions = ["sts:AssumeRole", "sts:TagSession"]

    principals {
      type        = "Service"
      identifiers = ["pods.eks.amazonaws.com"]
    }

    # The agent says whose pod asks: this cluster's, this account's, and no other's.
    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/eks-cluster-arn"
      values   = [local.cluster]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/kubernetes-namespace"
      values   = [each.value.namespace]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/kubernetes-service-account"
      values   = [each.value.service_account]
    }
  }
}

data "aws_iam_policy_document" "rights" {
  for_each = local.workloads

  dynamic "statement" {
    for_each = each.value.reads_artifacts ? [1] : []

    content {
      sid       = "ReadArtifacts"
      actions   = ["s3:GetObject", "s3:GetObjectVersion"]
      resources = ["${var.artifacts.arn}/*"]
    }
  }

  dynamic "statement" {
    for_each = each.value.reads_artifacts ? [1] : []

    content {
      sid       = "FindArtifacts"
      actions   = ["s3:ListBucket"]
      resources = [var.artifacts.arn]
    }
  }

  # Results are written once and read back as proof; they are never deleted by who writes them.
  dynamic "statement" {
    for_each = each.value.writes_results ? [1] : []

    content {
      sid       = "WriteResults"
      actions   = ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"]
      resources = ["${var.results.arn}/*"]
    }
  }

  dynamic "statement" {
    for_each = each.value.writes_results ? [1] : []

    content {
      sid       = "FindResults"
      actions   = ["s3:ListBucket"]
      resources = [var.results.arn]
    }
  }

  dynamic "statement" {
    for_each = each.value.reads_artifacts || each.value.writes_results ? [1] : []

    content {
      sid       = "KeyOfBuckets"
      actions   = concat(["kms:Decrypt"], each.value.writes_results ? ["kms:GenerateDataKey"] : [])
      resources = [var.storage_key]
    }
  }

  dynamic "statement" {
    for_each = each.value.reads_secrets ? [1] : []

    content {
      sid     = "ReadSecrets"
      actions = ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"]
      resources = [
        "arn:${data.aws_partition.this.partition}:secretsmanager:${data.aws_region.this.region}:${local.account}:secret:${var.secrets_prefix}*"
      ]
    }
  }

  dynamic "statement" {
    for_each = each.value.reads_secrets ? [1] : []

    content {
      sid       = "KeyOfSecrets"
      actions   = ["kms:Decrypt"]
      resources = [var.secrets_key]
    }
  }

  dynamic "statement" {
    for_each = each.value.scales_nodes ? [1] : []

    content {
      sid       = "GrowAndShrink"
      actions   = ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"]
      resources = [local.groups]

      # Pools come and go with deployments: those of this cluster are known by the tag that they are found by.
      condition {
        test     = "StringEquals"
        variable = "aws:ResourceTag/k8s.io/cluster-autoscaler/${var.cluster}"
        values   = ["owned"]
      }
    }
  }

  # These calls know no resource.
  dynamic "statement" {
    for_each = each.value.scales_nodes ? [1] : []

    content {
      sid = "SeeWhatThereIs"
      actions = [
        "autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeAutoScalingInstances", "autoscaling:DescribeLaunchConfigurations",
        "autoscaling:DescribeScalingActivities", "autoscaling:DescribeTags", "ec2:DescribeImages", "ec2:DescribeInstanceTypes",
        "ec2:DescribeLaunchTemplateVersions", "ec2:GetInstanceTypesFromInstanceRequirements", "eks:DescribeNodegroup",
      ]
      resources = ["*"]
    }
  }
}

resource "aws_iam_role" "this" {
  for_each = local.workloads

  name               = "${var.name}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.trust[each.key].json
}

resource "aws_iam_role_policy" "this" {
  for_each = local.workloads

  name   = "rights"
  role   = aws_iam_role.this[each.key].id
  policy = data.aws_iam_policy_document.rights[each.key].json
}

resource "aws_eks_pod_identity_association" "this" {
  for_each = local.workloads

  cluster_name    = var.cluster
  namespace       = each.value.namespace
  service_account = each.value.service_account
  role_arn        = aws_iam_role.this[each.key].arn
}
