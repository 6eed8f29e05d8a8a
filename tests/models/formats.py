#!/usr/bin/env python3
"""What Slipway reads of files that the formats' own libraries wrote: `formats.py WORK [--slipway FILE]`.

Each file is made in the folder WORK, or taken out of a package, and shown to `slipway plan`; what that says of the model is held against what the
library says. Prints a line per file; ends with 1 when one differs. Run by `.tools/bin/python-formats`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import gguf
import numpy as np
import safetensors.numpy

from server import Refused, Served, free_ports

# Else it tells at each start what the processor can do.
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
import tensorflow as tf  # noqa: E402 (it reads the variables when it is imported)

REPOSITORY = Path(__file__).resolve().parents[2]
WHEELS = REPOSITORY / ".tools" / "formats"
GENERATOR = np.random.default_rng(7)


class Wrong(Exception):
    """What is read is not what was written."""


def read(slipway, file, **spec):
    """What `slipway plan` says of a file: the model's facts, and all that was said."""
    document = {
        "apiVersion": "slipway.dev/v1",
        "kind": "ModelDeployment",
        "metadata": {"name": "m"},
        "spec": {"model": {"uri": f"file://{file}"}, **spec},
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as written:
        written.write(json.dumps(document))
        written.flush()
        told = subprocess.run([slipway, "plan", "-f", written.name, "--output", "json"], capture_output=True, text=True, timeout=60)
    facts = json.loads(told.stdout)["platform"]["model"] if told.stdout.strip() else None
    return facts, told.stdout + told.stderr


def expect(what, found, wanted):
    if found != wanted:
        raise Wrong(f"{what}: {found} is read, {wanted} was written")


def has(told, *words):
    for word in words:
        if word not in told:
            raise Wrong(f"`{word}` is not said: {told.strip()[-600:]}")


def write_safetensors(work):
    tensors = {"a": np.zeros((3, 5), np.float32), "b": np.zeros(7, np.float16), "scalar": np.array(1, np.int64)}
    file = work / "weights.safetensors"
    safetensors.numpy.save_file(tensors, file, metadata={"format": "np"})
    return file, sum(tensor.size for tensor in tensors.values())


def of_safetensors(slipway, work):
    file, parameters = write_safetensors(work)
    facts, told = read(slipway, file)
    expect("format", facts["format"], "safetensors")
    expect("parameters", facts["parameters"], str(parameters))
    has(told, "weights without a graph")


def of_gguf(slipway, work):
    file = work / "weights.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(2048)
    writer.add_token_list([f"token {n}" for n in range(1000)])
    parameters = 0
    for kind in (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16, gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0):
        values = GENERATOR.normal(size=(6, 256)).astype(np.float32)
        parameters += values.size
        writer.add_tensor(f"blk.{kind.name}.weight", gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    facts, told = read(slipway, file)
    expect("format", facts["format"], "gguf")
    expect("parameters", facts["parameters"], str(parameters))
    has(told, "(llama)")
    cut = work / "cut.gguf"
    cut.write_bytes(file.read_bytes()[:-1000])
    has(read(slipway, cut)[1], "are left")


def of_torchscript(slipway, work):
    """As PyTorch saved it, which is no package that is installed for a test."""
    wheel = next(iter(WHEELS.glob("silero_vad-*.whl")))
    file = work / "silero_vad.jit"
    with zipfile.ZipFile(wheel) as package:
        file.write_bytes(package.read("silero_vad/data/silero_vad.jit"))
    facts, told = read(slipway, file, serving={"platform": "triton"}, infrastructure={"target": "kubernetes"})
    expect("format", facts["format"], "torchscript")
    operators = {operator["operator"]: operator["count"] for operator in facts["operators"]}
    if not {"torch.conv1d", "torch.sigmoid"} <= set(operators) or len(operators) < 20:
        raise Wrong(f"the operators are {operators}")
    has(told, "`x` is a tensor", "`sr` is of type int")


WORDS = ["low", "middling", "high"]


def saved(work, name, weights):
    """A layer that TensorFlow saved: with weights as they are given, and, where these are variables, a vocabulary in a file."""

    class Layer(tf.Module):
        def __init__(self):
            super().__init__()
            self.weights = weights
            self.words = None
            if isinstance(weights, tf.Variable):
                (work / "words.txt").write_text("\n".join(WORDS) + "\n")
                self.asset = tf.saved_model.Asset(str(work / "words.txt"))
                whole, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
                lines = tf.lookup.TextFileInitializer(self.asset, tf.int64, number, tf.string, whole)
                self.words = tf.lookup.StaticHashTable(lines, "?")

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="rows"), tf.TensorSpec([], tf.string, name="unit")])
        def serve(self, rows, unit):
            scores = tf.nn.relu(tf.linalg.matmul(rows, self.weights))
            best = tf.argmax(scores, axis=1)
            return {"scores": scores, "best": best, "unit": unit} | ({} if self.words is None else {"word": self.words.lookup(best)})

    layer = Layer()
    shutil.rmtree(work / name, ignore_errors=True)
    tf.saved_model.save(layer, str(work / name), signatures=layer.serve)
    return work / name / "saved_model.pb"


def as_file(work, weights):
    return saved(work, "frozen", tf.constant(weights))


def as_archive(work, weights):
    """The folder, by the library with which people in Python pack one: with times and owners in extensions."""
    folder = saved(work, "variables", tf.Variable(weights)).parent
    file = work / "variables.tar"
    with tarfile.open(file, "w") as archive:
        archive.add(folder, "model")
    return file


def of_saved_model(slipway, work):
    weights = GENERATOR.normal(size=(4, 3)).astype(np.float32)
    tensor = lambda name, datatype, shape: {"name": name, "datatype": datatype, "shape": shape}
    word = tensor("word", "BYTES", [-1])
    for file, more in ((as_file(work, weights), []), (as_archive(work, weights), [word])):
        facts, told = read(slipway, file)
        if facts is None:
            raise Wrong(f"{file}: {told}")
        expect("format", facts["format"], "saved-model")
        expect("inputs", facts["inputs"], [tensor("rows", "FP32", [-1, 4]), tensor("unit", "BYTES", [])])
        outputs = [tensor("best", "INT64", [-1]), tensor("scores", "FP32", [-1, 3]), tensor("unit", "BYTES", [])]
        expect("outputs", facts["outputs"], outputs + more)
        expect("producer", facts["producer"], f"tensorflow {tf.__version__}")
        operators = {operator["operator"] for operator in facts["operators"]}
        if not {"MatMul", "Relu", "ArgMax", "Const"} <= operators:
            raise Wrong(f"the operators are {sorted(operators)}")
        if int(facts["parameters"]) < weights.size:
            raise Wrong(f"{facts['parameters']} parameters are read, {weights.size} were written")
    has(read(slipway, work / "variables" / "saved_model.pb")[1], "tar --format=ustar")


def of_tensorflow_serving(slipway, work):
    """What the worker asks of TensorFlow Serving, and makes of its answers."""
    weights = GENERATOR.normal(size=(4, 3)).astype(np.float32)
    for file in (as_file(work, weights), as_archive(work, weights)):
        for asked, found in answers(slipway, file, work / "repository"):
            scores = np.maximum(asked["rows"] @ weights, 0)
            best = scores.argmax(axis=1)
            if not np.allclose(found["scores"], scores, atol=1e-6) or (found["best"] != best).any():
                raise Wrong(f"{asked} is answered with {found}")
            expect("an output of the vocabulary", "word" in found, file.suffix == ".tar")
            if "word" in found and [word.decode() for word in found["word"]] != [WORDS[one] for one in best]:
                raise Wrong(f"{asked} is answered with {found}")


def answers(slipway, file, repository):
    """What is asked of a model behind TensorFlow Serving, and what comes of it."""
    shutil.rmtree(repository, ignore_errors=True)
    repository.mkdir()
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    command = [sys.executable, "-B", str(Path(__file__).parent / "tensorflow_server.py"), address, str(repository / "model"), "model"]
    server = subprocess.Popen(command)
    try:
        flags = ["--server", "tensorflow-serving", "--server-address", address, "--server-repository", repository]
        with Served(slipway, file, "auto", *flags) as served:
            for rows in (1, 5, 1, 5):
                inputs = {"rows": GENERATOR.normal(size=(rows, 4)).astype(np.float32), "unit": np.array(b"cm", np.object_)}
                yield inputs, served.ask(inputs)
    except Refused as refused:
        raise Wrong(f"refused: {refused}") from refused
    finally:
        server.kill()
        server.wait()


FILES = {
    "safetensors": of_safetensors,
    "GGUF (gguf)": of_gguf,
    "TorchScript (silero-vad)": of_torchscript,
    "SavedModel (tensorflow)": of_saved_model,
    "TensorFlow Serving": of_tensorflow_serving,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--slipway", type=Path, default=REPOSITORY / "target" / "debug" / "slipway")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    failures = 0
    for name, check in FILES.items():
        try:
            check(arguments.slipway, work)
            print(f"{name:26} as it was written", flush=True)
        except Wrong as wrong:
            failures += 1
            print(f"{name:26} {wrong}", flush=True)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
