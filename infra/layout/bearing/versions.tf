# No provider: this module only computes, so its tests run anywhere.
terraform {
  required_version = ">= 1.8"
}
