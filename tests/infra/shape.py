"""What no tool of others knows: that the clouds are alike, that each module is given what it takes and takes nothing in vain."""

import re

from modules import CLOUDS, INFRA, Module, all_of_them, bare, modules, pools, roots

# Beside what all have.
OWN_VARIABLES = {"gcp": {"project"}}
OWN_MODULES = {"aws": {"dns", "key"}}
MODULES = {"network", "cluster", "nodes", "identity", "storage", "registry", "secrets", "telemetry", "budget"}


def alike():
    """The same variables with the same defaults, the same outputs, a module for each concern."""
    clouds = roots()
    first = clouds[CLOUDS[0]]
    for cloud, root in clouds.items():
        wanted = set(first.variables) | OWN_VARIABLES.get(cloud, set())
        yield from differ(f"{cloud}: variables", set(root.variables), wanted)
        yield from differ(f"{cloud}: outputs", set(root.outputs), set(first.outputs))
        yield from differ(f"{cloud}: modules", {module.folder.name for module in modules(cloud)}, MODULES | OWN_MODULES.get(cloud, set()))
        for name in set(root.variables) & set(first.variables):
            if root.default(name) != first.default(name):
                yield f"{cloud}: {name} is {root.default(name)} by default, {first.default(name)} in {first.name}"


# What the provisioner tells every stack (`services/provisioner/src/domain/stack/variables.rs`).
TOLD = {"name", "region", "workers", "tags"}


def poured():
    """The pools of deployments: alike, told all that the provisioner says and all that the cluster's stack says."""
    size = Module(INFRA / "layout/pool")
    first = pools()[CLOUDS[0]]
    for cloud, pool in pools().items():
        yield from differ(f"{pool.name}: variables", set(pool.variables), TOLD | set(size.variables) | {"installation"})
        yield from differ(f"{pool.name}: outputs", set(pool.outputs), set(first.outputs))
        for name in set(pool.variables) & set(size.variables):
            for what in ("type", "default"):
                if pool.variables[name].get(what) != size.variables[name].get(what):
                    yield f"{pool.name}: {what} of {name} is another than in {size.name}"
        given = roots()[cloud].outputs["pool"]["value"]
        given = given[0] if isinstance(given, list) else given
        block = re.search(r'(?s)variable "installation" \{.*?\n\}', pool.text)[0]
        taken = re.findall(r"(?m)^    (\w+) +=", block)
        yield from differ(f"{pool.name}: installation", set(taken), {bare(name) for name in given if not name.startswith("__")})


def described():
    """Everything that is given or taken says what it is."""
    for module in all_of_them():
        for kind, blocks in (("variable", module.variables), ("output", module.outputs)):
            for name, block in blocks.items():
                if len(str(block.get("description", ""))) < 8:
                    yield f"{module.name}: {kind} {name} has no description"


def pinned():
    """Who makes something says with which provider."""
    for module in all_of_them():
        if "required_version" not in module.code:
            yield f"{module.name}: no required_version"
        if module.resources and not module.providers:
            yield f"{module.name}: makes {module.resources[0]} and pins no provider"


def connected():
    """Variables are used, calls give what is needed and nothing else, and what is referred to is there."""
    for module in all_of_them():
        for name in module.variables:
            if not module.uses(f"var.{name}"):
                yield f"{module.name}: variable {name} is not used"
        for reference in module.referred:
            yield f"{module.name}: {reference} is referred to and is nowhere"
        for call, given in module.calls.items():
            yield from called(module, call, given)


META = {"source", "version", "providers", "depends_on", "for_each", "count"}


def called(module, call, given):
    source = given["source"]
    source = source[0] if isinstance(source, list) else source  # This parser wraps every value.
    called = Module((module.folder / bare(source)).resolve())
    given = {name for name in given if not name.startswith("__")} - META
    for name in sorted(given - set(called.variables)):
        yield f"{module.name}: {call} is given {name}, which {called.name} does not take"
    for name, variable in called.variables.items():
        if "default" not in variable and name not in given:
            yield f"{module.name}: {call} is not given {name}"
    if called.folder.parent.name == "modules":
        for name in called.outputs:
            if not module.uses(f"module.{call}.{name}"):
                yield f"{module.name}: nobody reads {name} of {call}"


def differ(what, found, wanted):
    if found - wanted:
        yield f"{what}: {', '.join(sorted(found - wanted))} and no other cloud has it"
    if wanted - found:
        yield f"{what}: {', '.join(sorted(wanted - found))} is missing"


def findings():
    for check in (alike, poured, described, pinned, connected):
        yield from check()


def counted():
    """For people: what was looked at."""
    everything = all_of_them()
    return f"{len(everything)} modules, {sum(len(module.resources) for module in everything)} resources below {INFRA.name}/"
