variable "name" {
  description = "Name of the installation."
  type        = string
}

variable "region" {
  description = "The region."
  type        = string
}

variable "resource_group" {
  description = "Name of the resource group."
  type        = string
}

variable "issuer" {
  description = "URL under which the cluster vouches for its service accounts."
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
  description = "The container of artifacts."
  type        = object({ id = string, uri = string })
}

variable "results" {
  description = "The container of results."
  type        = object({ id = string, uri = string })
}

variable "vault" {
  description = "Id of the vault of secrets."
  type        = string
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
}
