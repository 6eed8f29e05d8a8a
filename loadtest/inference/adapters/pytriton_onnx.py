"""Triton's own front end and dynamic batcher (nvidia-pytriton); the engine runs in its Python backend."""
import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

import given


def instance():
    engine = given.session()

    @batch
    def infer(**feeds):
        return [engine.run(None, feeds)[0]]

    return engine, infer


instances = [instance() for _ in range(given.INSTANCES)]
engine = instances[0][0]
inputs = [Tensor(name=i.name, dtype=given.DTYPES[i.type], shape=given.tail(i.shape)) for i in engine.get_inputs()]
output = engine.get_outputs()[0]
config = ModelConfig(
    max_batch_size=max(given.MAX_BATCH, 1),
    batching=True,
    batcher=DynamicBatcher(max_queue_delay_microseconds=int(given.BATCH_DELAY_MS * 1e3)),
)
endpoints = TritonConfig(
    http_address="127.0.0.1",
    http_port=given.HTTP_PORT,
    grpc_address="127.0.0.1",
    grpc_port=given.GRPC_PORT,
    metrics_address="127.0.0.1",
    metrics_port=given.METRICS_PORT,
)
with Triton(config=endpoints) as triton:
    triton.bind(
        model_name=given.NAME,
        infer_func=[infer for _, infer in instances],
        inputs=inputs,
        outputs=[Tensor(name=output.name, dtype=np.float32, shape=given.tail(output.shape))],
        config=config,
        strict=False,
    )
    triton.serve()
