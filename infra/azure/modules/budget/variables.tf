variable "name" {
  description = "Name of the installation."
  type        = string
}

variable "subscription" {
  description = "GUID of the subscription."
  type        = string
}

variable "resource_groups" {
  description = "Names of the resource groups that are counted."
  type        = list(string)
}

variable "monthly" {
  description = "What a month may cost, in the currency of the subscription's bills."
  type        = number
}

variable "contacts" {
  description = "E-mail addresses of who is told."
  type        = list(string)
}
