"""Writes a model whose rows are large: the mean of 65,536 numbers each, 256 KiB, and what each is beyond it. mean.py FILE"""

import sys

import onnx
from onnx import TensorProto, helper

numbers = helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["batch", 65536])
mean = helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["batch", 1])
beyond = helper.make_tensor_value_info("beyond", TensorProto.FLOAT, ["batch", 65536])
nodes = [
    helper.make_node("ReduceMean", ["numbers"], ["mean"], axes=[1], keepdims=1),
    helper.make_node("Sub", ["numbers", "mean"], ["beyond"]),
]
graph = helper.make_graph(nodes, "mean", [numbers], [mean, beyond])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="slipway")
model.ir_version = 8
onnx.checker.check_model(model)
onnx.save(model, sys.argv[1])
