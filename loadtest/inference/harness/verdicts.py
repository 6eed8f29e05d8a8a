"""Holds what was measured against targets.toml."""
import tomllib
from pathlib import Path
from typing import NamedTuple

from .contenders import HERE
from .figures import Where

# The client is one thread. Where it has no time left it is what was measured, and a share of a floor says too much.
CLIENT_AT_ITS_LIMIT = 0.95
BOUNDS = {
    "at_least": ("at least", lambda value, bound: value >= bound),
    "at_most": ("at most", lambda value, bound: value <= bound),
    "below": ("below", lambda value, bound: value < bound),
}


class Verdict(NamedTuple):
    group: str
    text: str
    protocol: str
    bound: str
    # None: something was not measured; `note` says what.
    value: float | None
    met: bool | None
    note: str


def targets(path=HERE / "targets.toml"):
    """Every target by itself, with what its group says."""
    found = []
    for group in tomllib.loads(Path(path).read_text())["group"]:
        shared = {key: value for key, value in group.items() if key != "target"}
        for target in group["target"]:
            found += expand({**shared, **target})
    return found


def expand(target):
    if "each" not in target:
        return [target]
    return [
        {**target, "text": target["text"].format(contender=contender), "against": [contender], "at_least": bound}
        for contender, bound in target["each"].items()
    ]


def verdicts(figures, of=None):
    return [judge(figures, target, protocol) for target in of or targets() for protocol in target["protocols"]]


def judge(figures, target, protocol):
    (key, bound), = ((key, target[key]) for key in BOUNDS if key in target)
    said, holds = BOUNDS[key]
    where = Where(target["scenario"], target["model"], target["variant"], target["load"])
    rows = figures.of(where, target["of"], protocol)

    def verdict(value, met, note):
        return Verdict(target["name"], target["text"], protocol, f"{said} {bound:g}", value, met, note)

    if not rows:
        return verdict(None, None, f"{target['of']} was not measured")
    own = figures.median(where, target["of"], protocol, target["figure"])
    found = other(figures, target, where, protocol)
    if found is None:
        return verdict(None, None, f"{' or '.join(target.get('against', ['the bare engine']))} was not measured")
    theirs, note, their_rows = found
    value = own - theirs if target.get("difference") else own / theirs
    notes = [f"{number(own)} and {number(theirs)}{note}"]
    bad = sum(row["wrong"] + row["errors"] for row in rows)
    if bad:
        notes.append(f"{bad} wrong or failed")
    if target["figure"] == "rps" and any(row["client_cores"] >= CLIENT_AT_ITS_LIMIT for row in rows + their_rows):
        notes.append("the client was at its limit")
    # A rate that is reached with wrong answers is not reached.
    return verdict(value, holds(value, bound) and not bad, "; ".join(notes))


def other(figures, target, where, protocol):
    """(figure, what to say of it, its runs) of whom the target is held against; None where nothing was measured."""
    if target.get("engine"):
        best = figures.engine_best(target["model"], figures.instances(where))
        return best and (best[1], f" (batch of {best[0]})", [])
    for contender in target["against"]:
        rows = figures.of(where, contender, protocol)
        if rows:
            return figures.median(where, contender, protocol, target["figure"]), "", rows
    for contender in target["against"]:
        best = figures.best(where, contender, target["figure"])
        if best:
            return best[1], f" (its {best[0]})", figures.of(where, contender, best[0])
    return None


def number(value):
    """Three digits that matter."""
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
