#!/usr/bin/env python3
"""Makes the example models, their golden files and the spoiled files of the tests, all from fixed seeds.

    python make_models.py models [FOLDER]      the .onnx files, *.golden.jsonl and models.toml (here by default)
    python make_models.py bad-files [FOLDER]   the spoiled files (tests/data by default)
    python make_models.py check                makes both anew and compares them with what is committed

The data sets are the ones that scikit-learn ships. Seventy per cent train, thirty per cent are held out; the held-out
rows are the golden ones, so "known accuracy" is the accuracy on rows that the model has never seen.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

# One thread, so that sums are added in the same order on every machine.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from bad_files import bad_files

HERE = Path(__file__).resolve().parent
TEST_DATA = HERE.parent.parent / "tests" / "data"
OPSET = 17
IR_VERSION = 8

# Operators that many runtimes lack; without them skl2onnx writes plain arithmetic.
AVOIDED_OPERATORS = {"Scaler", "LinearClassifier", "Normalizer"}

# Weights keep this many bits after their leading one. Training ends a few last bits apart on processors with different
# vector units; cut to this, the weights and so the files are the same everywhere, and accuracy is measured after the cut.
WEIGHT_BITS = 13

# What a runtime's probabilities may differ by from scikit-learn's (f32 against f64).
LARGEST_DIFFERENCE = 2e-6

# digits-wide: hidden width and how often the same hidden layer is applied. The weights are one matrix, so the file stays
# small, and one row costs WIDE_LAYERS * WIDE_WIDTH^2 multiplications.
WIDE_WIDTH = 576
WIDE_LAYERS = 160


@dataclass
class Split:
    """A data set: `x` as f32 values (kept in f64, which scikit-learn trains in) and `y` as class numbers."""

    x_train: np.ndarray
    x_held_out: np.ndarray
    y_train: np.ndarray
    y_held_out: np.ndarray


@dataclass
class Example:
    """One model: its file, what it was made to answer (`model` is the file's own twin), and what it should answer."""

    name: str
    about: str
    onnx_bytes: bytes
    model: Pipeline
    golden_from: Pipeline
    data: Split


def load(loader) -> Split:
    data = loader()
    x = data.data.astype(np.float32).astype(np.float64)
    x_train, x_held_out, y_train, y_held_out = train_test_split(x, data.target, test_size=0.3, random_state=42, stratify=data.target)
    return Split(x_train, x_held_out, y_train, y_held_out)


def cut(values: np.ndarray) -> np.ndarray:
    fraction, exponent = np.frexp(values)
    return np.ldexp(np.round(fraction * 2.0**WEIGHT_BITS) / 2.0**WEIGHT_BITS, exponent)


def train(classifier, x: np.ndarray, y: np.ndarray) -> Pipeline:
    """Scales, trains, and cuts every learned number to WEIGHT_BITS."""
    with warnings.catch_warnings():
        # The perceptron trains for a fixed number of epochs on purpose.
        warnings.simplefilter("ignore", ConvergenceWarning)
        pipeline = make_pipeline(StandardScaler(), classifier).fit(x, y)
    scaler = pipeline[0]
    scaler.mean_, scaler.scale_ = cut(scaler.mean_), cut(scaler.scale_)
    if isinstance(classifier, MLPClassifier):
        classifier.coefs_ = [cut(layer) for layer in classifier.coefs_]
        classifier.intercepts_ = [cut(layer) for layer in classifier.intercepts_]
    else:
        classifier.coef_, classifier.intercept_ = cut(classifier.coef_), cut(classifier.intercept_)
    return pipeline


def perceptron() -> MLPClassifier:
    # `tol=0` and a patience beyond the epochs: a fixed number of epochs, not a comparison of losses that differ in a last bit.
    return MLPClassifier((128,), alpha=0.1, max_iter=120, tol=0.0, n_iter_no_change=1000, random_state=0)


def export(pipeline: Pipeline, name: str, data: Split) -> bytes:
    """The pipeline as ONNX: input X f32[N, features], outputs label i64[N] and probabilities f32[N, classes]."""
    model = to_onnx(
        pipeline,
        data.x_train[:1].astype(np.float32),
        name=name,
        options={"zipmap": False},
        target_opset={"": OPSET, "ai.onnx.ml": 1},
        black_op=AVOIDED_OPERATORS,
    )
    graph = model.graph
    graph.name = name
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    graph.output[1].type.tensor_type.shape.dim[1].dim_value = len(pipeline.classes_)
    return finish(model)


def export_wide(pipeline: Pipeline, name: str) -> bytes:
    """A trained perceptron carried through many wide layers that cost time and change nothing.

    The first columns of the hidden layer are the trained ones. The wide layer's weights are the identity on them, random
    on the rest, and the last layer gives the rest no weight; a ReLU leaves what is positive as it is. So the answers are
    those of the trained network, but an engine cannot know that.
    """
    scaler, mlp = pipeline[0], pipeline[-1]
    first, last = mlp.coefs_
    trained, classes = first.shape[1], last.shape[1]
    pad = WIDE_WIDTH - trained
    rng = np.random.default_rng(7)

    def random(*shape: int) -> np.ndarray:
        # Small whole numbers over a power of two: the same bits everywhere, and small enough that no layer outgrows the last.
        return rng.integers(-3, 4, shape) / 32.0

    inner = np.zeros((WIDE_WIDTH, WIDE_WIDTH))
    inner[:trained, :trained] = np.eye(trained)
    inner[:trained, trained:] = random(trained, pad)
    inner[trained:, trained:] = random(pad, pad)
    weights = {
        "mean": scaler.mean_,
        "scale": scaler.scale_,
        "w_first": np.hstack([first, random(first.shape[0], pad)]),
        "b_first": np.concatenate([mlp.intercepts_[0], np.zeros(pad)]),
        "w_inner": inner,
        "b_inner": np.concatenate([np.zeros(trained), random(pad)]),
        "w_last": np.vstack([last, np.zeros((pad, classes))]),
        "b_last": mlp.intercepts_[1],
    }
    nodes = [
        helper.make_node("Sub", ["X", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["scaled"]),
        helper.make_node("Gemm", ["scaled", "w_first", "b_first"], ["sum_0"]),
        helper.make_node("Relu", ["sum_0"], ["hidden_0"]),
    ]
    for layer in range(1, WIDE_LAYERS + 1):
        nodes.append(helper.make_node("Gemm", [f"hidden_{layer - 1}", "w_inner", "b_inner"], [f"sum_{layer}"]))
        nodes.append(helper.make_node("Relu", [f"sum_{layer}"], [f"hidden_{layer}"]))
    nodes += [
        helper.make_node("Gemm", [f"hidden_{WIDE_LAYERS}", "w_last", "b_last"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", first.shape[0]])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes]),
        ],
        [numpy_helper.from_array(value.astype(np.float32), key) for key, value in weights.items()],
    )
    return finish(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)]))


def finish(model: onnx.ModelProto) -> bytes:
    # skl2onnx leaves these in the order of a set, which changes from run to run.
    opsets = sorted(model.opset_import, key=lambda opset: opset.domain)
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    model.ir_version = IR_VERSION
    model.producer_name = "slipway-examples"
    model.producer_version = ""
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def make_examples() -> list[Example]:
    digits, cancer = load(load_digits), load(load_breast_cancer)

    # Held back by strong regularisation, so that the second version is a real step forward.
    v1 = train(LogisticRegression(C=0.1, max_iter=2000, tol=1e-8), digits.x_train, digits.y_train)
    v2 = train(perceptron(), digits.x_train, digits.y_train)
    # The mistake: the label column was shifted by one, so every picture is called by the next digit.
    v3 = train(perceptron(), digits.x_train, (digits.y_train + 1) % 10)
    logistic = train(LogisticRegression(max_iter=2000, tol=1e-8), cancer.x_train, cancer.y_train)

    def example(name, about, model, data, golden_from=None, onnx_bytes=None):
        return Example(name, about, onnx_bytes or export(model, name, data), model, golden_from or model, data)

    return [
        example("digits-v1", "logistic regression", v1, digits),
        example("digits-v2", "perceptron, 128 hidden units", v2, digits),
        example("digits-v3", "perceptron trained on labels shifted by one: wrong on purpose; its golden file is what v2 answers", v3, digits, v2),
        example(
            "digits-wide",
            f"digits-v2 carried through {WIDE_LAYERS} layers of width {WIDE_WIDTH}: same answers, milliseconds a row, cheaper in batches",
            v2,
            digits,
            onnx_bytes=export_wide(v2, "digits-wide"),
        ),
        example("breast-cancer", "logistic regression", logistic, cancer),
    ]


def verify(example: Example) -> float:
    """Runs the file in onnxruntime against scikit-learn, alone and in batches; the accuracy on the held-out rows."""
    session = onnxruntime.InferenceSession(example.onnx_bytes, providers=["CPUExecutionProvider"])
    x, y = example.data.x_held_out, example.data.y_held_out
    label, probabilities = session.run(["label", "probabilities"], {"X": x.astype(np.float32)})
    one_by_one = np.concatenate([session.run(["label"], {"X": row[None].astype(np.float32)})[0] for row in x])
    expected = example.model.predict_proba(x)
    difference = float(np.abs(probabilities - expected).max())
    accuracy = float((label == y).mean())
    if label.dtype != np.int64 or probabilities.dtype != np.float32 or probabilities.shape != expected.shape:
        sys.exit(f"{example.name}: outputs are {label.dtype}{label.shape} and {probabilities.dtype}{probabilities.shape}")
    if difference > LARGEST_DIFFERENCE or not (label == example.model.predict(x)).all() or not (label == one_by_one).all():
        sys.exit(f"{example.name}: onnxruntime and scikit-learn disagree (probabilities by up to {difference:.1e})")
    print(f"{example.name:14} {len(example.onnx_bytes):8} bytes  accuracy {accuracy:.4f}  onnxruntime - scikit-learn {difference:.1e}")
    return accuracy


def plain(value: float) -> float | int:
    return int(value) if value == int(value) else float(value)


def golden(example: Example) -> bytes:
    """A line per held-out row: the true label, and the probabilities of the model as it should be (to six decimals)."""
    lines = []
    x, y = example.data.x_held_out, example.data.y_held_out
    # The shortest text that gives the same f32 back.
    shown = x.astype(np.float32)
    for row, label, probabilities in zip(shown, y, example.golden_from.predict_proba(x)):
        line = {
            "inputs": {"X": [plain(float(str(value))) for value in row]},
            "expected": {"label": int(label), "probabilities": [plain(round(float(p), 6)) for p in probabilities]},
        }
        lines.append(json.dumps(line, separators=(",", ":")))
    return ("\n".join(lines) + "\n").encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def models() -> dict[str, bytes]:
    """Name to content of everything that `models` writes."""
    files, table = {}, ["# Written by make_models.py. `accuracy` is the share of the golden rows whose label the model gets right."]
    for example in make_examples():
        accuracy = verify(example)
        model_name, golden_name = f"{example.name}.onnx", f"{example.name}.golden.jsonl"
        files[model_name], files[golden_name] = example.onnx_bytes, golden(example)
        rows, features = example.data.x_held_out.shape
        table.append(
            f"""
[[model]]
name = "{example.name}"
about = "{example.about}"
file = "{model_name}"
sha256 = "{sha256(files[model_name])}"
bytes = {len(files[model_name])}
golden = "{golden_name}"
golden_sha256 = "{sha256(files[golden_name])}"
rows = {rows}
features = {features}
classes = {len(example.model.classes_)}
accuracy = {accuracy:.4f}"""
        )
    files["models.toml"] = ("\n".join(table) + "\n").encode()
    return files


def spoiled(examples: Path) -> dict[str, bytes]:
    return bad_files((examples / "digits-v1.onnx").read_bytes())


def write(files: dict[str, bytes], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
        print(f"{sha256(content)}  {folder / name}")


def check() -> None:
    """Ends with 1 and the names if what is committed is not what this script makes."""
    wrong = []
    with tempfile.TemporaryDirectory() as made:
        for files, folder in ((models(), HERE), (spoiled(HERE), TEST_DATA)):
            write(files, Path(made))
            for name, content in files.items():
                if not (folder / name).is_file() or (folder / name).read_bytes() != content:
                    wrong.append(str(folder / name))
    if wrong:
        sys.exit("not what make_models.py makes here: " + ", ".join(wrong))
    print("every file is what this script makes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["models", "bad-files", "check"])
    parser.add_argument("folder", nargs="?", type=Path, help="where to write")
    asked = parser.parse_args()
    match asked.what:
        case "models":
            write(models(), asked.folder or HERE)
        case "bad-files":
            write(spoiled(HERE), asked.folder or TEST_DATA)
        case "check":
            check()


if __name__ == "__main__":
    main()
