# The same in all clouds: the provisioner reads these and nothing else.

output "cluster" {
  description = "The cluster: name, address and certificate (base64 of PEM) of its API server, version."
  value       = module.cluster.cluster
}

output "credential" {
  description = "The command that prints a short-lived credential for the API server, as kubeconfig calls it (`exec`)."
  value = {
    api_version = "client.authentication.k8s.io/v1beta1"
    command     = "aws"
    args        = ["--region", var.region, "eks", "get-token", "--cluster-name", module.cluster.name, "--output", "json"]
  }
}

output "network" {
  description = "The network: its id, its block, and the ids of the private subnets by zone."
  value = {
    id              = module.network.id
    address_space   = var.address_space
    private_subnets = module.network.private_subnets
  }
}

output "node_pools" {
  description = "The pools by name, with the labels and taints of their nodes."
  value       = module.layout.node_pools
}

output "pool" {
  description = "What a deployment's own pool of nodes is told of the cluster (`installation` of the module `pool`)."
  value = {
    region             = var.region
    cluster            = module.cluster.name
    kubernetes_version = var.kubernetes_version
    subnets            = module.network.private_subnets
    role               = module.cluster.node_role
    tags               = module.layout.tags
  }
}

output "storage_classes" {
  description = "Storage classes to make in the cluster, by what they are for: `ephemeral` and `persistent`, both encrypted."
  value       = module.storage.classes
}

output "buckets" {
  description = "Where artifacts and results lie, as URIs."
  value       = { artifacts = "s3://${module.storage.artifacts.name}", results = "s3://${module.storage.results.name}" }
}

output "registry" {
  description = "Where images of the installation lie."
  value       = module.registry.url
}

output "secrets" {
  description = "The store of secrets for External Secrets: its provider, the prefix of their names, what the provider wants to know besides."
  value       = { provider = "aws", prefix = module.secrets.prefix, settings = { service = "SecretsManager", region = var.region } }
}

output "identities" {
  description = "What each workload's service account must bear, by workload; where it is empty the cloud knows the account by its name."
  value       = { for name, _ in var.workloads : name => { annotations = {}, labels = {} } }

  # Who is told of it may use it.
  depends_on = [module.identity]
}

output "telemetry" {
  description = "Where logs go: the kind of the store and its name."
  value       = { logs = { kind = "cloudwatch", name = module.telemetry.log_group } }
}

output "regional" {
  description = "Where it is."
  value       = { cloud = "aws", region = var.region, zones = var.zones }
}
