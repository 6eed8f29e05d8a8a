# The pool of nodes that the workers of one deployment need, of the machines that its operator names: how many, and what they bear.

locals {
  # What a node keeps for itself, as GKE tells it, which keeps the most of the three (processors: 6 % of the first core, 1 % of the second, 0.5 %
  # of two more, 0.25 % of the rest; memory: 255 MiB below 1 GiB, else 25 % of the first 4 GiB, 20 % of 4 more, 10 % of 8 more, 6 % of 112
  # more, 2 % of the rest, and 100 MiB before pods are evicted; cloud.google.com/kubernetes-engine/docs/concepts/plan-node-sizes), and what
  # runs on every node beside the workers: a quarter of a core, 256 MiB.
  cpus = var.machine.cpus
  kept_millis = (
    60 * min(local.cpus, 1)
    + 10 * max(min(local.cpus - 1, 1), 0)
    + 5 * max(min(local.cpus - 2, 2), 0)
    + 2.5 * max(local.cpus - 4, 0)
    + 250
  )

  gib    = 1024 * 1024 * 1024
  memory = var.machine.memory_gib
  kept_gib = (
    0.25 * min(local.memory, 4)
    + 0.20 * max(min(local.memory - 4, 4), 0)
    + 0.10 * max(min(local.memory - 8, 8), 0)
    + 0.06 * max(min(local.memory - 16, 112), 0)
    + 0.02 * max(local.memory - 128, 0)
    + 0.35
  )

  has_gpu = var.workers.gpus > 0

  # How many workers there is room for on a node, by what is scarcest.
  rooms = {
    cpu    = floor((local.cpus * 1000 - local.kept_millis) / var.workers.cpu_millis)
    memory = floor((local.memory - local.kept_gib) * local.gib / var.workers.memory_bytes)
    gpu    = local.has_gpu ? floor(var.machine.gpus / var.workers.gpus) : 110
  }
  per_node = min(values(local.rooms)...)

  # Where none has room the output says so; until then nothing shall be divided by nothing.
  workers_per_node = max(local.per_node, 1)

  # Letters and digits, twelve at most: Azure's names of pools are no longer.
  key = "p${substr(sha256(var.name), 0, 11)}"
}

module "bearing" {
  source = "../bearing"

  pools = {
    (local.key) = {
      machine  = var.machine.type
      min      = ceil(var.workers.min / local.workers_per_node)
      max      = ceil(var.workers.max * var.revisions / local.workers_per_node)
      disk_gib = var.disk_gib
      spot     = var.spot
      gpu      = local.has_gpu ? { type = coalesce(var.machine.gpu_type, var.workers.gpu_type, "gpu"), count = var.machine.gpus } : null
      labels   = { "slipway.dev/pool" = var.name }
      taints   = []
    }
  }
}
