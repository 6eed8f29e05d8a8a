# What nodes bear, in every cloud: the installation's pools and those of single deployments alike.

locals {
  # What has a GPU is kept for what asks for one: the taint is the one that the device plugin's resource name made common, and that
  # Kubernetes' ExtendedResourceToleration admission tolerates for every pod that asks for the resource.
  gpu_taint = { key = "nvidia.com/gpu", value = "present", effect = "NoSchedule" }

  pools = {
    for name, pool in var.pools : name => merge(pool, {
      labels = merge(
        { "slipway.dev/pool" = name },
        pool.labels,
        pool.gpu == null ? {} : { "slipway.dev/gpu-type" = pool.gpu.type, "nvidia.com/gpu.present" = "true" },
      )
      taints = concat(pool.taints, pool.gpu == null ? [] : [local.gpu_taint])
    })
  }
}
