"""`slipway serve` as a process, and the public client against it."""

import json
import os
import socket
import subprocess
import time
import urllib.request

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import np_to_triton_dtype

# A model of 90 MB is loaded, proved and measured in seconds; on a machine with other work in a minute.
PATIENCE_S = 180


class Refused(Exception):
    """The model is not served; the text is what Slipway says about it."""


def free_ports(count):
    """Ports that were free just now. Held together, so that no two are the same."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def environment():
    """Nothing of the caller's settings reaches the program; a panic that an engine's answer becomes is told without its trace."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("SLIPWAY_", "OTEL_"))} | {"RUST_BACKTRACE": "0"}


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


class Served:
    """A model that is served. Ends its process when it is left."""

    def __init__(self, slipway, path, engine, *more):
        self.http, grpc, self.admin = free_ports(3)
        places = ["--http", self.http, "--grpc", grpc, "--admin", self.admin]
        flags = [str(place) if isinstance(place, str) else f"127.0.0.1:{place}" for place in places]
        # A moment's wait lets the rows of several callers share a run, which is what is to be tried.
        command = [slipway, "serve", path, "--name", "model", "--engine", engine, "--max-delay", "5ms", *flags, *more]
        self.process = subprocess.Popen(
            list(map(str, command)), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
        )

    def __enter__(self):
        try:
            self.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()

    def wait(self):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Refused(last_words(self.process.communicate()[1]))
            try:
                if get(f"http://127.0.0.1:{self.admin}/status")["ready"] and get(f"http://127.0.0.1:{self.http}/v2/models/model"):
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise Refused(f"not ready within {PATIENCE_S} s")

    def measurement(self):
        """What the worker found out at load."""
        status = get(f"http://127.0.0.1:{self.admin}/status")
        return status["services"]["inference-worker"]["status"]["measurement"]

    def ask(self, inputs, binary=True):
        return ask(f"127.0.0.1:{self.http}", "model", inputs, binary)


def last_words(text):
    """What the program said at its end, without what a library wrote before."""
    lines = [line for line in text.splitlines() if line.startswith("error: ")]
    return (lines[-1] if lines else text.strip()[-400:]).removeprefix("error: ").removeprefix("the model cannot be served: ")


def ask(address, model, inputs, binary=True, headers=None):
    """One request with the public client; every output, by name."""
    tensors = []
    for name, values in inputs.items():
        tensor = triton.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
        tensor.set_data_from_numpy(np.asarray(values, order="C"), binary_data=binary)
        tensors.append(tensor)
    with triton.InferenceServerClient(address, network_timeout=120, connection_timeout=120) as client:
        named = client.get_model_metadata(model, headers=dict(headers or {}))["outputs"]
        wanted = [triton.InferRequestedOutput(output["name"], binary_data=binary) for output in named]
        result = client.infer(model, tensors, outputs=wanted, headers=dict(headers or {}))
        return {output["name"]: result.as_numpy(output["name"]) for output in named}
