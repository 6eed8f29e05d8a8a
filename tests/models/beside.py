"""Triton beside `slipway serve`: the very server, from the package nvidia-pytriton. Slipway hands models over; Triton is killed and starts anew."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import triton_package
from compare import Wrong
from server import Refused, Served, environment, free_ports

PATIENCE_S = 60
# Trees, a convolution, a transformer; and one with a state that rows may not share.
MODELS = ["boosting", "ocr-direction", "minilm", "silero-vad-16k"]
# This one sees its server killed.
KILLED = "boosting"


class Triton:
    """The server, with an empty repository. Ends when it is left."""

    def __init__(self, wheels, folder):
        shutil.rmtree(folder, ignore_errors=True)
        self.repository, self.backends = folder / "repository", folder / "backends"
        self.repository.mkdir(parents=True)
        server, libraries, self.packages = triton_package.unpack(wheels, folder / "package")
        triton_package.lay_backends(server, self.backends)
        self.program = server / "bin" / "tritonserver"
        # Where the system has no libpython, one lies beside the packages.
        self.libraries = f"{libraries}:{wheels}"
        self.log = (folder / "triton.log").open("w")
        (self.port,) = free_ports(1)
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.end(signal.SIGTERM)

    def start(self):
        """As it is started in a pod, but for what each machine needs."""
        command = [
            self.program,
            f"--model-repository={self.repository}",
            f"--backend-directory={self.backends}",
            "--model-control-mode=explicit",
            "--load-model=model",
            "--exit-on-error=false",
            "--backend-config=default-max-batch-size=0",
            "--allow-http=false",
            "--allow-metrics=false",
            "--grpc-address=127.0.0.1",
            f"--grpc-port={self.port}",
        ]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        variables = environment() | {
            "LD_LIBRARY_PATH": self.libraries,
            "PATH": path,
            "PACKAGES": str(self.packages),
            "REPOSITORY": str(self.repository),
        }
        self.process = subprocess.Popen(list(map(str, command)), env=variables, stdout=self.log, stderr=self.log, start_new_session=True)

    def end(self, how):
        # The processes of its Python backend are in its group.
        if self.process.poll() is None:
            os.killpg(self.process.pid, how)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def flags(self):
        """What `slipway serve` is told of it."""
        return ["--device", "cpu", "--server", "triton", "--server-address", f"127.0.0.1:{self.port}", "--server-repository", self.repository]


def tried(slipway, work, wheels, prepared, ask_everything):
    """What failed. `ask_everything(served, prepared)` asks a server that is ready all that there is to ask."""
    if why := triton_package.missing():
        print(f"behind Triton: NOT RUN: {why}")
        return []
    failures = []
    with Triton(wheels, work / "triton") as triton:
        for one in prepared:
            if one.model.name not in MODELS:
                continue
            begin = time.monotonic()
            try:
                outcome = ask_everything(Served(slipway, one.path, "auto", *triton.flags()), one)
                if outcome.engine != "triton":
                    raise Wrong(f"`{outcome.engine}` computed")
                if one.model.name == KILLED:
                    killed(slipway, triton, one)
                told = f"{outcome.distance.largest:.0e} ({outcome.distance.answers} outputs), {outcome.rows_per_second:,.0f} rows/s"
            except Exception as error:  # whatever it is, the other models are tried too
                told = f"{type(error).__name__}: {error}"
                failures.append(f"{one.model.name} behind Triton: {told}")
            print(f"{one.model.name:20} {'triton':12} {time.monotonic() - begin:5.1f} s  {told}", flush=True)
        failures += garbage(slipway, work, triton)
    return failures


def killed(slipway, triton, prepared):
    """Without its server a worker says so and goes on; with a new one, which finds the model where it lay, it answers again."""
    case, expected = prepared.cases[0]
    with Served(slipway, prepared.path, "auto", *triton.flags()) as served:
        served.ask(case.inputs)
        triton.end(signal.SIGKILL)
        try:
            served.ask(case.inputs)
            raise Wrong("it answered while its server was killed")
        except Exception as error:  # the client has one for all that a server says
            if isinstance(error, Wrong) or "the model server at" not in str(error):
                raise
        triton.start()
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                found = served.ask(case.inputs)
                break
            except Exception as error:
                if time.monotonic() > deadline:
                    raise Wrong(f"no answer {PATIENCE_S} s after its server was back: {error}") from error
                time.sleep(0.2)
        if set(found) != set(expected):
            raise Wrong(f"the outputs are {sorted(found)}")


def garbage(slipway, work, triton):
    """What Triton refuses is refused in its words."""
    path = work / "garbage.onnx"
    path.write_bytes(b"no model")
    try:
        with Served(slipway, path, "auto", *triton.flags()):
            return ["garbage behind Triton: it is served"]
    except Refused as refusal:
        wanted = f"the model server at 127.0.0.1:{triton.port} does not serve the model: "
        return [] if wanted in str(refusal) else [f"garbage behind Triton: {refusal}"]
