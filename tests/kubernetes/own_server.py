#!/usr/bin/python3
"""A container of one's own, as services/platform-selector/container.md wants it: a format that nobody else knows, and work before the model.

The format: JSON of `classes`, and `means`, one row of 64 for each. Before the model: what is measured from 0 to 16 becomes 0 to 1. The model: the class
whose mean is nearest, and how near each is.
"""

import json
import os
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc import service_pb2_grpc as services

ADDRESS = "127.0.0.1:8001"
NAME = "model"
INPUTS = [("X", "FP32", [-1, 64])]
OUTPUTS = [("label", "INT64", [-1]), ("nearness", "FP32", [-1, 10])]


class Own(services.GRPCInferenceServiceServicer):
    """The calls of the contract; all others answer UNIMPLEMENTED."""

    def __init__(self, file):
        self.model = None
        threading.Thread(target=self.load, args=[file], daemon=True).start()

    def load(self, file):
        while not file.exists():  # It may come after the container has started.
            time.sleep(0.1)
        model = json.loads(file.read_text())
        self.model = np.array(model["classes"], np.int64), np.array(model["means"], np.float32) / 16

    def ServerLive(self, request, context):
        return messages.ServerLiveResponse(live=True)

    def ModelReady(self, request, context):
        return messages.ModelReadyResponse(ready=request.name == NAME and self.model is not None)

    def ModelMetadata(self, request, context):
        tensor = messages.ModelMetadataResponse.TensorMetadata
        told = lambda ports: [tensor(name=name, datatype=datatype, shape=shape) for name, datatype, shape in ports]
        return messages.ModelMetadataResponse(name=NAME, platform="nearest-mean", inputs=told(INPUTS), outputs=told(OUTPUTS))

    def ModelInfer(self, request, context):
        classes, means = self.model
        rows = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(-1, 64) / 16
        distances = np.linalg.norm(rows[:, None] - means[None], axis=2)
        answers = [classes[distances.argmin(axis=1)], (1 / (1 + distances)).astype(np.float32)]
        answer = messages.ModelInferResponse(model_name=NAME, id=request.id)
        for (name, datatype, _), values in zip(OUTPUTS, answers):
            answer.outputs.add(name=name, datatype=datatype, shape=values.shape)
            answer.raw_output_contents.append(values.tobytes())
        return answer


def main():
    server = grpc.server(futures.ThreadPoolExecutor(4))
    services.add_GRPCInferenceServiceServicer_to_server(Own(Path(os.environ["SLIPWAY_MODEL_FILE"])), server)
    server.add_insecure_port(ADDRESS)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
