"""Writes onnxruntime.txt: the operators that ONNX Runtime computes on the CPU, as onnxruntime for Python says itself. `operators.py [--check]`.

An operator is there with a kernel, or with a body of others that ONNX Runtime puts in its place. `ZipMap` is left out: what it makes is no
tensor to ONNX Runtime.
"""

import sys
from pathlib import Path

import onnx
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema, get_all_opkernel_def

LIST = Path(__file__).with_name("onnxruntime.txt")
DOMAINS = {"": "", "ai.onnx.ml": "ai.onnx.ml.", "com.microsoft": "com.microsoft."}
# Folded into the graph before anything runs, so it needs no kernel.
FOLDED = {("", "Constant")}
NO_TENSOR = {("ai.onnx.ml", "ZipMap")}


def operators():
    kernels = {(kernel.domain, kernel.op_name) for kernel in get_all_opkernel_def() if kernel.provider == "CPUExecutionProvider"}
    bodies = {(op.domain, op.name) for op in onnx.defs.get_all_schemas() if op.has_function or op.has_context_dependent_function}
    known = {(op.domain, op.name) for op in get_all_operator_schema()}
    there = (kernels | (bodies & known) | FOLDED) - NO_TENSOR
    return sorted(DOMAINS[domain] + name for domain, name in there if domain in DOMAINS)


def main():
    text = f"# ONNX Runtime {onnxruntime.__version__}, CPU. Written by operators.py.\n" + "".join(f"{name}\n" for name in operators())
    if "--check" not in sys.argv:
        LIST.write_text(text)
    elif LIST.read_text() != text:
        sys.exit(f"{LIST} is not what onnxruntime {onnxruntime.__version__} says: run {Path(__file__).name}")


if __name__ == "__main__":
    main()
