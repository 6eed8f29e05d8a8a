"""What the providers themselves know: the arguments, blocks and attributes of every resource, as CDK for Terraform was generated from them."""

import ast
import re
from functools import cache
from pathlib import Path
from zipfile import ZipFile

from modules import all_of_them, bare

PACKAGES = Path(__file__).resolve().parents[2] / ".tools/providers"
# What every resource takes, whatever makes it.
META = {"count", "for_each", "provider", "depends_on", "lifecycle", "provisioner", "connection", "timeouts"}
PREFIX = {"aws": "aws", "azurerm": "azurerm", "google": "google", "google-beta": "google"}


class Schema:
    """One provider's resources and data sources, read out of its package without running it."""

    def __init__(self, provider):
        wheels = sorted(PACKAGES.glob(f"cdktf_cdktf_provider_{provider.replace('-', '_')}-*.whl"))
        if len(wheels) != 1:
            raise SystemExit(f"the schema of {provider} is not in {PACKAGES}: infra/tools/install.sh providers")
        self.provider, self._wheel = provider, ZipFile(wheels[0])
        self._top = f"cdktf_cdktf_provider_{provider.replace('-', '_')}"
        self._files = set(self._wheel.namelist())
        metadata = next(name for name in self._files if name.endswith("/METADATA"))
        self.version = re.search(r"provider version (\S+)", self._wheel.read(metadata).decode()).group(1)

    @cache
    def kind(self, kind, is_data):
        """What is known of one kind of resource, or nothing if the provider has none of that name."""
        data = f"data_{self._top.removeprefix('cdktf_cdktf_provider_')}_" if is_data else ""
        # The packages keep the prefix of what bears another than the provider's name.
        folders = [f"{self._top}/{data}{name}/__init__.py" for name in (kind.split("_", 1)[1], kind)]
        file = next((file for file in folders if file in self._files), None)
        if file is None:
            return None
        text = self._wheel.read(file).decode()
        classes = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)}
        own = next((name for name, node in classes.items() if f" {kind}}}." in (ast.get_docstring(node) or "")), None)
        return own and Kind(classes, own)


class Kind:
    """One kind: what it takes, as nested structs, and what can be read of it."""

    def __init__(self, classes, own):
        self._classes, self.top = classes, f"{own}Config"
        self.attributes = {node.name.rstrip("_") for node in classes[own].body if isinstance(node, ast.FunctionDef)}

    @cache
    def fields(self, struct):
        """Of a struct: name → (whether it must be given, the struct it holds, whether it may stand there often)."""
        body = self._classes[struct].body
        init = next(node for node in body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
        given = zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
        return {argument.arg.rstrip("_"): (default is None, *self._held(argument.annotation)) for argument, default in given}

    def _held(self, annotation):
        text = ast.unparse(annotation)
        named = next((name for name in re.findall(r"['\"](\w+)['\"]", text) if name in self._classes), None)
        named = named or next((name for name in re.findall(r"(?<![\w.])([A-Z]\w+)", text) if name in self._classes), None)
        return named, "Sequence" in text


def judged(kind, struct, body, where):
    """What the provider would not take of a block, and what it would miss."""
    fields = kind.fields(struct)
    blocks = {bare(name): value for name, value in body.items() if not bare(name).startswith("__")}
    dynamic = {bare(name): block for one in blocks.pop("dynamic", []) for name, block in one.items() if not bare(name).startswith("__")}
    names = set(blocks) | set(dynamic)
    for name in sorted(names - set(fields) - META):
        yield f"{where}: {name} is nothing that it takes"
    for name, (needed, _, _) in fields.items():
        if needed and name not in names:
            yield f"{where}: {name} is missing"
    for name, value in [*blocks.items(), *((name, block["content"]) for name, block in dynamic.items())]:
        if name in META or name not in fields:
            continue
        _, held, is_many = fields[name]
        bodies = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]
        if held is None:
            continue
        if len(bodies) > 1 and not is_many:
            yield f"{where}.{name}: there may be one, and {len(bodies)} are given"
        for one in bodies:
            yield from judged(kind, held, one, f"{where}.{name}")


READ = re.compile(r"(?<![\w.])(data\.)?((?:aws|azurerm|google)_\w+)\.(\w+)(?:\[[^\]]*\])?\.(\w+)")


def findings():
    for module in all_of_them():
        schemas = {name: schema(name) for name in module.providers if name in PREFIX}

        def known(kind, is_data, body=None):
            """By the provider that is named, else by the one whose prefix it bears."""
            named = bare(str((body or {}).get("provider", ""))).strip("${}").split(".")[0]
            chosen = [schemas[named]] if named in schemas else [s for n, s in schemas.items() if PREFIX[s.provider] == kind.split("_")[0]]
            return next((found for one in chosen if (found := one.kind(kind, is_data))), None)

        for is_data in (False, True):
            for kind, name, body in module.made(is_data):
                if kind.startswith("terraform_"):  # Part of the engine.
                    continue
                where = f"{module.name}: {'data.' if is_data else ''}{kind}.{name}"
                found = known(kind, is_data, body)
                if found is None:
                    yield f"{where}: no provider that the module asks for has this kind"
                    continue
                yield from judged(found, found.top, body, where)
        for is_data, kind, name, attribute in sorted(set(READ.findall(module.code))):
            found = known(kind, bool(is_data))
            if found and attribute not in found.attributes:
                yield f"{module.name}: {is_data}{kind}.{name} has no {attribute}"


@cache
def schema(provider):
    return Schema(provider)


def looked_at():
    """For people: by which versions."""
    return ", ".join(f"{name} {schema(name).version}" for name in PREFIX)
