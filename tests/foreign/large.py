"""A program whose requests are too large for a message: it puts them into the object store of its namespace and says where they
are; written with nats-py as a stranger would, no code of Slipway.

usage: large.py NATS_URL SEED_FILE INBOX_PREFIX < questions.json > answers.json

questions: {subject, key, bucket, file, documentBytes}: the file is a document of so many bytes with tensors behind it.
"""

import asyncio
import json
import sys

import nats
from models import told

TIMEOUT_SECONDS = 60


async def main(url, seed_file, inbox_prefix):
    questions = json.load(sys.stdin)
    client = await nats.connect(url, nkeys_seed=seed_file, inbox_prefix=inbox_prefix.encode(), max_reconnect_attempts=2)
    objects = await client.jetstream(timeout=TIMEOUT_SECONDS).object_store(questions["bucket"])
    with open(questions["file"], "rb") as file:
        await objects.put("request-1", file.read())
    headers = {
        "slipway-api-key": questions["key"],
        "inference-header-content-length": str(questions["documentBytes"]),
        "ce-dataref": "request-1",
    }
    subject, answers = questions["subject"], {}
    answers["asked"] = told(await client.request(f"{subject}.infer", b"", timeout=TIMEOUT_SECONDS, headers=headers))
    inbox = await client.subscribe(f"{inbox_prefix}.mine")
    leave = headers | {"slipway-reply-to": f"{inbox_prefix}.mine"}
    await client.jetstream().publish(f"{subject}.request", b"", timeout=TIMEOUT_SECONDS, headers=leave)
    answers["left"] = told(await inbox.next_msg(timeout=TIMEOUT_SECONDS))
    # Overwritten and removed like any object.
    await objects.put("request-1", b"{}")
    await objects.delete("request-1")
    answers["gone"] = told(await client.request(f"{subject}.infer", b"", timeout=TIMEOUT_SECONDS, headers=headers))
    await client.close()
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
