"""A client as a stranger would write it: nats-py, nkeys and the published .proto files; no code of Slipway.

usage: client.py NATS_URL SEED_FILE PROTO_FOLDER < messages.json > answers.json

A message: {subject, mode: binary|structured|raw, format: json|protobuf, source, id, type, message, data, raw, sign}.
"""

import asyncio
import base64
import hashlib
import json
import pathlib
import sys
import tempfile

import nats
import nkeys
import grpc_tools
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_tools import protoc

TIMEOUT_SECONDS = 20


def read_protos(folder, out):
    """Compiles the published .proto files the way any client does, and gives a way to make their messages."""
    root = pathlib.Path(folder)
    files = [str(path.relative_to(root)) for part in ("slipway/v1", "io/cloudevents/v1") for path in sorted((root / part).glob("*.proto"))]
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    described = pathlib.Path(out) / "descriptors.bin"
    code = protoc.main(["protoc", f"-I{root}", f"-I{well_known}", "--include_imports", f"--descriptor_set_out={described}", *files])
    if code != 0:
        raise SystemExit(f"protoc ended with {code}")
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(described.read_bytes()).file:
        pool.Add(file)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def encode(message, message_class):
    """Headers and payload of one message."""
    if "raw" in message and message["mode"] == "raw":
        return {}, message["raw"].encode()
    protobuf = message["format"] == "protobuf"
    media = "application/protobuf" if protobuf else "application/json"
    if "raw" in message:
        data = message["raw"].encode("latin-1")
    elif protobuf:
        data = json_format.ParseDict(message["data"], message_class(message["message"])()).SerializeToString()
    else:
        data = json.dumps(message["data"]).encode()
    attributes = {"specversion": "1.0", "id": message["id"], "source": message["source"], "type": message["type"]}
    if message["mode"] == "binary":
        return {f"ce-{name}": value for name, value in attributes.items()} | {"content-type": media}, data
    if "raw" in message:
        return {"content-type": "application/cloudevents+json"}, data
    if not protobuf:
        event = attributes | {"datacontenttype": media, "data": message["data"]}
        return {"content-type": "application/cloudevents+json"}, json.dumps(event).encode()
    event = message_class("io.cloudevents.v1.CloudEvent")()
    event.id, event.source, event.spec_version, event.type = message["id"], message["source"], "1.0", message["type"]
    event.attributes["datacontenttype"].ce_string = media
    event.binary_data = data
    return {"content-type": "application/cloudevents+protobuf"}, event.SerializeToString()


def signed(message, headers, payload, key):
    """Adds who sent it. The signature covers subject, payload, source and id."""
    how = message.get("sign", "right")
    if how == "none" or message["mode"] == "raw" and "id" not in message:
        return headers
    digest = hashlib.sha256(payload).hexdigest()
    text = f"{message['subject']}\n{digest}\n{message.get('source', '')}\n{message.get('id', '')}"
    if how == "wrong":
        text += "!"
    signature = base64.urlsafe_b64encode(key.sign(text.encode())).decode().rstrip("=")
    return headers | {"slipway-key": key.public_key.decode(), "slipway-signature": signature}


async def main(url, seed_file, proto_folder):
    messages = json.load(sys.stdin)
    key = nkeys.from_seed(pathlib.Path(seed_file).read_bytes().strip())
    violations = asyncio.Queue()

    async def on_error(error):
        await violations.put(str(error))

    client = await nats.connect(url, nkeys_seed=seed_file, error_cb=on_error, max_reconnect_attempts=2)
    with tempfile.TemporaryDirectory() as out:
        message_class = read_protos(proto_folder, out)
        answers = []
        for message in messages:
            headers, payload = encode(message, message_class)
            headers = signed(message, headers, payload, key)
            request = asyncio.create_task(client.request(message["subject"], payload, timeout=TIMEOUT_SECONDS, headers=headers or None))
            violation = asyncio.create_task(violations.get())
            done, pending = await asyncio.wait({request, violation}, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            if request in done:
                try:
                    answers.append(json.loads(request.result().data))
                except Exception as error:  # Told to the test, which judges.
                    answers.append({"error": f"no-answer: {error!r}"})
            else:
                text = violation.result().lower()
                answers.append({"error": "permissions-violation" if "permissions violation" in text else text})
    await client.close()
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
