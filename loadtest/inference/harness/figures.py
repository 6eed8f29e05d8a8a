"""What was measured, by what it was measured of; the figure of several rounds is their median."""
import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

# What is better when it is smaller.
SMALLER_IS_BETTER = {"p50_ms", "p99_ms", "server_cpu_s_per_1000"}


class Where(NamedTuple):
    """What runs of several rounds have in common."""

    scenario: str
    model: str
    variant: str
    load: str


class Figures:
    def __init__(self, rows):
        self.conditions = next((row for row in rows if row["kind"] == "conditions"), {})
        self.versions = {row["contender"]: row["version"] for row in rows if row["kind"] == "version"}
        self.failed = [row for row in rows if row["kind"] == "failed"]
        self.runs = defaultdict(lambda: defaultdict(list))
        self.starts, self.engines = defaultdict(list), defaultdict(list)
        self.ends = defaultdict(list)
        for row in rows:
            if row["kind"] == "run":
                where = Where(row["scenario"], row["model"], row["variant"], row["load"])
                self.runs[where][row["contender"], row["protocol"]].append(row)
            elif row["kind"] in ("start", "end"):
                kept = self.starts if row["kind"] == "start" else self.ends
                kept[row["model"], row["variant"], row["contender"]].append(row)
            elif row["kind"] == "engine":
                self.engines[row["model"], row["callers"], row["rows"]].append(row)

    @classmethod
    def read(cls, path):
        return cls([json.loads(line) for line in Path(path).read_text().splitlines() if line])

    def rounds(self):
        """How many runs stand behind a figure at least."""
        return min((len(rows) for runs in self.runs.values() for rows in runs.values()), default=0)

    def of(self, where, contender, protocol):
        return self.runs.get(where, {}).get((contender, protocol), [])

    def median(self, where, contender, protocol, figure):
        """None where nothing was measured."""
        return median(self.of(where, contender, protocol), figure)

    def best(self, where, contender, figure):
        """(protocol, median) of the endpoint on which this contender does best; None where nothing was measured."""
        medians = {
            protocol: median(rows, figure) for (name, protocol), rows in self.runs.get(where, {}).items() if name == contender
        }
        if not medians:
            return None
        choose = min if figure in SMALLER_IS_BETTER else max
        protocol = choose(medians, key=medians.get)
        return protocol, medians[protocol]

    def instances(self, where):
        """How many engines ran at once; None where nothing was measured."""
        return next((row["instances"] for rows in self.runs.get(where, {}).values() for row in rows), None)

    def engine_best(self, model, callers):
        """(rows, rows a second) of the batch with which the bare engine does most; None where it was not measured."""
        medians = {rows: median(of, "rows_per_s") for (name, n, rows), of in self.engines.items() if (name, n) == (model, callers)}
        if not medians:
            return None
        rows = max(medians, key=medians.get)
        return rows, medians[rows]


def median(rows, figure):
    return statistics.median(row[figure] for row in rows) if rows else None
