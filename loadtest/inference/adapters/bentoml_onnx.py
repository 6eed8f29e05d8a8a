"""BentoML: one API with one array, since a batchable API takes one parameter; several inputs lie stacked in it."""
import bentoml
import numpy as np

import given

batching = (
    {"batchable": True, "max_batch_size": given.MAX_BATCH, "max_latency_ms": 60_000} if given.MAX_BATCH > 1 else {}
)


@bentoml.service(
    name=given.NAME,
    workers=1,
    # not workers: keep-alive connections all land on whichever worker accepts first
    threads=given.INSTANCES,
    traffic={"timeout": 60},
    logging={"access": {"enabled": False}},
)
class Service:
    def __init__(self):
        self.engine = given.session()
        self.inputs = [(i.name, given.DTYPES[i.type]) for i in self.engine.get_inputs()]

    @bentoml.api(**batching)
    def predict(self, input: np.ndarray) -> np.ndarray:
        parts = [input] if len(self.inputs) == 1 else [input[:, k] for k in range(len(self.inputs))]
        feeds = {name: part.astype(dtype, copy=False) for (name, dtype), part in zip(self.inputs, parts)}
        return self.engine.run(None, feeds)[0]
