"""A program that asks a model over NATS, as a stranger would write it with nats-py; no code of Slipway.

usage: models.py NATS_URL SEED_FILE INBOX_PREFIX < questions.json > answers.json

questions: {subject, key, body}, where subject is `slipway.inference.<namespace>.<deployment>`.
"""

import asyncio
import json
import sys

import nats

TIMEOUT_SECONDS = 20


def told(message):
    headers = {name.lower(): value for name, value in (message.headers or {}).items()}
    return {"headers": headers, "body": json.loads(message.data)}


async def main(url, seed_file, inbox_prefix):
    questions = json.load(sys.stdin)
    violations = asyncio.Queue()

    async def on_error(error):
        await violations.put(str(error).lower())

    client = await nats.connect(url, nkeys_seed=seed_file, inbox_prefix=inbox_prefix.encode(), error_cb=on_error, max_reconnect_attempts=2)
    subject, body = questions["subject"], questions["body"].encode()
    headers = {"content-type": "application/json", "slipway-api-key": questions["key"]}
    answers = {}

    # Asked and waited for, with the one call that every client has.
    answers["asked"] = told(await client.request(f"{subject}.infer", body, timeout=TIMEOUT_SECONDS, headers=headers))
    answers["stranger"] = told(await client.request(f"{subject}.infer", body, timeout=TIMEOUT_SECONDS, headers={"content-type": "application/json"}))

    # Left, and answered at an inbox; a second time under the same id.
    inbox = await client.subscribe(f"{inbox_prefix}.mine")
    leave = headers | {"slipway-reply-to": f"{inbox_prefix}.mine"}
    first, second = leave | {"Nats-Msg-Id": "stranger-1"}, leave | {"slipway-request-id": "stranger-1"}
    kept = await client.jetstream().publish(f"{subject}.request", body, timeout=TIMEOUT_SECONDS, headers=first)
    answers["kept"] = {"stream": kept.stream, "seq": kept.seq}
    answers["left"] = told(await inbox.next_msg(timeout=TIMEOUT_SECONDS))
    await client.jetstream().publish(f"{subject}.request", body, timeout=TIMEOUT_SECONDS, headers=second)
    answers["again"] = told(await inbox.next_msg(timeout=TIMEOUT_SECONDS))

    # What is not its own.
    answers["violations"] = []
    for attempt in (
        lambda: client.subscribe("_SLIPWAY_CLIENT.>"),
        lambda: client.subscribe("slipway.inference.>"),
        lambda: client.publish("slipway.inference.other.model.request", body, headers=headers),
    ):
        await attempt()
        await client.flush()
        answers["violations"].append(await asyncio.wait_for(violations.get(), TIMEOUT_SECONDS))
    await client.close()
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
