module "bearing" {
  source = "./bearing"

  pools = var.node_pools
}

locals {
  # A sixteenth of the block for each public subnet, a fourth for each private one: nodes and pods are private, and many.
  private_subnets = { for index, zone in var.zones : zone => cidrsubnet(var.address_space, 2, index) }
  public_subnets  = { for index, zone in var.zones : zone => cidrsubnet(var.address_space, 4, 12 + index) }

  tags = merge(var.tags, { "slipway-installation" = var.name, "slipway-managed-by" = "opentofu" })
}
