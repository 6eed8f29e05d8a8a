variable "name" {
  description = "Name of the installation."
  type        = string
}

variable "project" {
  description = "Id of the project."
  type        = string
}

variable "monthly" {
  description = "What a month may cost, in US dollars."
  type        = number
}

variable "contacts" {
  description = "E-mail addresses of who is told."
  type        = list(string)

  validation {
    condition     = length(distinct(var.contacts)) <= 5
    error_message = "budget.contacts has ${length(distinct(var.contacts))} addresses; Google tells at most 5, of which one may be a list."
  }
}
