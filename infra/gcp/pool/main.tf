# What one deployment needs beside the cluster: a pool of nodes for its workers. The provisioner makes it with the deployment and removes it with
# it (`stack.module`), from a state of its own, with what the cluster's stack says in its output `pool`.

locals {
  # Google's labels are lower-case and have fewer characters than the tags of others.
  labels = {
    for key, value in merge(var.installation.tags, var.tags) :
    substr(replace(lower(key), "/[^a-z0-9_-]/", "-"), 0, 63) => substr(replace(lower(value), "/[^a-z0-9_-]/", "-"), 0, 63)
  }
}

module "pool" {
  source = "../../layout/pool"

  name      = var.name
  workers   = var.workers
  machine   = var.machine
  revisions = var.revisions
  disk_gib  = var.disk_gib
  spot      = var.spot
}

module "nodes" {
  source = "../modules/nodes"

  region          = var.installation.region
  zones           = var.installation.zones
  cluster         = var.installation.cluster
  service_account = var.installation.service_account
  pools           = module.pool.pools
  labels          = local.labels
  disk_key        = var.installation.disk_key
}
