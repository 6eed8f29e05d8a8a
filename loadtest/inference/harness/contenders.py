"""Who is measured with what: contenders.toml, and the paths that its words stand for."""
import os
import subprocess
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
REPOSITORY = HERE.parent.parent
# In a network namespace of our own nobody else can have them.
PORTS = {"http": "18080", "grpc": "18081", "metrics": "18082"}


class Failed(Exception):
    """Something that keeps one measurement from being made; the others go on."""


class Bench:
    """contenders.toml, and where models, cases, interpreters and programs lie."""

    def __init__(self, config=HERE / "contenders.toml", venvs=None, programs=None):
        read = tomllib.loads(Path(config).read_text())
        self.contenders = {contender["name"]: contender for contender in read["contender"]}
        self.scenarios = read["scenario"]
        self.venvs = Path(venvs or os.environ.get("PEER_VENVS") or REPOSITORY / ".tools" / "peers").resolve()
        # What CARGO_TARGET_DIR says holds for the build that made them too.
        target = Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target")
        self.programs = Path(programs or target / "release").resolve()
        self.models, self.cases = self.venvs / "models", self.venvs / "cases"

    def python(self, venv):
        return self.venvs / venv / "venv" / "bin" / "python"

    def model(self, name):
        return self.models / f"{name}.onnx"

    def case(self, name):
        return self.cases / f"{name}.json"

    def words(self, contender, model, variant, work):
        """What the words in braces of an entry stand for."""
        words = {
            "here": HERE,
            "repository": REPOSITORY,
            "bin": self.programs,
            "python": self.python(venv_of(contender)),
            "model": model,
            "file": self.model(model),
            "work": work,
            "max_batch": variant["max_batch"],
            "delay_ms": variant["delay_ms"],
            "instances": variant["instances"],
            "threads": variant["threads"],
            **PORTS,
        }
        return {key: str(value) for key, value in words.items()}

    def version(self, contender):
        if "package" not in contender:
            return ""
        code = f"import importlib.metadata as m; print(m.version({contender['package']!r}))"
        command = [self.python(venv_of(contender)), "-c", code]
        try:
            return subprocess.run(command, capture_output=True, text=True).stdout.strip()
        except OSError:
            return ""

    def chosen(self, scenario, names):
        """The contenders of a scenario, in the order of the file."""
        return [
            contender
            for name, contender in self.contenders.items()
            if scenario in contender["scenarios"] and (not names or name in names)
        ]


def venv_of(contender):
    return contender.get("venv", contender["name"])


def variant_of(scenario, variant, contender, name):
    """The settings of a run: those of the variant, then what the contender says of its own for this scenario."""
    return {"threads": scenario.get("threads", 1), **variant, **contender.get(name, {}), "name": variant["name"]}
