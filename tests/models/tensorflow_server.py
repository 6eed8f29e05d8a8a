#!/usr/bin/env python3
"""TensorFlow Serving's protocol, answered by TensorFlow: `tensorflow_server.py ADDRESS BASE NAME`.

The messages are those of the package tensorflow-serving-api, and TensorFlow computes; of the server itself, a program in C++, there is no package. Like it,
this answers once there is a version below BASE. Of its two ways to write a tensor it takes one and the other in turn.
"""

import itertools
import os
import sys
import time
from concurrent import futures
from pathlib import Path

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}  # Else it tells what the processor can do.
# The package without what it depends on, which is all of TensorFlow once more.
sys.path[:0] = map(str, (Path(__file__).resolve().parents[2] / ".tools" / "formats").glob("tensorflow_serving_api-*.whl"))

import grpc  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow.core.protobuf import saved_model_pb2  # noqa: E402
from tensorflow_serving.apis import (  # noqa: E402
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

SERVED = "serving_default"
# The signature of what is run once, before anything is asked.
INITIALISE = "__saved_model_init_op"


def typed(values):
    """A tensor written number by number, as the server does it unless it is told otherwise."""
    proto = tf.make_tensor_proto(values)
    if proto.tensor_content:
        field = {tf.float32: "float_val", tf.int64: "int64_val", tf.int32: "int_val"}[tf.dtypes.as_dtype(proto.dtype)]
        getattr(proto, field).extend(values.ravel().tolist())
        proto.ClearField("tensor_content")
    return proto


class Serving(prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer):
    """The graph as the server runs it: in a session, with the values of variables where their folder lies beside the file, then initialised."""

    def __init__(self, version, name):
        self.name = name
        saved = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
        self.signature = saved.meta_graphs[0].signature_def[SERVED]
        self.writers = itertools.cycle([tf.make_tensor_proto, typed])
        graph_of = saved.meta_graphs[0]
        with tf.Graph().as_default() as graph:
            tf.compat.v1.train.import_meta_graph(graph_of)
            self.session = tf.compat.v1.Session(graph=graph)
        # Tensors that say where a file lies.
        assets = {asset.tensor_info.name: str(version / "assets" / asset.filename) for asset in graph_of.asset_file_def}
        if (version / "variables" / "variables.index").exists():
            values = {graph_of.saver_def.filename_tensor_name: str(version / "variables" / "variables")}
            self.session.run(graph_of.saver_def.restore_op_name, values | assets)
        if INITIALISE in graph_of.signature_def:
            self.session.run(graph_of.signature_def[INITIALISE].outputs[INITIALISE].name.split(":")[0], assets)

    def checked(self, spec, context):
        if spec.name != self.name:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Latest({spec.name})")

    def GetModelStatus(self, request, context):
        self.checked(request.model_spec, context)
        response = get_model_status_pb2.GetModelStatusResponse()
        response.model_version_status.add(version=1, state=get_model_status_pb2.ModelVersionStatus.AVAILABLE)
        return response

    def GetModelMetadata(self, request, context):
        self.checked(request.model_spec, context)
        told = get_model_metadata_pb2.SignatureDefMap()
        told.signature_def[SERVED].CopyFrom(self.signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(told)
        return response

    def Predict(self, request, context):
        self.checked(request.model_spec, context)
        inputs = {self.signature.inputs[name].name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
        outputs = self.session.run({name: port.name for name, port in self.signature.outputs.items()}, inputs)
        response, write = predict_pb2.PredictResponse(), next(self.writers)
        for name, values in outputs.items():
            response.outputs[name].CopyFrom(write(values))
        return response


def main():
    address, base, name = sys.argv[1:]
    base = Path(base)
    while not (base / "1").exists():
        time.sleep(0.1)
    serving = Serving(base / "1", name)
    server = grpc.server(futures.ThreadPoolExecutor(4))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(serving, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(serving, server)
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
