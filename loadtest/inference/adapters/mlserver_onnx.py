"""MLServer: onnxruntime as a custom runtime. As a program: writes the settings and becomes `mlserver start`."""
import json
import os
import sys

import given

if __name__ != "__main__":
    from mlserver import MLModel
    from mlserver.codecs import NumpyCodec
    from mlserver.types import InferenceRequest, InferenceResponse

    class Onnx(MLModel):
        async def load(self) -> bool:
            self.engine = given.session()
            self.output = self.engine.get_outputs()[0].name
            return True

        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            feeds = {i.name: NumpyCodec.decode_input(i) for i in payload.inputs}
            (answer,) = self.engine.run(None, feeds)
            outputs = [NumpyCodec.encode_output(self.output, answer)]
            return InferenceResponse(model_name=self.name, outputs=outputs)

else:
    settings = {
        "host": "127.0.0.1",
        "http_port": given.HTTP_PORT,
        "grpc_port": given.GRPC_PORT,
        "metrics_port": given.METRICS_PORT,
        "parallel_workers": given.INSTANCES if given.INSTANCES > 1 else 0,
        "debug": False,
    }
    model = {"name": given.NAME, "implementation": "mlserver_onnx.Onnx"}
    if given.MAX_BATCH > 1:
        model |= {"max_batch_size": given.MAX_BATCH, "max_batch_time": given.BATCH_DELAY_MS / 1e3}
    for name, content in (("settings.json", settings), ("model-settings.json", model)):
        with open(os.path.join(given.WORK, name), "w") as f:
            json.dump(content, f)
    os.environ["PYTHONPATH"] = os.path.dirname(os.path.abspath(__file__))
    cli = os.path.join(os.path.dirname(sys.executable), "mlserver")
    os.execv(cli, [cli, "start", given.WORK])
