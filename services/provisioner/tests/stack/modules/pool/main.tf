# Behaves like the module of a real pool, and needs no provider: it takes as long as a test lets it, is refused in a vendor's words, and
# leaves a resource half made where that fails.

terraform {
  required_version = ">= 1.8"

  backend "local" {}
}

variable "name" {
  description = "Name of the stack."
  type        = string
}

variable "machine" {
  description = "The machine. Another one is another pool."
  type        = string
  default     = "small"
}

variable "folder" {
  description = "Where a test sees what is done: a pool is made when `open` is there."
  type        = string
}

variable "refused" {
  description = "What the vendor says of each machine that cannot be had."
  type        = map(string)
  default     = {}
}

variable "forbidden" {
  description = "What is said of each machine that makes no sense, before anything is done."
  type        = map(string)
  default     = {}
}

resource "terraform_data" "role" {
  input = var.name
}

resource "terraform_data" "pool" {
  triggers_replace = [var.machine]
  input            = { role = terraform_data.role.output, machine = var.machine }

  lifecycle {
    precondition {
      condition     = !contains(keys(var.forbidden), var.machine)
      error_message = lookup(var.forbidden, var.machine, "none")
    }
  }

  # Two that make a pool at the same time say so.
  provisioner "local-exec" {
    interpreter = ["/bin/sh", "-c"]
    environment = { FOLDER = var.folder, MACHINE = var.machine, REFUSED = lookup(var.refused, var.machine, "") }
    command     = <<-EOT
      exec 9>"$FOLDER/only-one"
      flock --nonblock 9 || echo two >>"$FOLDER/journal"
      echo "$MACHINE" >>"$FOLDER/journal"
      until [ -e "$FOLDER/open" ] || ! [ -d "$FOLDER" ]; do sleep 0.1; done
      [ -z "$REFUSED" ] || { echo "$REFUSED" >&2; exit 1; }
    EOT
  }
}

output "machine" {
  value = terraform_data.pool.output.machine
}

output "password" {
  value     = "hunter2"
  sensitive = true
}
