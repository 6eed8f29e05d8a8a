#!/usr/bin/env python3
"""Real models on Slipway, every answer compared with onnxruntime: `run.py WORK [--only NAME...] [--no-mesh] [--no-triton]`.

Each model of `catalogue.py` is made in the folder WORK, served by `slipway serve` on each engine and on the one that Slipway chooses,
and asked with the public client. Some are then served with Triton behind Slipway, and some deployed through the whole mesh. Prints a line per step and the tables of README.md;
ends with 1 when an answer differs, when a model is refused that should run, or runs that should be refused.
"""

import argparse
import concurrent.futures
import json
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import beside
import mesh
from cases import REPOSITORY
from catalogue import MODELS
from compare import Distance, Reference, Wrong, operators
from server import Refused, Served

ENGINES = ["onnxruntime", "tract", "auto"]
# Callers at once, each with a row of its own.
CALLERS = 8
# JSON is tried where the text of the tensors stays small.
JSON_ELEMENTS = 20_000
DATATYPES = {"f": "FP", "i": "INT", "u": "UINT"}


@dataclass
class Outcome:
    """What came of a model on an engine."""

    engine: str = ""
    reason: str = ""
    refusal: str = ""
    # Why it was refused until golden vectors proved it.
    doubt: str = ""
    distance: Distance = None
    rows_per_second: float = 0.0
    failure: str = ""


class Prepared:
    """A model's file, its reference and its cases with the right answers."""

    def __init__(self, model, work, wheels):
        self.model, self.path = model, work / f"{model.name}.onnx"
        given = model.write(self.path, wheels)
        self.reference = Reference(self.path)
        cases = model.cases if given is None else model.cases(given)
        self.cases = [(case, self.reference(case.inputs)) for case in cases(wheels, self.reference)]
        for case, expected in self.cases:
            if case.sensible:
                case.sensible(expected)
        self.nodes, self.kinds = operators(self.path)

    def golden(self):
        """The cases as the worker reads them before it serves."""
        path = self.path.with_suffix(".golden.ndjson")
        lines = [
            {"request": {"inputs": tensors(case.inputs)}, "response": {"outputs": tensors(expected)}} for case, expected in self.cases
        ]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path


def tensors(named):
    def tensor(name, values):
        datatype = DATATYPES[values.dtype.kind] + str(8 * values.dtype.itemsize)
        # The decimal text of a float32, not its longer float64 expansion.
        data = [json.loads(str(value)) for value in values.ravel()]
        return {"name": name, "datatype": datatype, "shape": list(values.shape), "data": data}

    return [tensor(name, values) for name, values in named.items()]


def on(slipway, prepared, engine):
    """Serves the model on the engine and asks it everything."""
    model, outcome = prepared.model, Outcome()
    try:
        try:
            asked(Served(slipway, prepared.path, engine), prepared, outcome)
        except Refused as refusal:
            if model.doubted.get(engine, "\0") not in str(refusal):
                raise
            outcome.doubt = str(refusal)
            asked(Served(slipway, prepared.path, engine, "--golden", prepared.golden()), prepared, outcome)
        for expected in (model.refused, {} if outcome.doubt else model.doubted):
            if engine in expected:
                raise Wrong(f"it is served, and was expected to be refused: {expected[engine]}")
    except Refused as refusal:
        outcome.refusal = str(refusal)
        if model.refused.get(engine, "\0") not in outcome.refusal:
            outcome.failure = f"refused: {outcome.refusal}"
    except Exception as error:  # whatever it is, the other models are tried too, and the end tells of it
        outcome.failure = f"{type(error).__name__}: {error}"
        if not isinstance(error, Wrong):
            traceback.print_exc()
    return outcome


def asked(served, prepared, outcome):
    with served:
        measurement = served.measurement()
        outcome.engine, outcome.reason = measurement["engine"], measurement["engineReason"]
        outcome.rows_per_second = max(point["rowsPerSecond"] for point in measurement["points"])
        outcome.distance = Distance(prepared.model.tolerance)
        for case, expected in prepared.cases:
            compared(outcome.distance, case, served.ask(case.inputs), expected)
            if sum(values.size for values in [*case.inputs.values(), *expected.values()]) <= JSON_ELEMENTS:
                compared(outcome.distance, case, served.ask(case.inputs, binary=False), expected)
            if case.rows:
                apart(served, prepared.reference, outcome.distance, case)


def behind(served, prepared):
    """All of it, of a model that another server computes."""
    outcome = Outcome()
    asked(served, prepared, outcome)
    return outcome


def compared(distance, case, found, expected):
    for name, values in expected.items():
        distance.add(found.get(name), values, f"{case.name}, output `{name}`")
    if case.sensible:
        case.sensible(found)


def apart(served, reference, distance, case):
    """Each row by a caller of its own, at the same time, so that rows share runs; each must get its own answer."""
    count = len(next(iter(case.inputs.values())))
    rows = [{name: values[row : row + 1] for name, values in case.inputs.items()} for row in range(count)]
    with concurrent.futures.ThreadPoolExecutor(CALLERS) as callers:
        answers = list(callers.map(served.ask, rows))
    for row, (inputs, found) in enumerate(zip(rows, answers)):
        for name, values in reference(inputs).items():
            distance.add(found.get(name), values, f"{case.name}, row {row} alone, output `{name}`")


def cell(outcome):
    """An engine's column: what it answers, or why it does not."""
    if outcome.failure:
        return f"**{short(outcome.failure)}**"
    if outcome.refusal:
        return f"refused: {short(outcome.refusal)}"
    note = f"; without golden vectors refused: {short(outcome.doubt)}" if outcome.doubt else ""
    return f"{outcome.distance.largest:.0e} ({outcome.distance.answers} outputs), {outcome.rows_per_second:,.0f} rows/s{note}"


def short(text, most=160):
    text = " ".join(text.replace("|", "/").split())
    return text if len(text) <= most else text[: most - 1] + "…"


def tables(rows):
    yield "| model | package, licence | MB | nodes (kinds) | ONNX Runtime | tract | `auto` takes, because |"
    yield "|---|---|---|---|---|---|---|"
    for prepared, outcomes in rows:
        model, chosen = prepared.model, outcomes["auto"]
        size = prepared.path.stat().st_size / 1e6
        took = f"**{chosen.engine}**: {short(chosen.reason)}" if chosen.engine and not chosen.failure else cell(chosen)
        columns = [model.name, f"{model.package}, {model.licence}", f"{size:.2f}", f"{prepared.nodes} ({prepared.kinds})"]
        yield "| " + " | ".join([*columns, cell(outcomes["onnxruntime"]), cell(outcomes["tract"]), took]) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--slipway", type=Path, default=REPOSITORY / "target" / "release" / "slipway")
    parser.add_argument("--wheels", type=Path, default=REPOSITORY / ".tools" / "models")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="these models alone")
    parser.add_argument("--no-mesh", action="store_true", help="deploy nothing")
    parser.add_argument("--no-triton", action="store_true", help="have nothing computed by Triton")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)

    rows, failures = [], []
    for model in MODELS:
        if arguments.only and model.name not in arguments.only:
            continue
        prepared, outcomes = Prepared(model, arguments.work, arguments.wheels), {}
        for engine in ENGINES:
            begin = time.monotonic()
            outcome = outcomes[engine] = on(arguments.slipway, prepared, engine)
            print(f"{model.name:20} {engine:12} {time.monotonic() - begin:5.1f} s  {cell(outcome)}", flush=True)
            if outcome.failure:
                failures.append(f"{model.name} on {engine}: {outcome.failure}")
        rows.append((prepared, outcomes))
    everything = [prepared for prepared, _ in rows]
    if not arguments.no_triton:
        failures += beside.tried(arguments.slipway, arguments.work, arguments.wheels, everything, behind)
    if not arguments.no_mesh:
        failures += mesh.deployed(arguments.slipway, arguments.work, everything)
    print("", *tables(rows), "", sep="\n")
    for failure in failures:
        print(f"FAILED {failure}")
    passed = len(rows) * len(ENGINES) - sum(1 for _, outcomes in rows for outcome in outcomes.values() if outcome.failure)
    print(f"{len(rows)} models; {passed} of {len(rows) * len(ENGINES)} as expected" + (", and the mesh" if not arguments.no_mesh else ""))
    sys.exit(1 if failures or not rows else 0)


if __name__ == "__main__":
    main()
