"""Triton's backend `onnxruntime`, in Python: the package nvidia-pytriton brings the server without its own one. Triton runs it in a process of its own."""

import os
import sys

# Triton's interpreter does not look at PYTHONPATH.
sys.path.insert(0, os.environ["PACKAGES"])

import onnxruntime  # noqa: E402
import triton_python_backend_utils as triton  # noqa: E402

TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(double)": "TYPE_FP64",
    "tensor(float)": "TYPE_FP32",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(string)": "TYPE_STRING",
    "tensor(uint8)": "TYPE_UINT8",
}


def session(name):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(os.path.join(os.environ["REPOSITORY"], name, "1", "model.onnx"), options)


def described(tensor):
    return {"name": tensor.name, "data_type": TYPES[tensor.type], "dims": [size if isinstance(size, int) else -1 for size in tensor.shape]}


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        model = session(config.as_dict()["name"])
        for tensor in model.get_inputs():
            config.add_input(described(tensor))
        for tensor in model.get_outputs():
            config.add_output(described(tensor))
        return config

    def initialize(self, arguments):
        self.session = session(arguments["model_name"])
        self.inputs = [tensor.name for tensor in self.session.get_inputs()]
        self.outputs = [tensor.name for tensor in self.session.get_outputs()]

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        inputs = {name: triton.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs}
        try:
            values = self.session.run(self.outputs, inputs)
        except Exception as error:  # whatever onnxruntime says, the caller is told
            return triton.InferenceResponse(error=triton.TritonError(str(error)))
        return triton.InferenceResponse([triton.Tensor(name, value) for name, value in zip(self.outputs, values)])
