"""What an adapter is given: the model, its signature, and the settings of the run."""
import os

import numpy as np

DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}

MODEL = os.environ["BENCH_MODEL"]
NAME = os.environ["BENCH_MODEL_NAME"]
HTTP_PORT = int(os.environ["BENCH_HTTP_PORT"])
GRPC_PORT = int(os.environ["BENCH_GRPC_PORT"])
METRICS_PORT = int(os.environ["BENCH_METRICS_PORT"])
MAX_BATCH = int(os.environ["BENCH_MAX_BATCH"])
BATCH_DELAY_MS = float(os.environ["BENCH_BATCH_DELAY_MS"])
INSTANCES = int(os.environ["BENCH_INSTANCES"])
THREADS = int(os.environ["BENCH_THREADS"])
WORK = os.environ["BENCH_WORK"]


def session():
    """onnxruntime on the CPU with as many threads inside one run as the harness asks for."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])


def tail(shape):
    """The shape without its batch dimension; -1 where the model leaves a size open."""
    return tuple(d if isinstance(d, int) else -1 for d in shape[1:])
