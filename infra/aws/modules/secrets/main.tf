# The key of secrets that External Secrets brings into the cluster. The secrets themselves are put there by their owners, below the
# prefix: what OpenTofu made would stand in its state.

module "key" {
  source = "../key"

  name        = "${var.name}-secrets"
  description = "Secrets of ${var.name}"
}
