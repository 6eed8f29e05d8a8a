"""Where a server's time goes: its CPU by layer, from `perf`."""
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

from .contenders import Failed

# Prime, so that nothing periodic is met every time.
SAMPLES_PER_S = 1999
ENGINE, NATS = "engine (onnxruntime)", "nats-server"
MEMORY, COPIES, OTHER = "allocation", "copies and comparisons", "the rest (generic code of std, inlined)"
KERNEL = "kernel: the rest"
# What the kernel does for whom: the first that a stack has, from the innermost frame on.
KERNEL_WORK = [
    ("kernel: sending", re.compile(r"^(tcp_sendmsg|sock_write_iter|unix_stream_sendmsg|__sys_send)")),
    ("kernel: receiving", re.compile(r"^(tcp_recvmsg|sock_read_iter|unix_stream_recvmsg|__sys_recv)")),
    ("kernel: waiting and waking", re.compile(r"^(do_epoll_wait|do_futex|eventfd_|schedule$|do_epoll_ctl)")),
]
LAYERS = {
    "HTTP and gRPC": "hyper hyper_util http http_body http_body_util httparse httpdate h2 tower tower_service tower_layer tower_http "
    "axum axum_core tonic matchit percent_encoding slab indexmap hashbrown atomic_waker want",
    "tokio": "tokio tokio_util tokio_stream mio futures_core futures_util futures_channel parking_lot parking_lot_core crossbeam_utils",
    "messages": "slipway_oip slipway_proto slipway_kernel prost serde serde_core serde_json memchr base64 bytes itoa zmij ryu simdutf8",
    "worker": "slipway_inference_worker",
    "ingress": "slipway_ingress",
    ENGINE: "ort ort_sys ndarray",
    "NATS client": "async_nats slipway_bus nkeys",
    "TLS": "rustls tokio_rustls ring webpki untrusted",
    "telemetry": "tracing tracing_core tracing_subscriber opentelemetry opentelemetry_sdk slipway_runtime prometheus_client hdrhistogram",
}
LAYER_OF = {crate: layer for layer, crates in LAYERS.items() for crate in crates.split()}
STANDARD = {"core", "alloc", "std"}
# The first part of a path: `http` in `<http::request::Parts as core::…>`.
CRATE = re.compile(r"(?<![\w:])([a-z_]\w*)::")
ALLOCATOR = re.compile(r"^(_?mi_|malloc|_int_|cfree|calloc|realloc|free$|__rust_|__rustc::__r|__rdl)")
COPY = re.compile(r"^_*(mem|str|bcmp)")
CIPHER = re.compile(r"(aes|gcm|ghash|chacha|poly1305|sha256|x25519|p256)", re.IGNORECASE)


class Sampling:
    """`perf record` on the processes of a server, between its making and `stop`."""

    def __init__(self, pids, folder):
        perf = shutil.which("perf")
        if not perf:
            raise Failed("a profile needs the program `perf` (Debian: linux-perf)")
        self.perf, self.file = perf, Path(folder, "perf.data")
        # The clock, not cycles: virtual machines have no counters. Per process, so that what others use is not counted.
        command = [perf, "record", "--event", "cpu-clock", "--freq", str(SAMPLES_PER_S), "-g", "--output", self.file]
        self.process = subprocess.Popen(
            [*command, "--pid", ",".join(map(str, sorted(pids)))], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def stop(self):
        # perf writes its file when it is told to end, and then ends by the same signal.
        self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate()
        if self.process.returncode not in (0, -signal.SIGINT):
            raise Failed(f"perf ended with {self.process.returncode}: {said.strip()[-300:]}")

    def layers(self, cpu_s_per_1000):
        """{layer: CPU-seconds per 1,000 requests}: the server's, shared out as the samples are."""
        command = [self.perf, "script", "--input", self.file, "--fields", "comm,ip,sym,dso"]
        shown = subprocess.run(command, capture_output=True, text=True)
        os.unlink(self.file)
        counted = count(shown.stdout)
        samples = sum(counted.values())
        if not samples:
            raise Failed(f"perf saw nothing of the server: {shown.stderr.strip()[-300:]}")
        return {layer: cpu_s_per_1000 * n / samples for layer, n in counted.most_common()}


def count(script):
    """Samples by layer, of what `perf script` prints: a line of the thread's name, then a line a frame, innermost first."""
    found = Counter()
    for sample in script.split("\n\n"):
        frames = [frame_of(line) for line in sample.strip("\n").splitlines()[1:]]
        if frames:
            found[layer_of(frames)] += 1
    return found


def frame_of(line):
    """(symbol, file) of `    7f12 symbol (file)`; symbols have blanks and brackets of their own."""
    _, _, rest = line.strip().partition(" ")
    symbol, _, file = rest.rpartition(" (")
    return symbol, file.removesuffix(")")


def layer_of(frames):
    symbol, file = frames[0]
    if "kernel" in file:
        for symbol, _ in frames:
            for layer, pattern in KERNEL_WORK:
                if pattern.match(symbol):
                    return layer
        return KERNEL
    name = Path(file).name
    if name.startswith("libonnxruntime"):
        return ENGINE
    if name == "nats-server":
        return NATS
    if ALLOCATOR.match(symbol):
        return MEMORY
    if COPY.match(symbol):
        return COPIES
    # Generic code of the standard library belongs to whoever it was made for, else to its caller where that is known.
    for symbol, _ in frames[:4]:
        crate = next((crate for crate in CRATE.findall(symbol) if crate not in STANDARD), None)
        if crate:
            return LAYER_OF.get(crate, "TLS" if CIPHER.search(symbol) else OTHER)
        if CIPHER.search(symbol):
            return "TLS"
    return OTHER
