module "layout" {
  source = "../layout"

  name          = var.name
  address_space = var.address_space
  zones         = var.zones
  node_pools    = var.node_pools
  tags          = var.tags
}

# Read at once and not after the services below: names that hold the number would be unknown, and what bears them made anew, whenever
# one of the services is.
data "google_project" "this" {
  project_id = var.project
}

locals {
  # Google's labels are lower-case and have fewer characters than the tags of others.
  labels = {
    for key, value in module.layout.tags :
    substr(replace(lower(key), "/[^a-z0-9_-]/", "-"), 0, 63) => substr(replace(lower(value), "/[^a-z0-9_-]/", "-"), 0, 63)
  }
}

# What is used is turned on here and stays on: others in the project may use it too. Two are to be on before the first plan, since nothing
# can be read or turned on without them: cloudresourcemanager and serviceusage.
resource "google_project_service" "this" {
  #checkov:skip=CKV2_GCP_11:containerscanning is one of the services; the rule wants it in each of them
  for_each = toset([
    "artifactregistry.googleapis.com",
    "billingbudgets.googleapis.com",
    "binaryauthorization.googleapis.com",
    "cloudbilling.googleapis.com",
    "cloudkms.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "compute.googleapis.com",
    "container.googleapis.com",
    "containerscanning.googleapis.com",
    "containersecurity.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "secretmanager.googleapis.com",
    "serviceusage.googleapis.com",
    "storage.googleapis.com",
  ])

  project            = var.project
  service            = each.key
  disable_on_destroy = false
}

module "network" {
  source = "./modules/network"

  name            = var.name
  region          = var.region
  zones           = var.zones
  address_space   = var.address_space
  private_subnets = module.layout.private_subnets
  public_subnets  = module.layout.public_subnets

  depends_on = [google_project_service.this]
}

module "telemetry" {
  source = "./modules/telemetry"

  name           = var.name
  project        = var.project
  region         = var.region
  subnet         = module.network.subnet_name
  nat            = module.network.nat_name
  retention_days = var.retention_days

  depends_on = [google_project_service.this]
}

module "storage" {
  source = "./modules/storage"

  name                = var.name
  project_number      = data.google_project.this.number
  region              = var.region
  deletion_protection = var.deletion_protection

  depends_on = [google_project_service.this]
}

module "cluster" {
  source = "./modules/cluster"

  name                = var.name
  project             = var.project
  project_number      = data.google_project.this.number
  region              = var.region
  zones               = var.zones
  kubernetes_version  = var.kubernetes_version
  network             = module.network.id
  subnet              = module.network.subnet
  pod_ranges          = module.network.pod_ranges
  service_range       = module.network.service_range
  address_space       = var.address_space
  administrators      = var.administrators
  api_access          = var.api_access
  disk_key            = module.storage.key
  deletion_protection = var.deletion_protection

  depends_on = [google_project_service.this]
}

module "nodes" {
  source = "./modules/nodes"

  region          = var.region
  zones           = var.zones
  cluster         = module.cluster.name
  service_account = module.cluster.node_service_account
  pools           = module.layout.node_pools
  labels          = local.labels
  disk_key        = module.storage.key

  depends_on = [google_project_service.this]
}

module "registry" {
  source = "./modules/registry"

  name    = var.name
  project = var.project
  region  = var.region
  readers = { nodes = module.cluster.node_service_account }

  depends_on = [google_project_service.this]
}

module "secrets" {
  source = "./modules/secrets"

  name    = var.name
  project = var.project
  region  = var.region

  depends_on = [google_project_service.this]
}

module "identity" {
  source = "./modules/identity"

  name           = var.name
  project        = var.project
  project_number = data.google_project.this.number
  workload_pool  = module.cluster.workload_pool
  workloads      = var.workloads
  artifacts      = module.storage.artifacts
  results        = module.storage.results
  secrets_prefix = module.secrets.prefix

  depends_on = [google_project_service.this]
}

module "budget" {
  source = "./modules/budget"

  name     = var.name
  project  = var.project
  monthly  = var.budget.monthly
  contacts = var.budget.contacts

  depends_on = [google_project_service.this]
}
