"""The public client of the Open Inference Protocol against one server, in all its forms, without a line of Slipway.

usage: protocol.py HTTP GRPC MODEL FILE [--header NAME=VALUE] [--every-type]

HTTP and GRPC are host:port; MODEL is the name that the server calls FILE by. Every answer is compared with onnxruntime's.
`--every-type` says that the model gives each of its inputs back. Prints a line per check; ends with 1 if one failed.
"""

import argparse
import asyncio
import concurrent.futures
import traceback

import numpy as np
import onnxruntime
import tritonclient.grpc as grpc_client
import tritonclient.grpc.aio as grpc_aio
import tritonclient.http as http_client
import tritonclient.http.aio as http_aio
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

TOLERANCE = 1e-5
CALLERS = 64


class Reference:
    """What the model must answer."""

    def __init__(self, file):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def answer(self, inputs):
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, inputs)))


class Form:
    """One form of the client, with what differs between them."""

    def __init__(self, name, module, asynchronous, address, headers):
        self.name, self.module, self.asynchronous, self.headers = name, module, asynchronous, headers
        self.address = address

    def tensor(self, name, values, datatype, binary):
        tensor = self.module.InferInput(name, list(values.shape), datatype)
        if "http" in self.name:
            tensor.set_data_from_numpy(values, binary_data=binary)
        else:
            tensor.set_data_from_numpy(values)
        return tensor

    def output(self, name, binary):
        if "http" in self.name:
            return self.module.InferRequestedOutput(name, binary_data=binary)
        return self.module.InferRequestedOutput(name)

    async def call(self, method, *arguments, **named):
        """One call on a client of its own."""
        # A copy, because the client of HTTP leaves headers of its own in what it is given.
        named["headers"] = dict(self.headers)
        if self.asynchronous:
            async with self.module.InferenceServerClient(self.address) as client:
                return await getattr(client, method)(*arguments, **named)
        with self.module.InferenceServerClient(self.address) as client:
            return getattr(client, method)(*arguments, **named)


def field(document, name):
    return document[name] if isinstance(document, dict) else getattr(document, name)


def same(found, expected, what):
    assert found is not None, f"{what}: there is no such output"
    assert found.shape == expected.shape, f"{what}: {found.shape}, not {expected.shape}"
    if found.dtype.kind in "fc":
        worst = float(np.max(np.abs(found.astype(np.float64) - expected.astype(np.float64)), initial=0.0))
        assert worst <= TOLERANCE, f"{what}: differs by {worst}"
    elif found.dtype == np.object_:
        plain = [value if isinstance(value, bytes) else str(value).encode() for value in expected.flatten()]
        assert [bytes(value) for value in found.flatten()] == plain, what
    else:
        assert np.array_equal(found, expected), what


class Conformance:
    def __init__(self, arguments, form):
        self.form, self.model = form, arguments.model
        self.reference, self.every_type = Reference(arguments.file), arguments.every_type
        self.random = np.random.default_rng(7)

    async def metadata_of(self):
        return await self.form.call("get_model_metadata", self.model)

    async def inputs(self, rows, binary=True):
        """Values for every input, and the tensors that carry them."""
        values, tensors = {}, []
        for port in field(await self.metadata_of(), "inputs"):
            shape = [int(size) for size in field(port, "shape")]
            shape = [rows if axis == 0 and size < 0 else max(size, 1) for axis, size in enumerate(shape)]
            name, datatype = field(port, "name"), field(port, "datatype")
            value = self.values(datatype, shape)
            values[name] = value
            tensors.append(self.form.tensor(name, value, datatype, binary))
        return values, tensors

    def values(self, datatype, shape):
        if datatype == "BOOL":
            return self.random.integers(0, 2, shape).astype(bool)
        if datatype == "BYTES":
            words = [f"wörter {n}".encode() for n in self.random.integers(0, 1000, int(np.prod(shape)))]
            return np.array(words, dtype=np.object_).reshape(shape)
        kind = triton_to_np_dtype(datatype)
        if np.issubdtype(kind, np.floating):
            return self.random.normal(0, 4, shape).astype(kind)
        limits = np.iinfo(kind)
        return self.random.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)

    def expected(self, values):
        return self.reference.answer({name: as_onnx(value) for name, value in values.items()})

    async def check_server_and_model_say_what_they_are(self):
        assert await self.form.call("is_server_live") and await self.form.call("is_server_ready")
        assert await self.form.call("is_model_ready", self.model)
        server = await self.form.call("get_server_metadata")
        assert field(server, "name") and field(server, "version")
        assert "binary_tensor_data" in list(field(server, "extensions"))
        model = await self.metadata_of()
        assert field(model, "name") == self.model and list(field(model, "versions"))
        names = [port.name for port in self.reference.session.get_inputs()]
        assert [field(port, "name") for port in field(model, "inputs")] == names
        version = list(field(model, "versions"))[0]
        assert await self.form.call("is_model_ready", self.model, version)

    async def check_answers_are_those_of_onnxruntime(self):
        for rows in (1, 2, 7, 32):
            for binary in (True, False):
                if not binary and "http" not in self.form.name:
                    continue
                values, tensors = await self.inputs(rows, binary)
                if not binary:
                    if any(value.dtype in (np.float16,) for value in values.values()):
                        continue
                expected = self.expected(values)
                outputs = [self.form.output(name, binary) for name in expected]
                result = await self.form.call("infer", self.model, tensors, outputs=outputs, request_id="mine")
                for name, value in expected.items():
                    same(result.as_numpy(name), value, f"{name}, {rows} rows, binary {binary}")
                response = result.get_response()
                assert field(response, "id") == "mine", response

    async def check_without_outputs_named_all_are_answered(self):
        values, tensors = await self.inputs(3)
        result = await self.form.call("infer", self.model, tensors)
        for name, value in self.expected(values).items():
            same(result.as_numpy(name), value, name)

    async def check_one_output_of_several_may_be_asked_for(self):
        values, tensors = await self.inputs(2)
        expected = self.expected(values)
        last = list(expected)[-1]
        result = await self.form.call("infer", self.model, tensors, outputs=[self.form.output(last, True)])
        same(result.as_numpy(last), expected[last], last)
        assert all(result.as_numpy(name) is None for name in list(expected)[:-1])

    async def check_a_compressed_request_is_read(self):
        values, tensors = await self.inputs(4)
        expected = self.expected(values)
        for algorithm in ("gzip", "deflate"):
            named = {"request_compression_algorithm": algorithm}
            if "grpc" in self.form.name:
                named = {"compression_algorithm": algorithm}
            result = await self.form.call("infer", self.model, tensors, **named)
            for name, value in expected.items():
                same(result.as_numpy(name), value, f"{name}, {algorithm}")

    async def refused(self, says, method, *arguments, **named):
        try:
            await self.form.call(method, *arguments, **named)
        except InferenceServerException as error:
            assert says in str(error), f"`{says}` is not in: {error}"
            return
        raise AssertionError(f"{method} was not refused")

    async def check_what_does_not_fit_is_refused_by_name(self):
        values, tensors = await self.inputs(1)
        name = next(iter(values))
        strange = self.form.tensor("strange", np.zeros([1, 1], np.float32), "FP32", True)
        await self.refused("strange", "infer", self.model, [*tensors, strange])
        await self.refused(name, "infer", self.model, tensors[1:] or [strange])
        await self.refused("no-such-model", "infer", "no-such-model", tensors)
        await self.refused("77-7", "infer", self.model, tensors, model_version="77-7")
        outputs = [self.form.output("no-such-output", True)]
        await self.refused("no-such-output", "infer", self.model, tensors, outputs=outputs)
        first = next(iter(values.values()))
        if first.dtype.kind == "f":
            wide = np.zeros([1, *[size + 1 for size in first.shape[1:]], 2], np.float32)
            await self.refused("shape", "infer", self.model, [self.form.tensor(name, wide, "FP32", True)])
        wrong = self.form.tensor(name, np.zeros(first.shape, np.complex64).real.astype(np.int16), "INT16", True)
        if first.dtype != np.int16:
            await self.refused("datatype", "infer", self.model, [wrong, *tensors[1:]])

    async def check_many_callers_each_get_their_own_answer(self):
        requests = []
        for caller in range(CALLERS):
            values, tensors = await self.inputs(1 + caller % 3)
            requests.append((self.expected(values), tensors))

        async def call(expected, tensors):
            result = await self.form.call("infer", self.model, tensors)
            for name, value in expected.items():
                same(result.as_numpy(name), value, name)

        if self.form.asynchronous:
            await asyncio.gather(*(call(*request) for request in requests))
            return
        with concurrent.futures.ThreadPoolExecutor(CALLERS) as pool:
            for done in [pool.submit(lambda request=request: asyncio.run(call(*request))) for request in requests]:
                done.result()


def as_onnx(value):
    """Texts are texts to onnxruntime."""
    if value.dtype != np.object_:
        return value
    return np.array([text.decode() for text in value.flatten()], dtype=np.object_).reshape(value.shape)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("http")
    parser.add_argument("grpc")
    parser.add_argument("model")
    parser.add_argument("file")
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--every-type", action="store_true")
    arguments = parser.parse_args()
    headers = dict(header.split("=", 1) for header in arguments.header)
    forms = [
        Form("http", http_client, False, arguments.http, headers),
        Form("http asyncio", http_aio, True, arguments.http, headers),
        Form("grpc", grpc_client, False, arguments.grpc, headers),
        Form("grpc asyncio", grpc_aio, True, arguments.grpc, headers),
    ]
    failed = 0
    for form in forms:
        conformance = Conformance(arguments, form)
        for name in dir(conformance):
            if not name.startswith("check_"):
                continue
            try:
                asyncio.run(getattr(conformance, name)())
                print(f"ok      {form.name}: {name[6:].replace('_', ' ')}", flush=True)
            except Exception:
                failed += 1
                print(f"FAILED  {form.name}: {name[6:].replace('_', ' ')}", flush=True)
                traceback.print_exc()
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
