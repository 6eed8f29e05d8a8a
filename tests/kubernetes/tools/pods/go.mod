// What runs in pods of the test cluster. No module is needed for it.
module slipway.dev/tests/kubernetes/tools/pods

go 1.26.0
