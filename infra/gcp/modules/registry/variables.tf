variable "name" {
  description = "Name of the installation."
  type        = string
}

variable "project" {
  description = "Id of the project."
  type        = string
}

variable "region" {
  description = "The region."
  type        = string
}

variable "readers" {
  description = "E-mail addresses of the accounts that may pull images, by what they are."
  type        = map(string)
}
