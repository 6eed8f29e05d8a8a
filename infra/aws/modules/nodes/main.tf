# Groups of equal nodes. What has a GPU comes when pods ask for one and goes when none does; the cluster autoscaler reads from the tags of
# the group what a node of it would be like while there is none.

resource "aws_launch_template" "node" {
  for_each = var.pools

  name                   = "${var.name}-${each.key}"
  update_default_version = true
  ebs_optimized          = true

  # Credentials of the node are for the node: a pod is one hop further.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_size           = each.value.disk_gib
      volume_type           = "gp3"
      encrypted             = true
      delete_on_termination = true
    }
  }

  monitoring {
    enabled = true
  }

  tag_specifications {
    resource_type = "instance"
    tags          = merge(var.tags, { Name = "${var.name}-${each.key}" })
  }

  tag_specifications {
    resource_type = "volume"
    tags          = merge(var.tags, { Name = "${var.name}-${each.key}" })
  }
}

locals {
  effects = { NoSchedule = "NO_SCHEDULE", PreferNoSchedule = "PREFER_NO_SCHEDULE", NoExecute = "NO_EXECUTE" }
}

resource "aws_eks_node_group" "this" {
  for_each = var.pools

  cluster_name    = var.cluster
  node_group_name = each.key
  node_role_arn   = var.role
  subnet_ids      = values(var.subnets)
  version         = var.kubernetes_version
  ami_type        = each.value.gpu == null ? "AL2023_x86_64_STANDARD" : "AL2023_x86_64_NVIDIA"
  instance_types  = [each.value.machine]
  capacity_type   = each.value.spot ? "SPOT" : "ON_DEMAND"
  labels          = each.value.labels

  launch_template {
    id      = aws_launch_template.node[each.key].id
    version = aws_launch_template.node[each.key].latest_version
  }

  scaling_config {
    min_size     = each.value.min
    max_size     = each.value.max
    desired_size = each.value.min
  }

  update_config {
    max_unavailable = 1
  }

  node_repair_config {
    enabled = true
  }

  dynamic "taint" {
    for_each = each.value.taints

    content {
      key    = taint.value.key
      value  = taint.value.value
      effect = local.effects[taint.value.effect]
    }
  }

  lifecycle {
    # How many there are now is the autoscaler's to say.
    ignore_changes = [scaling_config[0].desired_size]
  }
}

locals {
  # What the autoscaler cannot see while a group is empty.
  group_tags = merge([
    for name, pool in var.pools : merge(
      { "${name}/k8s.io/cluster-autoscaler/enabled" = "true", "${name}/k8s.io/cluster-autoscaler/${var.cluster}" = "owned" },
      { for key, value in pool.labels : "${name}/k8s.io/cluster-autoscaler/node-template/label/${key}" => value },
      { for taint in pool.taints : "${name}/k8s.io/cluster-autoscaler/node-template/taint/${taint.key}" => "${taint.value}:${taint.effect}" },
      pool.gpu == null ? {} : { "${name}/k8s.io/cluster-autoscaler/node-template/resources/nvidia.com/gpu" = tostring(pool.gpu.count) },
    )
  ]...)
}

resource "aws_autoscaling_group_tag" "this" {
  for_each = local.group_tags

  autoscaling_group_name = aws_eks_node_group.this[split("/", each.key)[0]].resources[0].autoscaling_groups[0].name

  tag {
    key                 = join("/", slice(split("/", each.key), 1, length(split("/", each.key))))
    value               = each.value
    propagate_at_launch = false
  }
}
