module "layout" {
  source = "../layout"

  name          = var.name
  address_space = var.address_space
  zones         = var.zones
  node_pools    = var.node_pools
  tags          = var.tags
}

data "azurerm_client_config" "this" {}

locals {
  # Names of vaults, registries and storage accounts are the whole world's: the subscription makes them ours.
  suffix = substr(sha256("${data.azurerm_client_config.this.subscription_id}/${var.name}"), 0, 8)

  # Pods and services have addresses of their own, which leave the cluster behind those of a node only.
  pods     = "172.16.0.0/14"
  services = "172.20.0.0/16"

  # A cluster is not made without a pool, and not with one that has taints: the first by name that may be it.
  first_pool = sort([
    for name, pool in module.layout.node_pools : name if pool.gpu == null && length(pool.taints) == 0 && pool.min >= 1 && !pool.spot
  ])[0]
}

module "network" {
  source = "./modules/network"

  name            = var.name
  region          = var.region
  address_space   = var.address_space
  private_subnets = module.layout.private_subnets
  pods            = local.pods
  suffix          = local.suffix
  workspace       = module.telemetry.workspace
  tags            = module.layout.tags

  # No subnet is public here: of the blocks that other clouds need for those, the first zone's holds the private endpoints.
  endpoints_subnet = module.layout.public_subnets[var.zones[0]]
}

module "telemetry" {
  source = "./modules/telemetry"

  name           = var.name
  region         = var.region
  resource_group = module.network.resource_group
  retention_days = var.retention_days
  tags           = module.layout.tags
}

module "cluster" {
  source = "./modules/cluster"

  name                = var.name
  region              = var.region
  zones               = var.zones
  resource_group      = module.network.resource_group
  tenant              = data.azurerm_client_config.this.tenant_id
  kubernetes_version  = var.kubernetes_version
  address_space       = var.address_space
  subnets             = module.network.private_subnets
  outward_addresses   = module.network.outward_addresses
  pods                = local.pods
  services            = local.services
  administrators      = var.administrators
  api_access          = var.api_access
  pool                = module.layout.node_pools[local.first_pool]
  pool_subnet         = module.network.private_subnets[var.zones[0]]
  disk_encryption_set = module.storage.disk_encryption_set
  workspace           = module.telemetry.workspace.id
  collection_rule     = module.telemetry.collection_rule
  tags                = module.layout.tags
}

module "nodes" {
  source = "./modules/nodes"

  cluster            = module.cluster.id
  kubernetes_version = var.kubernetes_version
  zones              = var.zones
  subnets            = module.network.private_subnets
  pools              = { for name, pool in module.layout.node_pools : name => pool if name != local.first_pool }
  tags               = module.layout.tags
}

module "storage" {
  source = "./modules/storage"

  name             = var.name
  region           = var.region
  resource_group   = module.network.resource_group
  suffix           = local.suffix
  vault            = module.secrets.vault
  endpoints_subnet = module.network.endpoints_subnet
  dns_zone         = module.network.dns_zones["blob"]
  workspace        = module.telemetry.workspace.id
  tags             = module.layout.tags
}

module "registry" {
  source = "./modules/registry"

  name             = var.name
  region           = var.region
  resource_group   = module.network.resource_group
  suffix           = local.suffix
  endpoints_subnet = module.network.endpoints_subnet
  dns_zone         = module.network.dns_zones["registry"]
  workspace        = module.telemetry.workspace.id
  puller           = module.cluster.kubelet
  tags             = module.layout.tags
}

module "secrets" {
  source = "./modules/secrets"

  name             = var.name
  region           = var.region
  resource_group   = module.network.resource_group
  tenant           = data.azurerm_client_config.this.tenant_id
  suffix           = local.suffix
  endpoints_subnet = module.network.endpoints_subnet
  dns_zone         = module.network.dns_zones["vault"]
  workspace        = module.telemetry.workspace.id
  tags             = module.layout.tags
}

module "identity" {
  source = "./modules/identity"

  name           = var.name
  region         = var.region
  resource_group = module.network.resource_group
  issuer         = module.cluster.issuer
  workloads      = var.workloads
  artifacts      = module.storage.artifacts
  results        = module.storage.results
  vault          = module.secrets.vault.id
  tags           = module.layout.tags
}

module "budget" {
  source = "./modules/budget"

  name            = var.name
  subscription    = data.azurerm_client_config.this.subscription_id
  resource_groups = [module.network.resource_group, module.cluster.node_resource_group]
  monthly         = var.budget.monthly
  contacts        = var.budget.contacts
}

# Azure has no switch that makes a cluster resist; its locks would be destroyed with the rest, and until then hold what is to be replaced or taken
# back (nodes, rights). So `destroy` asks here first: what this depends on goes after it only.
resource "terraform_data" "deletion_protection" {
  input = var.deletion_protection

  provisioner "local-exec" {
    when    = destroy
    command = self.output ? "echo 'deletion_protection is true; allowed for destroy is false, applied before' >&2; exit 1" : "exit 0"
  }

  depends_on = [
    module.budget, module.cluster, module.identity, module.network, module.nodes, module.registry, module.secrets, module.storage,
    module.telemetry,
  ]
}
