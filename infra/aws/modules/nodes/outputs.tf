output "autoscaling_groups" {
  description = "Names of the groups that the autoscaler may grow and shrink."
  value       = [for group in aws_eks_node_group.this : group.resources[0].autoscaling_groups[0].name]
}
