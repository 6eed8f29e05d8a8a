# Says nothing of where its state is: all stacks of it would share one.

terraform {
  required_version = ">= 1.8"
}

resource "terraform_data" "pool" {
  input = "it"
}
