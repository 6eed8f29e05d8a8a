"""The modules as they are written: HCL read into what they take, call, make and give."""

import re
import sys
from functools import cached_property
from pathlib import Path

import hcl2

# `check` may be given another copy.
INFRA = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "infra"
CLOUDS = ("aws", "azure", "gcp")
# What needs no provider.
LAYOUT = ("layout", "layout/bearing", "layout/pool")


def bare(name):
    """Some versions of the parser leave the quotes around labels."""
    return name.strip('"') if isinstance(name, str) else name


class Module:
    """One folder of `.tf` files."""

    def __init__(self, folder):
        self.folder = folder
        self.name = folder.relative_to(INFRA).as_posix()
        self.files = sorted(folder.glob("*.tf"))
        self.text = "\n".join(file.read_text() for file in self.files)
        # Words in strings and comments are no references; `${...}` is left, since it holds some.
        self.code = re.sub(r"(?m)^\s*#.*$", "", self.text)
        self._parsed = [hcl2.loads(file.read_text()) for file in self.files]

    def _blocks(self, kind):
        """Blocks of a kind with one label, by that."""
        found = {}
        for file in self._parsed:
            for block in file.get(kind, []):
                for label, body in block.items():
                    if bare(label).startswith("__"):
                        continue
                    found[bare(label)] = body[0] if isinstance(body, list) else body
        return found

    @cached_property
    def variables(self):
        return self._blocks("variable")

    @cached_property
    def outputs(self):
        return self._blocks("output")

    @cached_property
    def calls(self):
        return self._blocks("module")

    @cached_property
    def providers(self):
        """Constraints of the providers that are asked for, by name."""
        return dict(re.findall(r'(?s)([\w-]+) = \{\s*source\s*=\s*"[^"]+"\s*version\s*=\s*"([^"]+)"', self.code))

    @cached_property
    def resources(self):
        return sorted({f"{kind}.{name}" for kind, name in re.findall(r'(?m)^resource "(\w+)" "(\w+)"', self.code)})

    @cached_property
    def referred(self):
        """What of its own resources and data is referred to, and is nowhere."""
        made = set(re.findall(r'(?m)^(?:resource|data) "(\w+)" "(\w+)"', self.code))
        kinds = {kind for kind, _ in made}
        used = set(re.findall(r"\b(?:data\.)?([a-z]+_[a-z0-9_]+)\.([a-z][a-z0-9_]*)\b", self.code))
        return sorted(f"{kind}.{name}" for kind, name in used - made if kind in kinds)

    def made(self, is_data):
        """Its resources, or its data sources: kind, name, what is given."""
        for file in self._parsed:
            for block in file.get("data" if is_data else "resource", []):
                for kind, named in block.items():
                    for name, body in named.items() if not bare(kind).startswith("__") else ():
                        if not bare(name).startswith("__"):
                            yield bare(kind), bare(name), body[0] if isinstance(body, list) else body

    def uses(self, reference):
        return re.search(rf"\b{re.escape(reference)}\b", self.code) is not None

    def default(self, variable):
        """The default of a variable as it is written, for comparing."""
        return repr(self.variables[variable].get("default", "none"))


def roots():
    return {cloud: Module(INFRA / cloud) for cloud in CLOUDS}


def modules(cloud):
    return [Module(folder) for folder in sorted((INFRA / cloud / "modules").iterdir())]


def pools():
    """The root modules of single deployments."""
    return {cloud: Module(INFRA / cloud / "pool") for cloud in CLOUDS}


def all_of_them():
    layout = [Module(INFRA / folder) for folder in LAYOUT]
    return [*layout, *roots().values(), *pools().values(), *(module for cloud in CLOUDS for module in modules(cloud))]
