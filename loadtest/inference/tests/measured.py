"""Results as a run would have written them, for the tests."""
from harness.figures import Figures

RUN = {
    "kind": "run", "scenario": "overhead", "model": "mlp", "variant": "default", "instances": 1, "load": "c=64", "round": 0,
    "rps": 100.0, "wrong": 0, "errors": 0, "late": False, "p50_ms": 1.0, "p99_ms": 2.0, "server_cpu_s_per_1000": 0.1,
    "client_cpu_s_per_1000": 0.1, "server_cores": 0.5, "client_cores": 0.5, "other_cores": 0.0,
}


def run(contender, protocol, **figures):
    return {**RUN, "contender": contender, "protocol": protocol, **figures}


def engine(model, callers, rows, rows_per_s):
    return {
        "kind": "engine", "model": model, "callers": callers, "rows": rows, "rows_per_s": rows_per_s, "p50_ms": 1.0,
        "p99_ms": 1.0, "cpu_s_per_1000": 1.0,
    }


def figures(*rows):
    return Figures(list(rows))
