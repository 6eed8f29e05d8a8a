variable "name" {
  description = "Name of the installation."
  type        = string
}

variable "project" {
  description = "Id of the project."
  type        = string
}

variable "project_number" {
  description = "Number of the project."
  type        = string
}

variable "workload_pool" {
  description = "The pool that service accounts of the cluster belong to."
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
  }))
}

variable "artifacts" {
  description = "Name of the bucket of artifacts."
  type        = string
}

variable "results" {
  description = "Name of the bucket of results."
  type        = string
}

variable "secrets_prefix" {
  description = "What names of secrets of the installation begin with."
  type        = string
}
