"""LitServe: one API process and one worker process a device."""
import litserve
import numpy as np

import given


class Onnx(litserve.LitAPI):
    def setup(self, device):
        self.engine = given.session()
        self.inputs = [(i.name, given.DTYPES[i.type]) for i in self.engine.get_inputs()]

    def decode_request(self, request):
        return {name: np.asarray(request[name], dtype) for name, dtype in self.inputs}

    def predict(self, feeds):
        return self.engine.run(None, feeds)[0]

    def encode_response(self, output):
        return {"output": output.tolist()}


if __name__ == "__main__":
    litserve.LitServer(Onnx(), accelerator="cpu", workers_per_device=given.INSTANCES, timeout=60).run(
        host="127.0.0.1",
        port=given.HTTP_PORT,
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
