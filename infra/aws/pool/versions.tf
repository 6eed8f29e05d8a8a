terraform {
  required_version = ">= 1.8"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }

  # Where the state lies the provisioner says (`stack.backend`), for each stack another key; `use_lockfile=true` locks it.
  backend "s3" {}
}

provider "aws" {
  region = var.installation.region

  default_tags {
    tags = local.tags
  }
}
