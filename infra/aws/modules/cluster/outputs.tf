output "name" {
  description = "Name of the cluster, once nodes can join it."
  value       = aws_eks_cluster.this.name

  depends_on = [aws_eks_addon.before_nodes]
}

output "cluster" {
  description = "Name, address and certificate (base64 of PEM) of the API server, version."
  value = {
    name           = aws_eks_cluster.this.name
    endpoint       = aws_eks_cluster.this.endpoint
    ca_certificate = aws_eks_cluster.this.certificate_authority[0].data
    version        = aws_eks_cluster.this.version
  }
}

output "node_role" {
  description = "ARN of the nodes' role, once it has its rights."
  value       = aws_iam_role.node.arn

  depends_on = [aws_iam_role_policy_attachment.node]
}
