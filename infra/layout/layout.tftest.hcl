variables {
  name          = "slipway"
  address_space = "10.64.0.0/16"
  zones         = ["a", "b", "c"]
  node_pools = {
    system = { machine = "m7i.large", min = 2, max = 4 }
    gpu    = { machine = "g6.xlarge", min = 0, max = 8, gpu = { type = "l4", count = 1 }, labels = { "team" = "vision" } }
  }
  tags = { "owner" = "platform" }
}

run "subnets_do_not_overlap_and_fit" {
  command = plan

  assert {
    condition     = jsonencode(output.private_subnets) == jsonencode({ a = "10.64.0.0/18", b = "10.64.64.0/18", c = "10.64.128.0/18" })
    error_message = "private subnets: ${jsonencode(output.private_subnets)}"
  }

  assert {
    condition     = jsonencode(output.public_subnets) == jsonencode({ a = "10.64.192.0/20", b = "10.64.208.0/20", c = "10.64.224.0/20" })
    error_message = "public subnets: ${jsonencode(output.public_subnets)}"
  }
}

run "nodes_with_a_gpu_are_kept_for_what_asks_for_one" {
  command = plan

  assert {
    condition     = output.node_pools.gpu.taints[0].key == "nvidia.com/gpu" && output.node_pools.gpu.labels["slipway.dev/gpu-type"] == "l4" && output.node_pools.gpu.labels["team"] == "vision"
    error_message = jsonencode(output.node_pools.gpu)
  }

  assert {
    condition     = length(output.node_pools.system.taints) == 0 && output.node_pools.system.disk_gib == 100
    error_message = jsonencode(output.node_pools.system)
  }
}

run "everything_is_tagged" {
  command = plan

  assert {
    condition     = jsonencode(output.tags) == jsonencode({ "owner" = "platform", "slipway-installation" = "slipway", "slipway-managed-by" = "opentofu" })
    error_message = jsonencode(output.tags)
  }
}

run "a_name_that_no_cloud_would_take_is_refused" {
  command = plan
  variables { name = "Slipway_1" }
  expect_failures = [var.name]
}

run "an_address_block_must_begin_where_it_says" {
  command = plan
  variables { address_space = "10.64.0.1/16" }
  expect_failures = [var.address_space]
}

run "an_address_block_must_hold_the_subnets" {
  command = plan
  variables { address_space = "10.64.0.0/24" }
  expect_failures = [var.address_space]
}

run "one_zone_is_no_spread" {
  command = plan
  variables { zones = ["a"] }
  expect_failures = [var.zones]
}

run "without_a_pool_for_services_nothing_would_run" {
  command = plan
  variables {
    node_pools = { gpu = { machine = "g6.xlarge", min = 0, max = 8, gpu = { type = "l4", count = 1 } } }
  }
  expect_failures = [var.node_pools]
}

run "a_pool_that_is_smaller_than_it_is_is_refused" {
  command = plan
  variables {
    node_pools = { system = { machine = "m7i.large", min = 3, max = 2 } }
  }
  expect_failures = [var.node_pools]
}

run "tags_of_ones_own_do_not_hide_those_of_the_installation" {
  command = plan
  variables { tags = { "slipway-installation" = "other" } }
  expect_failures = [var.tags]
}
