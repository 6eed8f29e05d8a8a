"""Ray Serve: one deployment behind its HTTP proxy, without dashboard and access log."""
import numpy as np
import ray
from ray import serve
from ray.serve.schema import LoggingConfig

import given

BATCHED = given.MAX_BATCH > 1


@serve.deployment(
    num_replicas=given.INSTANCES,
    max_ongoing_requests=256,
    ray_actor_options={"num_cpus": 1 / given.INSTANCES},
    logging_config=LoggingConfig(enable_access_log=False, log_level="WARNING"),
)
class Onnx:
    def __init__(self):
        self.engine = given.session()
        self.inputs = [(i.name, given.DTYPES[i.type]) for i in self.engine.get_inputs()]

    @serve.batch(max_batch_size=max(given.MAX_BATCH, 1), batch_wait_timeout_s=given.BATCH_DELAY_MS / 1e3)
    async def batched(self, requests):
        feeds = {n: np.concatenate([r[n] for r in requests]) for n, _ in self.inputs}
        return list(self.engine.run(None, feeds)[0][:, None])

    async def __call__(self, request):
        body = await request.json()
        feeds = {name: np.asarray(body[name], dtype) for name, dtype in self.inputs}
        answer = await self.batched(feeds) if BATCHED else self.engine.run(None, feeds)[0]
        return {"output": answer.tolist()}


ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
serve.start(
    http_options={"host": "127.0.0.1", "port": given.HTTP_PORT},
    logging_config=LoggingConfig(enable_access_log=False, log_level="WARNING"),
)
serve.run(Onnx.bind(), route_prefix="/predict", blocking=True)
