# Google allows no slash. Two hyphens, since one would also begin the secrets of an installation whose name goes on after it.
output "prefix" {
  description = "What names of secrets of the installation begin with."
  value       = "${var.name}--"
}
