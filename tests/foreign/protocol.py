"""The public client of the Open Inference Protocol against one server, in all its forms, without a line of Slipway.

usage: protocol.py HTTP GRPC MODEL FILE [--header NAME=VALUE] [--every-type]

HTTP and GRPC are host:port; MODEL is the name that the server calls FILE by. Every answer is compared with onnxruntime's.
`--every-type` says that the model gives each of its inputs back. Prints a line per check; ends with 1 if one failed.
"""

import argparse
import asyncio
import concurrent.futures
import queue
import traceback

import aiohttp
import numpy as np
import onnxruntime
import tritonclient.grpc as grpc_client
import tritonclient.grpc.aio as grpc_aio
import tritonclient.http as http_client
import tritonclient.http.aio as http_aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype, triton_to_np_dtype

TOLERANCE = 1e-5
CALLERS = 64
# Requests of one stream, and which of them is wrong.
STREAMED, WRONG = 100, 17


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

    async def check_a_request_may_say_how_urgent_it_is(self):
        values, tensors = await self.inputs(2)
        for priority in (1, 2, 3):
            result = await self.form.call("infer", self.model, tensors, priority=priority)
            for name, expected in self.expected(values).items():
                same(result.as_numpy(name), expected, name)
        await self.refused("priority", "infer", self.model, tensors, priority=4)

    async def check_what_is_served_is_in_the_index(self):
        index = await self.form.call("get_model_repository_index")
        models = index if isinstance(index, list) else list(index.models)
        own = [model for model in models if field(model, "name") == self.model]
        assert own and all(field(model, "state") == "READY" for model in own), models
        versions = list(field(await self.metadata_of(), "versions"))
        assert [field(model, "version") for model in own] == versions, (own, versions)

    async def check_the_configuration_is_that_of_the_model(self):
        answer = await self.form.call("get_model_config", self.model)
        config = answer if isinstance(answer, dict) else answer.config
        assert field(config, "name") == self.model
        batched = field(config, "max_batch_size") > 0
        for port, described in zip(field(config, "input"), field(await self.metadata_of(), "inputs")):
            assert field(port, "name") == field(described, "name")
            shape = [int(size) for size in field(described, "shape")]
            assert [int(size) for size in field(port, "dims")] == shape[1 if batched else 0 :], (port, described)

    async def figures(self, *version):
        answer = await self.form.call("get_inference_statistics", self.model, *version)
        (stats,) = field(answer, "model_stats")
        requests = field(stats, "inference_stats")
        return {
            "rows": int(field(stats, "inference_count")),
            "runs": int(field(stats, "execution_count")),
            "last": int(field(stats, "last_inference")),
            "sizes": {
                int(field(batch, "batch_size")): int(field(field(batch, "compute_infer"), "count"))
                for batch in field(stats, "batch_stats")
            },
            **{
                part: (int(field(field(requests, part), "count")), int(field(field(requests, part), "ns")))
                for part in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
            },
        }

    async def check_the_statistics_count_what_was_done(self):
        version = list(field(await self.metadata_of(), "versions"))[0]
        before = await self.figures(version)
        values, tensors = await self.inputs(2)
        rows = next(iter(values.values())).shape[0]
        for _ in range(3):
            await self.form.call("infer", self.model, tensors)
        after = await self.figures()
        # The validator of a mesh may have asked meanwhile.
        assert after["rows"] - before["rows"] >= 3 and after["rows"] >= 3 * min(rows, 1), (before, after)
        assert after["runs"] - before["runs"] >= 3 and sum(after["sizes"].values()) == after["runs"], (before, after)
        for part in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
            assert after[part][0] - before[part][0] >= 3 and after[part][1] > before[part][1], (part, before, after)
        assert after["last"] >= before["last"] > 1_700_000_000_000 or before["runs"] == 0, (before, after)

    async def check_a_stream_answers_each_request_under_its_id(self):
        requests = []
        for number in range(STREAMED):
            values, tensors = await self.inputs(1 + number % 3)
            model = "no-such-model" if number == WRONG else self.model
            requests.append((f"r-{number}", model, tensors, self.expected(values)))
        told = await (self.streamed_aio if self.form.asynchronous else self.streamed)(requests)
        assert len(told) == STREAMED, len(told)
        for number, ((name, _, _, expected), (result, error)) in enumerate(zip(requests, told)):
            if number == WRONG:
                assert result is None and "no-such-model" in str(error), (result, error)
                continue
            assert error is None and result.get_response().id == name, (name, result, error)
            for output, value in expected.items():
                same(result.as_numpy(output), value, f"{name}, {output}")

    check_a_stream_answers_each_request_under_its_id.only = "grpc"

    async def streamed(self, requests):
        told = queue.Queue()
        with self.form.module.InferenceServerClient(self.form.address) as client:
            client.start_stream(lambda result, error: told.put((result, error)), headers=dict(self.form.headers))
            for name, model, tensors, _ in requests:
                client.async_stream_infer(model, tensors, request_id=name)
            answers = [told.get(timeout=60) for _ in requests]
            client.stop_stream()
            return answers

    async def streamed_aio(self, requests):
        async def asked():
            for name, model, tensors, _ in requests:
                yield {"model_name": model, "inputs": tensors, "request_id": name}

        async with self.form.module.InferenceServerClient(self.form.address) as client:
            answers = client.stream_infer(asked(), headers=dict(self.form.headers))
            return [answer async for answer in answers]

    async def check_a_websocket_answers_each_message_under_its_id(self):
        """In no dialect of a client: what a browser would do."""
        expected, messages = {}, []
        for number in range(STREAMED):
            values, _ = await self.inputs(1 + number % 3)
            if any(value.dtype in (np.float16, np.object_) for value in values.values()):
                return
            expected[f"r-{number}"] = self.expected(values)
            inputs = [
                {"name": name, "datatype": np_to_triton_dtype(value.dtype), "shape": list(value.shape), "data": value.flatten().tolist()}
                for name, value in values.items()
            ]
            messages.append({"id": f"r-{number}", "inputs": inputs if number != WRONG else []})
        url = f"http://{self.form.address}/v2/models/{self.model}/stream"
        async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=dict(self.form.headers)) as socket:
            for message in messages:
                await socket.send_json(message)
            told = {}
            for _ in messages:
                answer = await asyncio.wait_for(socket.receive_json(), 60)
                told[answer["id"]] = answer
        assert set(told) == set(expected)
        for name, answer in told.items():
            if name == f"r-{WRONG}":
                assert answer["code"] == "invalid-argument" and answer["refusals"], answer
                continue
            for output in answer["outputs"]:
                value = expected[name][output["name"]]
                same(np.array(output["data"], dtype=value.dtype).reshape(output["shape"]), value, f"{name}, {output['name']}")

    check_a_websocket_answers_each_message_under_its_id.only = "http asyncio"

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
            if not name.startswith("check_") or getattr(getattr(conformance, name), "only", "") not in form.name:
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
