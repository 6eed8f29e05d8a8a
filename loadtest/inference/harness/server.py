"""One contender, started for one model and one variant."""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse
import uuid
from pathlib import Path

from . import processes
from .contenders import PORTS, Failed

# Not the contender's choice: they slow a start, or change which kernel computes.
DROPPED = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
START_LIMIT_S = 120
STOP_LIMIT_S = 5


def environment(model_file, model, variant, work, tag=""):
    """What every contender and adapter is told. contenders.toml describes it."""
    env = {key: value for key, value in os.environ.items() if key not in DROPPED}
    return env | {
        "BENCH_TAG": tag,
        "BENCH_MODEL": str(model_file),
        "BENCH_MODEL_NAME": model,
        "BENCH_HTTP_PORT": PORTS["http"],
        "BENCH_GRPC_PORT": PORTS["grpc"],
        "BENCH_METRICS_PORT": PORTS["metrics"],
        "BENCH_MAX_BATCH": str(variant["max_batch"]),
        "BENCH_BATCH_DELAY_MS": str(variant["delay_ms"]),
        "BENCH_INSTANCES": str(variant["instances"]),
        "BENCH_THREADS": str(variant["threads"]),
        "BENCH_WORK": work,
    }


def nested(flat, shape):
    if len(shape) == 1:
        return flat
    step = len(flat) // shape[0]
    return [nested(flat[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


def first_request(case, protocol):
    """A request that a start is over with: the load generator's own come only after it."""
    inputs, sample = case["inputs"], case["samples"][0]["inputs"]
    if protocol == "json":
        return {spec["name"]: nested(values, spec["shape"]) for spec, values in zip(inputs, sample)}
    if protocol == "json-packed":
        shape = inputs[0]["shape"]
        if len(sample) > 1:
            shape = [shape[0], len(sample), *shape[1:]]
        return {"input": nested([value for part in sample for value in part], shape)}
    return {"inputs": [{**spec, "data": values} for spec, values in zip(inputs, sample)]}


class Server:
    def __init__(self, bench, contender, model, variant, cpus):
        self.bench, self.contender, self.model, self.variant = bench, contender, model, variant
        self.name, self.checked = contender["name"], contender.get("check", True)
        self.tag, self.work = uuid.uuid4().hex, tempfile.mkdtemp(prefix="bench-")
        words = bench.words(contender, model, variant, self.work)
        ready_file = contender.get("ready_file")
        self.ready_file = Path(ready_file.format(**words)) if ready_file else None
        self.endpoints = {protocol: url.format(**words) for protocol, url in contender["endpoints"].items()}
        env = environment(bench.model(model), model, variant, self.work, self.tag)
        env |= {key: value.format(**words) for key, value in contender.get("env", {}).items()}
        command = [word.format(**words) for word in contender["start"]]
        if cpus:
            command = ["taskset", "-c", cpus, *command]
        self.log = open(Path(self.work, "server.log"), "wb")
        begin = time.monotonic()
        try:
            self.process = subprocess.Popen(
                command, env=env, cwd=self.work, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                start_new_session=True,
            )
        except OSError as error:
            self.clean()
            raise Failed(f"{self.name} cannot be started: {error}") from error
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        self.ready_s = time.monotonic() - begin

    def said(self):
        return Path(self.log.name).read_text(errors="replace")[-1500:]

    def wait_ready(self):
        """Until the first answer over HTTP; where only gRPC is offered, until the port is open."""
        case = json.loads(self.bench.case(self.model).read_text())
        protocol = next((name for name in ("oip-json", "json", "json-packed") if name in self.endpoints), None)
        url = urllib.parse.urlparse(self.endpoints[protocol or "oip-grpc"])
        body = json.dumps(first_request(case, protocol)) if protocol else None
        limit = self.contender.get("start_limit_s", START_LIMIT_S)
        end, last = time.monotonic() + limit, "no connection"
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise Failed(f"{self.name} ended with {self.process.returncode}: {self.said()}")
            if self.ready_file and not self.ready_file.exists():
                time.sleep(0.05)
                continue
            try:
                if body is None:
                    socket.create_connection((url.hostname, url.port), 1).close()
                    return
                connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
                connection.request("POST", url.path, body, {"content-type": "application/json"})
                answer = connection.getresponse()
                last = f"{answer.status} {answer.read()[:300]!r}"
                connection.close()
                if answer.status == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.01)
        raise Failed(f"{self.name} gave no answer in {limit} s, last {last}: {self.said()}")

    def idle(self):
        """What the server takes when nobody asks it."""
        time.sleep(1)
        window = processes.Window(self.tag)
        time.sleep(2)
        wall, server, _, _, _ = window.close()
        pids = processes.members(self.tag)
        pss, rss = processes.memory_mib(pids)
        return {
            "ready_s": round(self.ready_s, 3), "idle_cores": round(server / wall, 4), "pss_mib": pss, "rss_mib": rss,
            "processes": len(pids), "threads": processes.threads(pids),
        }

    def stop(self):
        """SIGTERM to the group that was started; later SIGKILL to whatever still carries the tag."""
        pids = processes.members(self.tag)
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        end = time.monotonic() + self.contender.get("stop_limit_s", STOP_LIMIT_S)
        while time.monotonic() < end and processes.members(self.tag):
            self.process.poll()
            self.reap(pids)
            time.sleep(0.1)
        for pid in processes.members(self.tag):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.reap(pids)
        self.clean()

    def reap(self, pids):
        """Descendants whose parent has ended are ours to wait for."""
        for pid in pids - {self.process.pid}:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass

    def clean(self):
        self.log.close()
        shutil.rmtree(self.work, ignore_errors=True)
