module "layout" {
  source = "../layout"

  name          = var.name
  address_space = var.address_space
  zones         = var.zones
  node_pools    = var.node_pools
  tags          = var.tags
}

module "network" {
  source = "./modules/network"

  name            = var.name
  region          = var.region
  address_space   = var.address_space
  private_subnets = module.layout.private_subnets
  public_subnets  = module.layout.public_subnets
  log_key         = module.telemetry.key
  retention_days  = var.retention_days
}

module "telemetry" {
  source = "./modules/telemetry"

  name           = var.name
  retention_days = var.retention_days
}

module "cluster" {
  source = "./modules/cluster"

  name                = var.name
  kubernetes_version  = var.kubernetes_version
  subnets             = values(module.network.private_subnets)
  administrators      = var.administrators
  api_access          = var.api_access
  log_key             = module.telemetry.key
  retention_days      = var.retention_days
  deletion_protection = var.deletion_protection
}

module "nodes" {
  source = "./modules/nodes"

  name               = var.name
  cluster            = module.cluster.name
  kubernetes_version = var.kubernetes_version
  subnets            = module.network.private_subnets
  role               = module.cluster.node_role
  pools              = module.layout.node_pools
  tags               = module.layout.tags
}

module "dns" {
  source = "./modules/dns"

  cluster = module.cluster.name

  depends_on = [module.nodes]
}

module "storage" {
  source = "./modules/storage"

  name                = var.name
  cluster             = module.cluster.name
  deletion_protection = var.deletion_protection

  # Its driver is an add-on, which becomes active on a node only.
  depends_on = [module.nodes]
}

module "registry" {
  source = "./modules/registry"

  name                = var.name
  deletion_protection = var.deletion_protection
}

module "secrets" {
  source = "./modules/secrets"

  name = var.name
}

module "identity" {
  source = "./modules/identity"

  name           = var.name
  cluster        = module.cluster.name
  workloads      = var.workloads
  artifacts      = module.storage.artifacts
  results        = module.storage.results
  storage_key    = module.storage.key
  secrets_prefix = module.secrets.prefix
  secrets_key    = module.secrets.key
}

module "budget" {
  source = "./modules/budget"

  name     = var.name
  monthly  = var.budget.monthly
  contacts = var.budget.contacts
}
