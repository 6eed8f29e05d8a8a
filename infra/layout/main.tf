locals {
  # A sixteenth of the block for each public subnet, a fourth for each private one: nodes and pods are private, and many.
  private_subnets = { for index, zone in var.zones : zone => cidrsubnet(var.address_space, 2, index) }
  public_subnets  = { for index, zone in var.zones : zone => cidrsubnet(var.address_space, 4, 12 + index) }

  # What has a GPU is kept for what asks for one: the taint is the one that the device plugin's resource name made common, and that
  # Kubernetes' ExtendedResourceToleration admission tolerates for every pod that asks for the resource.
  gpu_taint = { key = "nvidia.com/gpu", value = "present", effect = "NoSchedule" }

  node_pools = {
    for name, pool in var.node_pools : name => merge(pool, {
      labels = merge(
        pool.labels,
        { "slipway.dev/pool" = name },
        pool.gpu == null ? {} : { "slipway.dev/gpu-type" = pool.gpu.type, "nvidia.com/gpu.present" = "true" },
      )
      taints = concat(pool.taints, pool.gpu == null ? [] : [local.gpu_taint])
    })
  }

  tags = merge(var.tags, { "slipway-installation" = var.name, "slipway-managed-by" = "opentofu" })
}
