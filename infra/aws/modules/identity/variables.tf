variable "name" {
  description = "Name of the installation."
  type        = string
}

variable "cluster" {
  description = "Name of the cluster."
  type        = string
}

variable "workloads" {
  description = "What of the cloud each service account may use."
  type = map(object({
    namespace       = string
    service_account = string
    reads_artifacts = bool
    writes_results  = bool
    reads_secrets   = bool
    scales_nodes    = bool
  }))
}

variable "artifacts" {
  description = "The bucket of artifacts."
  type        = object({ name = string, arn = string })
}

variable "results" {
  description = "The bucket of results."
  type        = object({ name = string, arn = string })
}

variable "storage_key" {
  description = "ARN of the key of the buckets."
  type        = string
}

variable "secrets_prefix" {
  description = "What names of secrets of the installation begin with."
  type        = string
}

variable "secrets_key" {
  description = "ARN of the key of the secrets."
  type        = string
}
