# Names of services, looked up in the cluster. It runs on nodes, so they come before it.
resource "aws_eks_addon" "this" {
  cluster_name                = var.cluster
  addon_name                  = "coredns"
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "PRESERVE"
}
