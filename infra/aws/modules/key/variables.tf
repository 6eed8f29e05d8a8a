variable "name" {
  description = "Name of the key."
  type        = string
}

variable "description" {
  description = "What it is for."
  type        = string
}

variable "policy" {
  description = "Who may use it besides: a policy document as JSON."
  type        = string
  default     = null
}
