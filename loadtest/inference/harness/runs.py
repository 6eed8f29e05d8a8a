"""Measures: the scenarios, contender after contender, round after round."""
import json
import os
import subprocess
import time

from . import processes, profile
from .contenders import HERE, Failed, variant_of
from .server import Server, environment

# An open loop may have so many requests under way; a server that needs more does not keep the rate.
IN_FLIGHT = 64
# An error of the load generator is a sentence for the report.
LOAD_ENVIRONMENT = {**os.environ, "RUST_BACKTRACE": "0"}


def plan(bench, options):
    """Every (scenario, round, contender, variant, model) in the order of measuring; the engine alone has no contender.

    A round runs forwards, the next one backwards, so that nobody always comes first or after the same neighbour.
    """
    for name in options.scenarios:
        scenario = bench.scenarios[name]
        for turn in range(options.rounds):
            if "callers" in scenario:
                for model in wanted(scenario["models"], options.models):
                    yield name, turn, None, None, model
                continue
            chosen = bench.chosen(name, options.contenders)
            for contender in chosen if turn % 2 == 0 else chosen[::-1]:
                for variant in scenario["variants"]:
                    if not wanted([variant["name"]], options.variants):
                        continue
                    for model in wanted(scenario["models"], options.models):
                        yield name, turn, contender, variant_of(scenario, variant, contender, name), model


def wanted(names, chosen):
    return [name for name in names if not chosen or str(name) in chosen]


def loads_of(scenario, options):
    """(callers, rate) of each run on an endpoint."""
    closed = [(callers, None) for callers in wanted(scenario["concurrency"], options.concurrency)]
    open_ = [(None, rate) for rate in scenario["rates"] if not options.concurrency or "open" in options.concurrency]
    return closed + open_


def measure_all(bench, options, record):
    steps = list(plan(bench, options))
    for place, (name, turn, contender, variant, model) in enumerate(steps, 1):
        where = {"scenario": name, "model": model, "round": turn, "step": f"{place}/{len(steps)}"}
        if contender is None:
            measure_engine(bench, bench.scenarios[name], where, options, record)
            continue
        where |= {"contender": contender["name"], "variant": variant["name"], "instances": variant["instances"]}
        try:
            measure_server(bench, contender, variant, where, options, record)
        except Failed as error:
            record({**where, "kind": "failed", "error": str(error)})


def measure_server(bench, contender, variant, where, options, record):
    scenario = bench.scenarios[where["scenario"]]
    server_cpus, client_cpus = ("0", "1") if options.pin == "split" else (None, None)
    others = processes.wait_quiet("none", options.quiet, options.quiet_wait)
    server = Server(bench, contender, where["model"], variant, server_cpus)
    try:
        record({**where, "kind": "start", **server.idle(), "other_cores": round(others, 3)})
        for protocol in wanted(server.endpoints, options.protocols):
            try:
                verified = verify(server, protocol)
                warm_up(server, protocol, client_cpus, options)
                for callers, rate in loads_of(scenario, options):
                    result = measure(server, protocol, callers, rate, options, client_cpus)
                    load = f"c={callers}" if callers else f"{rate:g}/s"
                    record({**where, "kind": "run", "protocol": protocol, "load": load, "verified": verified, **result})
            except Failed as error:
                record({**where, "kind": "failed", "protocol": protocol, "error": str(error)})
        pss, rss = processes.memory_mib(processes.members(server.tag))
        record({**where, "kind": "end", "pss_mib": pss, "rss_mib": rss})
    finally:
        server.stop()


def load_command(server, protocol, cpus, *more):
    command = [
        str(server.bench.programs / "inference-load"), "--case", str(server.bench.case(server.model)),
        "--protocol", protocol, "--url", server.endpoints[protocol], *map(str, more),
    ]
    if not server.checked:
        command.append("--unchecked")
    return ["taskset", "-c", cpus, *command] if cpus else command


def verify(server, protocol):
    """How many samples were answered right, one after the other; none of a server that knows no model."""
    if not server.checked:
        return None
    done = subprocess.run(load_command(server, protocol, None, "--verify"), env=LOAD_ENVIRONMENT, capture_output=True, text=True)
    if done.returncode:
        raise Failed(done.stderr.strip().removeprefix("Error: ")[:500])
    return json.loads(done.stdout)["verified"]


def warm_up(server, protocol, cpus, options):
    if options.start_warm_up:
        command = load_command(server, protocol, cpus, "--callers", 8, "--warm-up", options.start_warm_up, "--seconds", 0.1)
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def measure(server, protocol, callers, rate, options, cpus):
    """One run. It is repeated when the rest of the machine disturbed it, and the least disturbed one counts."""
    best = None
    for attempt in range(options.retries + 1):
        processes.wait_quiet(server.tag, options.quiet, options.quiet_wait)
        shape = ["--callers", callers] if callers else ["--rate", rate, "--max-in-flight", IN_FLIGHT]
        command = load_command(server, protocol, cpus, *shape, "--seconds", options.seconds, "--warm-up", options.warm_up)
        load = subprocess.Popen(command, env=LOAD_ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        pids = processes.members(server.tag)
        with load:
            try:
                started = load.stdout.readline() == "START\n"
                sampling = profile.Sampling(pids, server.work) if options.profile else None
                window = processes.Window(server.tag, pids, load.pid)
                ended = load.stdout.readline() == "END\n"
                figures = window.close()
                report, errors = load.stdout.readline(), load.stderr.read()
            except BaseException:
                load.kill()
                raise
        if sampling:
            sampling.stop()
        if load.returncode or not (started and ended):
            raise Failed(f"the load generator ended with {load.returncode}: {errors.strip()[:500]}")
        result = {**figures_of(json.loads(report), *figures), "attempt": attempt, "load1": os.getloadavg()[0]}
        if sampling:
            result["profile"] = sampling.layers(result["server_cpu_s_per_1000"])
        if best is None or result["other_cores"] < best["other_cores"]:
            best = result
        if best["other_cores"] <= options.disturbed:
            break
    return best


def figures_of(report, wall, server_cpu, client_cpu, busy, steal):
    failures = report["failures"]
    wrong = failures.get("wrong", 0)
    latency, lag = report["latency"], report["lag"]
    answered = max(report["ok"] + wrong, 1)
    return {
        "rps": report["throughput"],
        "ok": report["ok"],
        "wrong": wrong,
        "errors": sum(failures.values()) - wrong + report["shed"] + report["abandoned"],
        "failures": failures,
        "shed": report["shed"],
        "p50_ms": latency["p50Ms"],
        "p90_ms": latency["p90Ms"],
        "p99_ms": latency["p99Ms"],
        "max_ms": latency["maxMs"],
        "lag_p99_ms": lag["p99Ms"],
        "late": report["late"],
        "request_bytes": report["requestBytes"],
        "wall_s": round(wall, 3),
        "server_cpu_s": round(server_cpu, 3),
        "server_cores": round(server_cpu / wall, 3),
        "server_cpu_s_per_1000": server_cpu / answered * 1e3,
        "client_cores": round(client_cpu / wall, 3),
        "client_cpu_s_per_1000": client_cpu / answered * 1e3,
        "other_cores": round(max(0.0, busy - server_cpu - client_cpu) / wall, 3),
        "steal_cores": round(steal / wall, 3),
    }


def measure_engine(bench, scenario, where, options, record):
    """onnxruntime in a loop of Python: what a server adds its own cost to."""
    for callers in scenario["callers"]:
        processes.wait_quiet("none", options.quiet, options.quiet_wait)
        variant = {"max_batch": 1, "delay_ms": 0, "instances": 1, "threads": scenario["threads"]}
        model = where["model"]
        command = [
            bench.python(scenario["venv"]), HERE / "adapters" / "engine_alone.py", bench.case(model),
            json.dumps(scenario["batches"][model]), str(options.engine_seconds), str(callers),
        ]
        begin, busy = time.monotonic(), processes.machine_cpu_seconds()[0]
        done = subprocess.run(command, env=environment(bench.model(model), model, variant, ""), capture_output=True, text=True)
        if done.returncode:
            record({**where, "kind": "failed", "contender": "onnxruntime", "error": done.stderr[-500:]})
            continue
        cores = (processes.machine_cpu_seconds()[0] - busy) / (time.monotonic() - begin)
        for line in json.loads(done.stdout):
            record({**where, "kind": "engine", "contender": "onnxruntime", "machine_cores": round(cores, 2), **line})
