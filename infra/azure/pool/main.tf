# What one deployment needs beside the cluster: a pool of nodes for its workers. The provisioner makes it with the deployment and removes it with
# it (`stack.module`), from a state of its own, with what the cluster's stack says in its output `pool`.

locals {
  tags = merge(var.installation.tags, var.tags)
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

  cluster            = var.installation.cluster
  kubernetes_version = var.installation.kubernetes_version
  zones              = var.installation.zones
  subnets            = var.installation.subnets
  pools              = module.pool.pools
  tags               = local.tags
}
