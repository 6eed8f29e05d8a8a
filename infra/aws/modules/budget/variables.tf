variable "name" {
  description = "Name of the installation."
  type        = string
}

variable "monthly" {
  description = "What a month may cost, in US dollars."
  type        = number
}

variable "contacts" {
  description = "E-mail addresses of who is told."
  type        = list(string)
}
