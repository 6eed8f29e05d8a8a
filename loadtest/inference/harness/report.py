"""The report: verdicts and tables as Markdown, and its place in RESULTS.md."""
import re
import statistics

from .contenders import HERE
from .figures import Where, median
from .verdicts import number, verdicts

RESULTS = HERE.parent / "RESULTS.md"
# What stands between them is written anew; the rest of the file belongs to others.
BESIDE, PROFILE = "bench-inference", "bench-inference-profile"
PROTOCOLS = {
    "oip-json": "HTTP JSON", "oip-binary": "HTTP binary", "oip-grpc": "gRPC", "json": "HTTP JSON", "json-packed": "HTTP JSON",
}
# Folders of the machine that measured say nothing to a reader.
ABSOLUTE = re.compile(r"(?<![\w:/.])/(?:[\w.-]+/)+")
# With fewer a figure is a look, not a measurement.
ROUNDS = 3


def report(figures):
    """The whole report."""
    lines = [*head(figures), *verdict_table(verdicts(figures)), *failures(figures)]
    for where in figures.runs:
        lines += run_table(figures, where)
    return "\n".join([*lines, *start_table(figures), *engine_table(figures)]).rstrip() + "\n"


def head(figures):
    rounds = figures.rounds()
    versions = ", ".join(f"{name} {version}" for name, version in figures.versions.items() if version)
    lines = [
        "# Inference, beside other model servers",
        "",
        "Written by `make bench-inference`. [README.md](README.md) says how it is measured and how to read it.",
        "",
        *machine(figures)[:-1],
        f"- versions: {versions or 'none but ours'}",
        f"- load of the machine when it began: {figures.conditions.get('load', '?')}",
        "",
    ]
    if rounds < ROUNDS:
        lines += [f"**Fewer than {ROUNDS} rounds: a look, not a measurement.**", ""]
    return lines


def machine(figures):
    """When and where it was measured, with an empty line behind it."""
    conditions, rounds = figures.conditions, figures.rounds()
    return [
        f"- date: {conditions.get('at', 'unknown')}",
        f"- machine: {conditions.get('cores', '?')} cores, {conditions.get('cpu', 'unknown processor')}, "
        f"{conditions.get('memory_gib', '?')} GiB of memory, Linux {conditions.get('kernel', '?')}",
        f"- {rounds} round{'s' if rounds != 1 else ''}, {conditions.get('seconds', '?')} s a run; figures are medians",
        "",
    ]


def verdict_table(found):
    lines = []
    for group in dict.fromkeys(verdict.group for verdict in found):
        lines += [f"## {group}", "", "| target | over | bound | is | | |", "|---|---|---|--:|---|---|"]
        for verdict in (verdict for verdict in found if verdict.group == group):
            met = {True: "met", False: "**MISSED**", None: "not measured"}[verdict.met]
            protocol = PROTOCOLS[verdict.protocol]
            lines.append(f"| {verdict.text} | {protocol} | {verdict.bound} | {number(verdict.value)} | {met} | {verdict.note} |")
        lines.append("")
    return lines


def failures(figures):
    """What could not be measured, and why: once each, though every round and model may tell it again."""
    told = {}
    for row in figures.failed:
        # The end of a log says why, and a list cannot hold more than its last words.
        error = ABSOLUTE.sub("", " ".join(row["error"].replace("|", "/").split()))[-300:]
        models = told.setdefault((row["contender"], row.get("protocol", "start"), error), {})
        models[f"{row['model']} {row.get('variant', '')}".strip()] = True
    if not told:
        return []
    lines = [f"- {contender}, {protocol} ({', '.join(models)}): {error}" for (contender, protocol, error), models in told.items()]
    return ["## Not measured", "", *lines, ""]


def run_table(figures, where: Where):
    runs = figures.runs[where]
    open_loop = where.load.endswith("/s")
    lines = []
    spoken = {PROTOCOLS[protocol] for _, protocol in runs}
    for protocol in (name for name in dict.fromkeys(PROTOCOLS.values()) if name in spoken):
        rows = {key: rows for key, rows in runs.items() if PROTOCOLS[key[1]] == protocol}
        # What is sorted by is what is asked: how quickly at a given rate, how much without one.
        order = (lambda item: median(item[1], "p50_ms")) if open_loop else (lambda item: -median(item[1], "rps"))
        engine = figures.engine_best(where.model, figures.instances(where)) if where.scenario != "overhead" else None
        lines += [
            f"### {where.scenario}, {where.model}, {where.variant}: {protocol}, {where.load}",
            "",
            "| contender | req/s (least-most) | p50 ms | p99 ms | server CPU-s/1k | client CPU-s/1k | server cores | client cores "
            "| wrong+failed | other load, cores |" + (" of the bare engine |" if engine else ""),
            "|---" + "|--:" * (10 if engine else 9) + "|",
        ]
        for (contender, _), of in sorted(rows.items(), key=order):
            rates = [row["rps"] for row in of]
            cells = [contender, f"{number(median(of, 'rps'))} ({number(min(rates))}-{number(max(rates))})"]
            cells += [
                number(median(of, figure))
                for figure in ("p50_ms", "p99_ms", "server_cpu_s_per_1000", "client_cpu_s_per_1000", "server_cores", "client_cores")
            ]
            late = ", generator late" if any(row["late"] for row in of) else ""
            bad = sum(row["errors"] + row["wrong"] for row in of)
            cells += [f"{bad}{late}", f"{max(row['other_cores'] for row in of):.2f}"]
            if engine:
                cells.append(f"{median(of, 'rps') / engine[1]:.2f}")
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return lines


def start_table(figures):
    if not figures.starts:
        return []
    lines = [
        "### Start and memory", "",
        "| contender | model, variant | first answer s (least-most) | PSS MiB idle | PSS MiB after load | processes | threads | idle cores |",
        "|---|---" + "|--:" * 6 + "|",
    ]
    for (model, variant, contender), rows in figures.starts.items():
        ready = [row["ready_s"] for row in rows]
        after = median(figures.ends.get((model, variant, contender), []), "pss_mib")
        lines.append(
            f"| {contender} | {model}, {variant} | {number(median(rows, 'ready_s'))} ({number(min(ready))}-{number(max(ready))}) "
            f"| {number(median(rows, 'pss_mib'))} | {number(after)} | {median(rows, 'processes'):g} | {median(rows, 'threads'):g} "
            f"| {median(rows, 'idle_cores'):.3f} |"
        )
    return [*lines, ""]


def engine_table(figures):
    if not figures.engines:
        return []
    lines = ["### onnxruntime alone", "", "| model | callers | batch | rows/s | p50 ms | p99 ms | CPU-s/1k rows |", "|---" + "|--:" * 6 + "|"]
    for (model, callers, batch), rows in sorted(figures.engines.items()):
        cells = " | ".join(number(median(rows, figure)) for figure in ("rows_per_s", "p50_ms", "p99_ms", "cpu_s_per_1000"))
        lines.append(f"| {model} | {callers} | {batch} | {cells} |")
    return [*lines, ""]


def profiles(figures):
    """Where the time of each server went: microseconds of CPU a request by layer, a table for each protocol and load."""
    lines = [
        "# Inference: where the time goes",
        "",
        "Written by `bench profile`. Microseconds of CPU that the server takes for a request, shared out by samples of `perf`; the",
        "sampling itself costs some of them. [README.md](README.md) says how to read it.",
        "",
        *machine(figures),
    ]
    for where, runs in figures.runs.items():
        for protocol in dict.fromkeys(protocol for _, protocol in runs):
            columns = {contender: of for (contender, spoken), of in runs.items() if spoken == protocol and "profile" in of[0]}
            layers = {contender: shares(of) for contender, of in columns.items()}
            rows = sorted({layer for found in layers.values() for layer in found}, key=lambda name: -sum(of.get(name, 0) for of in layers.values()))
            lines += [f"### {where.scenario}, {where.model}, {where.variant}: {PROTOCOLS[protocol]}, {where.load}", ""]
            lines += ["| µs of CPU a request | " + " | ".join(columns) + " |", "|---" + "|--:" * len(columns) + "|"]
            lines += [f"| {row} | " + " | ".join(f"{of.get(row, 0):.1f}" for of in layers.values()) + " |" for row in rows]
            lines += ["| **all** | " + " | ".join(f"**{sum(of.values()):.1f}**" for of in layers.values()) + " |"]
            lines += [f"| requests/s | " + " | ".join(number(median(of, "rps")) for of in columns.values()) + " |", ""]
    return "\n".join(lines).rstrip() + "\n"


def shares(rows):
    """{layer: microseconds of CPU a request}, the median of the rounds."""
    layers = {layer for row in rows for layer in row["profile"]}
    return {layer: statistics.median(row["profile"].get(layer, 0) for row in rows) * 1e3 for layer in layers}


def insert(text, section, name):
    """The file with the section in its place: between the markers of that name, or at its end where there are none."""
    first, last = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    block = f"{first}\n{section}{last}\n"
    before, begin, rest = text.partition(first)
    if not begin:
        return f"{text.rstrip()}\n\n{block}" if text.strip() else block
    _, end, after = rest.partition(last)
    if not end:
        raise ValueError(f"RESULTS.md has `{first}` without its end")
    return before + block + after.removeprefix("\n")


def write(section, name, path=RESULTS):
    text = path.read_text() if path.exists() else ""
    path.write_text(insert(text, section, name))
