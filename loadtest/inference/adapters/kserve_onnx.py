"""KServe's Python model server. It listens on all addresses: run it in the harness's network namespace."""
import logging

from kserve import InferOutput, InferResponse, Model, ModelServer

import given


class Onnx(Model):
    def __init__(self):
        super().__init__(given.NAME)
        self.load()

    def load(self):
        self.engine = given.session()
        self.output = self.engine.get_outputs()[0].name
        self.ready = True
        return True

    async def predict(self, payload, headers=None, response_headers=None):
        (answer,) = self.engine.run(None, {i.name: i.as_numpy() for i in payload.inputs})
        return InferResponse(
            response_id=payload.id or "",
            model_name=self.name,
            infer_outputs=[InferOutput(self.output, list(answer.shape), "FP32", answer)],
            requested_outputs=payload.request_outputs,
            # over gRPC an array is always sent raw, and this flag makes 0.21 fail on one
            use_binary_outputs=payload.use_binary_outputs and not payload.from_grpc,
        )


server = ModelServer(
    http_port=given.HTTP_PORT,
    grpc_port=given.GRPC_PORT,
    workers=1,
    enable_docs_url=False,
    enable_latency_logging=False,
)
for name in ("uvicorn.access", "kserve", "kserve.trace"):
    logging.getLogger(name).setLevel(logging.WARNING)
server.start([Onnx()])
