terraform {
  required_version = ">= 1.8"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }

  # Where the state lies is told at `init` (`-backend-config`): a bucket with versions and encryption, and `use_lockfile = true`, so that
  # nobody applies beside somebody else.
  backend "s3" {}
}

provider "aws" {
  region = var.region

  default_tags {
    tags = module.layout.tags
  }
}
