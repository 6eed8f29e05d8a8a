variable "cluster" {
  description = "Name of the cluster."
  type        = string
}
