variables {
  name    = "digits-0a1b2c3d"
  workers = { min = 2, max = 4, cpu_millis = 1000, memory_bytes = 1073741824, gpus = 0, gpu_type = null, gpu_memory_bytes = 0 }
  machine = { type = "m7i.xlarge", cpus = 4, memory_gib = 16 }
}

run "as_many_workers_as_the_scarcest_has_room_for_and_nodes_for_two_revisions" {
  command = plan

  # 4000 less 330 millicores are three workers of 1000; memory would do for twelve.
  assert {
    condition     = output.workers_per_node == 3
    error_message = "workers on a node: ${output.workers_per_node}"
  }

  assert {
    condition     = values(output.pools)[0].min == 1 && values(output.pools)[0].max == 3
    error_message = jsonencode(output.pools)
  }
}

run "memory_may_be_scarcest" {
  command = plan
  variables { workers = { min = 2, max = 4, cpu_millis = 100, memory_bytes = 4294967296, gpus = 0 } }

  # 16 less 2.95 GiB.
  assert {
    condition     = output.workers_per_node == 3
    error_message = "workers on a node: ${output.workers_per_node}"
  }
}

run "each_worker_has_its_gpus_and_nodes_are_kept_for_them" {
  command = plan
  variables {
    workers = { min = 1, max = 3, cpu_millis = 1000, memory_bytes = 1073741824, gpus = 1, gpu_type = "l4", gpu_memory_bytes = 8589934592 }
    machine = { type = "g6.12xlarge", cpus = 48, memory_gib = 192, gpus = 4, gpu_memory_gib = 24 }
  }

  assert {
    condition     = output.workers_per_node == 4 && values(output.pools)[0].min == 1 && values(output.pools)[0].max == 2
    error_message = jsonencode(output.pools)
  }

  assert {
    condition     = values(output.pools)[0].labels["slipway.dev/gpu-type"] == "l4" && values(output.pools)[0].taints[0].key == "nvidia.com/gpu" && values(output.pools)[0].gpu.count == 4
    error_message = jsonencode(output.pools)
  }
}

run "nodes_bear_the_stacks_name_and_the_pool_one_that_every_cloud_takes" {
  command = plan

  assert {
    condition     = values(output.pools)[0].labels["slipway.dev/pool"] == "digits-0a1b2c3d" && can(regex("^p[0-9a-f]{11}$", keys(output.pools)[0]))
    error_message = jsonencode(output.pools)
  }
}

run "a_pool_may_be_empty_until_somebody_asks" {
  command = plan
  variables { workers = { min = 0, max = 1, cpu_millis = 1000, memory_bytes = 1073741824, gpus = 0 } }

  assert {
    condition     = values(output.pools)[0].min == 0 && values(output.pools)[0].max == 1
    error_message = jsonencode(output.pools)
  }
}

run "a_machine_without_room_for_one_worker_is_refused" {
  command = plan
  variables { machine = { type = "t3.micro", cpus = 2, memory_gib = 1 } }
  expect_failures = [output.pools]
}

run "a_machine_without_a_gpu_has_no_room_for_what_wants_one" {
  command = plan
  variables { workers = { min = 1, max = 1, cpu_millis = 1000, memory_bytes = 1073741824, gpus = 1, gpu_type = "l4" } }
  expect_failures = [output.pools]
}

run "a_gpu_that_is_too_small_is_refused_where_its_size_is_said" {
  command = plan
  variables {
    workers = { min = 1, max = 1, cpu_millis = 1000, memory_bytes = 1073741824, gpus = 1, gpu_type = "t4", gpu_memory_bytes = 21474836480 }
    machine = { type = "g4dn.xlarge", cpus = 4, memory_gib = 16, gpus = 1, gpu_memory_gib = 16 }
  }
  expect_failures = [output.pools]
}

run "a_name_that_no_cloud_would_take_is_refused" {
  command = plan
  variables { name = "Digits_1" }
  expect_failures = [var.name]
}

run "most_workers_below_the_fewest_are_refused" {
  command = plan
  variables { workers = { min = 3, max = 2, cpu_millis = 1000, memory_bytes = 1073741824, gpus = 0 } }
  expect_failures = [var.workers]
}
