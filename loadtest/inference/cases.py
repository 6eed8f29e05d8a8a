#!/usr/bin/env python3
"""Writes the case files: `cases.py MODELS OUT`.

A case is the model's signature, seeded samples (all different, so that an answer given to the wrong caller is caught), and what
onnxruntime answers to each alone with one thread.
"""
import json
import os
import sys

import numpy as np
import onnxruntime as ort

TOKENS = 128


def text(rng, _):
    length = int(rng.integers(TOKENS // 2, TOKENS + 1))
    ids = np.zeros((1, TOKENS), np.int64)
    ids[0, :length] = rng.integers(1996, 29000, length)
    ids[0, 0], ids[0, length - 1] = 101, 102
    mask = (np.arange(TOKENS) < length).astype(np.int64)[None]
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def short(rng, shapes):
    return {name: np.round(rng.normal(0, 1, shape), 3).astype(np.float32) for name, shape in shapes.items()}


def pixels(rng, shapes):
    return {name: rng.integers(0, 17, shape).astype(np.float32) for name, shape in shapes.items()}


# model -> (maker of samples, shapes of the float inputs, tolerance, how many samples: a picture is a megabyte of text)
MODELS = {
    "mlp": (short, {"input": (1, 4)}, 1e-5, 32),
    "digits": (pixels, {"X": (1, 64)}, 1e-5, 32),
    "angle": (short, {"x": (1, 3, 48, 192)}, 1e-4, 32),
    "minilm": (text, None, 1e-4, 32),
    "resnet50": (short, {"image": (1, 3, 224, 224)}, 1e-3, 8),
}
DATATYPES = {"float32": "FP32", "int64": "INT64"}


def case(name, path):
    make, shapes, atol, count = MODELS[name]
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    engine = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    rng, samples = np.random.default_rng(11), []
    for _ in range(count):
        feeds = make(rng, shapes)
        (answer,) = engine.run(None, feeds)
        # The decimal text of an f32, not its longer f64 expansion: bodies as a client would write them.
        flat = [[json.loads(str(value)) for value in tensor.reshape(-1)] for tensor in feeds.values()]
        samples.append({"inputs": flat, "expected": answer.reshape(-1).tolist()})
    inputs = [{"name": n, "datatype": DATATYPES[str(a.dtype)], "shape": list(a.shape)} for n, a in feeds.items()]
    output = {"name": engine.get_outputs()[0].name, "datatype": "FP32", "shape": list(answer.shape)}
    return {"model": name, "inputs": inputs, "output": output, "atol": atol, "samples": samples}


def main():
    models, out = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    for name in MODELS:
        made = case(name, os.path.join(models, name + ".onnx"))
        spread = float(np.ptp([sample["expected"] for sample in made["samples"]], axis=0).max())
        if spread < 10 * made["atol"]:
            sys.exit(f"{name}: the answers are too alike for an exchanged one to be seen")
        with open(os.path.join(out, name + ".json"), "w") as file:
            json.dump(made, file)
        print(f"{name}: {len(made['samples'])} samples, outputs differ by up to {spread:.3g}, onnxruntime {ort.__version__}")


if __name__ == "__main__":
    main()
