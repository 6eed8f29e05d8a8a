"""Findings that stand, each for a reason: exceptions.toml."""

import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

FILE = Path(__file__).resolve().parent / "exceptions.toml"
KNOWN = {"tool", "checks", "objects", "in", "says", "why"}


class Exceptions:
    def __init__(self):
        self._all = tomllib.loads(FILE.read_text())["exception"]
        for one in self._all:
            if unknown := one.keys() - KNOWN:
                raise SystemExit(f"{FILE.name}: nobody knows {', '.join(sorted(unknown))}")
        self._used = set()

    def covers(self, tool, rendering, finding):
        found = False
        for number, one in enumerate(self._all):
            if self._is_meant(one, tool, rendering, finding):
                self._used.add(number)
                found = True
        return found

    @staticmethod
    def _is_meant(one, tool, rendering, finding):
        return (
            tool.startswith(one["tool"])
            and finding.check in one["checks"]
            and any(fnmatchcase(finding.object, name) for name in one.get("objects", ["*"]))
            and rendering in one.get("in", [rendering])
            and one.get("says", "") in finding.says
        )

    def unused(self):
        """What is no longer found is no exception."""
        for number, one in enumerate(self._all):
            if number not in self._used:
                yield f"{one['tool']} {' '.join(one['checks'])}: {one['why']}"
