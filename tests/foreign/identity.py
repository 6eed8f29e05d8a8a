"""Writes a model that gives each of its inputs back, one of every type: identity.py FILE"""

import sys

import onnx
from onnx import TensorProto, helper

TYPES = [
    ("BOOL", TensorProto.BOOL), ("INT8", TensorProto.INT8), ("INT16", TensorProto.INT16), ("INT32", TensorProto.INT32),
    ("INT64", TensorProto.INT64), ("UINT8", TensorProto.UINT8), ("UINT16", TensorProto.UINT16),
    ("UINT32", TensorProto.UINT32), ("UINT64", TensorProto.UINT64), ("FP16", TensorProto.FLOAT16),
    ("FP32", TensorProto.FLOAT), ("FP64", TensorProto.DOUBLE), ("BYTES", TensorProto.STRING),
]

inputs = [helper.make_tensor_value_info(f"in_{name}", kind, ["batch", 3]) for name, kind in TYPES]
outputs = [helper.make_tensor_value_info(f"out_{name}", kind, ["batch", 3]) for name, kind in TYPES]
nodes = [helper.make_node("Identity", [f"in_{name}"], [f"out_{name}"]) for name, _ in TYPES]
graph = helper.make_graph(nodes, "identity", inputs, outputs)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="slipway")
model.ir_version = 8
onnx.checker.check_model(model)
onnx.save(model, sys.argv[1])
