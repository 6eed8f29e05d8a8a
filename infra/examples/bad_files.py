"""Files that are no usable ONNX model, each in its own way, for the tests that feed Slipway bad input.

Each is the smallest file whose content says what it is, for a format is detected from content, never from the name.
None of them comes from the framework it looks like, so nothing has to be installed to make them.
"""

import io
import json
import pickle
import random
import struct
import zipfile

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def bad_files(good: bytes) -> dict[str, bytes]:
    """Name to content. `good` is a model that works, for the files that are a good one spoiled."""
    return {
        "empty.onnx": b"",
        "truncated.onnx": good[: len(good) * 3 // 5],
        "not-a-model.onnx": random.Random(20).randbytes(4096),
        "pickle.onnx": pickle.dumps({"weights": [0.5, -0.25], "classes": [0, 1]}, protocol=4),
        "unknown-operator.onnx": unknown_operator(),
        "external-weights.onnx": external_weights(),
        "nan-outputs.onnx": nan_outputs(),
        "tiny.safetensors": safetensors(),
        "torchscript.pt": torch_archive(scripted=True),
        "state-dict.pt": torch_archive(scripted=False),
        "saved_model.pb": saved_model(),
        "tensorrt.plan": tensorrt_plan(),
        "tiny.gguf": gguf(),
    }


def _model(name: str, nodes, initializers=(), domain: str | None = None) -> bytes:
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["N", 4])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="slipway-examples")
    return model.SerializeToString(deterministic=True)


def unknown_operator() -> bytes:
    """A well-formed model with one operator that no engine knows."""
    return _model("unknown-operator", [helper.make_node("Divine", ["X"], ["Y"], domain="example.oracle")], domain="example.oracle")


def external_weights() -> bytes:
    """A model whose weights are said to lie in a file outside of its folder: a path traversal inside the artifact."""
    weights = TensorProto(name="W", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value="../../../../etc/passwd")
    return _model("external-weights", [helper.make_node("Add", ["X", "W"], ["Y"])], [weights])


def nan_outputs() -> bytes:
    """A model that loads and runs, and answers NaN to everything."""
    weights = numpy_helper.from_array(np.full(4, np.nan, np.float32), "W")
    return _model("nan-outputs", [helper.make_node("Add", ["X", "W"], ["Y"])], [weights])


def safetensors() -> bytes:
    """One f32[2,2]: header length (u64, little endian), header (JSON, padded to eight bytes), data."""
    header = json.dumps({"weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + struct.pack("<4f", 1.0, 0.0, 0.0, 1.0)


def torch_archive(scripted: bool) -> bytes:
    """The zip that PyTorch writes: `constants.pkl` and `code/` are what tells TorchScript from a pickled state dict."""
    members = {"data.pkl": pickle.dumps({}, protocol=2), "version": b"3\n", "byteorder": b"little"}
    if scripted:
        # An object of the class, without attributes.
        members["data.pkl"] = b"\x80\x02c__torch__\nTwice\nq\x00)\x81}b."
        members["constants.pkl"] = pickle.dumps((), protocol=2)
        members["code/__torch__.py"] = (
            b"class Twice(Module):\n  __parameters__ = []\n  __buffers__ = []\n"
            b"  def forward(self: __torch__.Twice,\n    x: Tensor) -> Tensor:\n    return torch.mul(x, 2)\n"
        )
    else:
        members["data/0"] = struct.pack("<2f", 1.0, 2.0)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(members.items()):
            archive.writestr(zipfile.ZipInfo(f"archive/{name}", date_time=(1980, 1, 1, 0, 0, 0)), content)
    return out.getvalue()


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _varint(value >> 7)


def _field(number: int, content: bytes | int) -> bytes:
    """One protobuf field: a varint, or bytes."""
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def saved_model() -> bytes:
    """TensorFlow's SavedModel: schema version 1, one graph tagged `serve` with one placeholder and one signature, f32[4] to itself."""
    info = _field(4, b"serve") + _field(5, b"2.15.0")
    placeholder = _field(1, b"x") + _field(2, b"Placeholder")
    graph = _field(1, placeholder) + _field(4, _field(1, 127))
    tensor = _field(1, b"x:0") + _field(2, 1) + _field(3, _field(2, _field(1, 4)))
    port = _field(1, b"x") + _field(2, tensor)
    signature = _field(1, port) + _field(2, port) + _field(3, b"tensorflow/serving/predict")
    signatures = _field(1, b"serving_default") + _field(2, signature)
    meta_graph = _field(1, info) + _field(2, graph) + _field(5, signatures)
    return _field(1, 1) + _field(2, meta_graph)


def gguf() -> bytes:
    """GGUF version 3: the architecture, an alignment of eight, and one f32[2,2]."""
    text = lambda value: struct.pack("<Q", len(value)) + value
    keys = [text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama"), text(b"general.alignment") + struct.pack("<II", 4, 8)]
    tensor = text(b"weight") + struct.pack("<IQQIQ", 2, 2, 2, 0, 0)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(keys)) + b"".join(keys) + tensor
    return head + b"\0" * (-len(head) % 8) + struct.pack("<4f", 1.0, 0.0, 0.0, 1.0)


def tensorrt_plan() -> bytes:
    """The first bytes of a serialized TensorRT engine: `ftrt`, then the version of the serialization (232 = 8.5), then noise."""
    return b"ftrt" + struct.pack("<II", 0, 232) + random.Random(21).randbytes(1012)
