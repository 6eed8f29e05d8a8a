"""The command line of `bench`."""
import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from . import install, report
from .contenders import HERE, Bench, Failed
from .figures import Figures
from .runs import loads_of, measure_all, plan
from .verdicts import number, verdicts

SCENARIOS = ["overhead", "small", "engine", "compute", "vision"]
RESULTS = HERE / "results"
# prctl: the children of children that end become ours, so that their CPU time is not lost and they can be ended.
PR_SET_CHILD_SUBREAPER = 36


def names(text):
    return text.split(",")


def parse():
    parser = argparse.ArgumentParser(description=__package__ and sys.modules[__package__].__doc__)
    parser.add_argument("--config", type=Path, default=HERE / "contenders.toml")
    parser.add_argument("--venvs", type=Path, help="environments, models and cases ($PEER_VENVS, else .tools/peers)")
    parser.add_argument("--programs", type=Path, help="folder of slipway, inference-load and inference-floor (target/release)")
    commands = parser.add_subparsers(dest="command", required=True)

    everything = commands.add_parser("all", help="install what is missing, measure, write RESULTS.md")
    everything.add_argument("--quick", action="store_true", help="one short round without the heavy peers: a look")
    measured(everything)

    installing = commands.add_parser("install", help="install what is missing")
    installing.add_argument("names", nargs="*", help="as in requirements/; all of them if none is named")

    running = commands.add_parser("run", help="measure")
    running.add_argument("scenarios", nargs="+", choices=SCENARIOS)
    measured(running)

    profiling = commands.add_parser("profile", help="measure, and tell where the servers' time went; needs `perf`")
    profiling.add_argument("scenarios", nargs="+", choices=[name for name in SCENARIOS if name != "engine"])
    profiling.add_argument("--write", action="store_true", help="put it in its place in RESULTS.md")
    measured(profiling)
    profiling.set_defaults(rounds=1)

    shown = commands.add_parser("report", help="verdicts and tables of a result file, as Markdown")
    shown.add_argument("results", type=Path)
    shown.add_argument("--write", action="store_true", help="put it in its place in RESULTS.md")
    parser.set_defaults(profile=False)
    profiling.set_defaults(profile=True)
    return parser.parse_args()


def measured(parser):
    parser.add_argument("--out", type=Path, help="result file, a line of JSON per run; appended to (results/DATE.jsonl)")
    for name, what in (("contenders", ""), ("protocols", ""), ("models", ""), ("variants", ""), ("concurrency", "; `open` is the open loop")):
        parser.add_argument(f"--{name}", type=names, default=[], help=f"only these, with commas between{what}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--warm-up", type=float, default=1, help="seconds of load before each run")
    parser.add_argument("--start-warm-up", type=float, default=4, help="seconds of load on each endpoint after a start")
    parser.add_argument("--engine-seconds", type=float, default=2)
    parser.add_argument("--pin", choices=["shared", "split"], default="shared", help="split: server on core 0, client on core 1")
    parser.add_argument("--quiet", type=float, default=0.1, help="cores that others may use before a run starts")
    parser.add_argument("--quiet-wait", type=float, default=60, help="longest wait for that, in seconds")
    parser.add_argument("--disturbed", type=float, default=0.2, help="a run during which others used more cores is repeated")
    parser.add_argument("--retries", type=int, default=1)
    parser.add_argument("--priority", type=int, default=0, help="nice value of servers and client alike")


def isolate():
    """Runs in a network namespace of its own: there is loopback alone, no port is taken and nothing leaves the machine."""
    if os.environ.get("BENCH_ISOLATED"):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    os.environ["BENCH_ISOLATED"] = "1"
    # Who is not root is root of a user namespace, which is enough for it.
    rights = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    os.execvp("unshare", ["unshare", *rights, "--net", "--", sys.executable, *sys.argv])


def conditions(options):
    read = lambda path: Path(path).read_text()
    cpu = next((line.split(":")[1].strip() for line in read("/proc/cpuinfo").splitlines() if "model name" in line), "unknown")
    memory_kib = int(next(line.split()[1] for line in read("/proc/meminfo").splitlines() if line.startswith("MemTotal")))
    return {
        "kind": "conditions", "cpu": cpu, "cores": len(os.sched_getaffinity(0)), "memory_gib": round(memory_kib / (1 << 20), 1),
        "kernel": os.uname().release, "load": " ".join(read("/proc/loadavg").split()[:3]),
        **{key: getattr(options, key) for key in ("rounds", "seconds", "warm_up", "start_warm_up", "pin", "priority")},
    }


class Record:
    """Keeps every row in the result file, and tells the person what matters of it."""

    TOLD = ("rps", "p50_ms", "p99_ms", "server_cpu_s_per_1000", "server_cores", "errors", "wrong", "other_cores", "ready_s",
            "pss_mib", "rows", "rows_per_s", "version")

    def __init__(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(path, "a", buffering=1)

    def __call__(self, row):
        row["at"] = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        self.file.write(json.dumps(row) + "\n")
        what = [str(row[key]) for key in ("scenario", "contender", "model", "variant", "protocol", "load") if row.get(key)]
        figures = [f"{key} {number(row[key]) if isinstance(row[key], float) else row[key]}" for key in self.TOLD if key in row]
        place = f"[{row['step']}, round {row['round'] + 1}] " if "step" in row else ""
        error = f": {row['error'][-500:]}" if "error" in row else ""
        install.say(f"{place}{row['kind']} {' '.join(what)}  {', '.join(figures)}{error}")


def seconds_of(bench, options):
    """About how long it takes: the loads, and ten seconds for each start and stop."""
    total = 0.0
    for name, _, contender, _, model in plan(bench, options):
        scenario = bench.scenarios[name]
        if contender is None:
            total += len(scenario["callers"]) * len(scenario["batches"][model]) * (options.engine_seconds + 0.5) + 3
            continue
        endpoints = [protocol for protocol in contender["endpoints"] if not options.protocols or protocol in options.protocols]
        a_run = options.seconds + options.warm_up + 1
        total += 10 + len(endpoints) * (options.start_warm_up + len(loads_of(scenario, options)) * a_run)
    return total


def measure(bench, options):
    # However it is ended, the server that runs is stopped first; a background job of a shell would not even hear of Control-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # What descendants leave behind is ended and counted here.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if options.priority:
        os.nice(options.priority)
    record = Record(options.out)
    record(conditions(options))
    for name, contender in bench.contenders.items():
        used = any(scenario in contender["scenarios"] for scenario in options.scenarios)
        if used and (not options.contenders or name in options.contenders):
            record({"kind": "version", "contender": name, "version": bench.version(contender)})
    install.say(f"about {seconds_of(bench, options) / 60:.0f} minutes; results in {options.out}")
    measure_all(bench, options, record)


def main():
    options = parse()
    bench = Bench(options.config, options.venvs, options.programs)
    if options.command == "install":
        install.install(bench, [install.TOOLS, *options.names] if options.names else install.needed(bench))
        install.build_programs()
        return
    if options.command == "report":
        show(options.results, options.write)
        return
    options.out = options.out or RESULTS / time.strftime("%Y-%m-%d-%H%M%S.jsonl", time.gmtime())
    if options.command == "all":
        options.scenarios = SCENARIOS
        if options.quick:
            look_only(bench, options)
        if not os.environ.get("BENCH_ISOLATED"):
            install.install(bench, install.needed(bench, options.contenders, options.scenarios))
            install.build_programs()
            # The same file in the namespace, which starts this program anew.
            sys.argv += ["--out", str(options.out)]
    isolate()
    measure(bench, options)
    if options.command == "all":
        show(options.out, write=True)
    if options.command == "profile":
        text = report.profiles(Figures.read(options.out))
        print(text)
        if options.write:
            report.write(text, report.PROFILE)


def look_only(bench, options):
    """One short round of what installs in a minute."""
    options.rounds, options.seconds, options.start_warm_up, options.scenarios = 1, 2, 1, ["overhead", "engine", "compute"]
    # Whoever only looks does not wait for a quiet machine.
    options.quiet_wait, options.retries = min(options.quiet_wait, 5), 0
    light = [name for name, contender in bench.contenders.items() if not contender.get("heavy")]
    options.contenders = [name for name in options.contenders or light if name in light]
    options.models = options.models or ["mlp", "minilm", "angle"]
    options.variants, options.concurrency = options.variants or ["default", "batch8"], options.concurrency or ["1", "8", "64"]


def show(results, write):
    figures = Figures.read(results)
    text = report.report(figures)
    if not write:
        print(text)
        return
    report.write(text, report.BESIDE)
    for verdict in verdicts(figures):
        met = {True: "met", False: "MISSED", None: "not measured"}[verdict.met]
        print(f"{met:12} {verdict.text} ({verdict.protocol}): {number(verdict.value)}, {verdict.bound}")
    print(f"written to {report.RESULTS}")


def run():
    try:
        main()
    except (Failed, ValueError) as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
