"""The cgroup that all pods of a node lie in, in whichever kind of hierarchy this machine has."""

import time
from pathlib import Path

from errors import NoNode

NEEDED = {"cpu", "memory", "pids"}
REMOVAL_S = 20


def _hierarchies():
    """Each mounted hierarchy with its kind and its controllers."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, path, kind, options, *_ = line.split()
        if kind == "cgroup2":
            yield Path(path), kind, set((Path(path) / "cgroup.controllers").read_text().split())
        elif kind == "cgroup":
            yield Path(path), kind, set(options.split(","))


def make(name):
    """Makes the group with every controller that there is; raises `NoNode` where this machine gives none."""
    had = set().union(*(controllers for _, _, controllers in _hierarchies()))
    if missing := NEEDED - had:
        raise NoNode(f"this machine has no cgroups for {', '.join(sorted(missing))}")
    try:
        for root, kind, controllers in _hierarchies():
            _make(root, root / name, kind, controllers)
    except OSError as error:
        remove(name)
        raise NoNode(f"this machine lets nobody make cgroups: {error}") from None


def _make(root, group, kind, controllers):
    if kind == "cgroup2":
        # A group has the controllers that its parent hands down.
        _write(root / "cgroup.subtree_control", controllers)
    group.mkdir(exist_ok=True)
    if kind == "cgroup2":
        _write(group / "cgroup.subtree_control", controllers)
    elif "cpuset" in controllers:
        # A new group of this kind has no cores and no memory, and takes no process.
        for file in ["cpuset.cpus", "cpuset.mems"]:
            (group / file).write_text((root / file).read_text())


def _write(file, controllers):
    for controller in sorted(controllers):
        file.write_text(f"+{controller}")


def remove(name):
    """Removes the group and all below it, once their processes are buried."""
    deadline = time.monotonic() + REMOVAL_S
    left = [root / name for root, _, _ in _hierarchies() if (root / name).exists()]
    while left:
        left = [group for group in left if not _removed(group)]
        if left and time.monotonic() > deadline:
            return [str(group) for group in left]
        time.sleep(0.05 if left else 0)
    return []


def _removed(group):
    # Deepest first: only an empty group can be removed.
    for folder in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
        try:
            folder.rmdir()
        except OSError:
            return False
    try:
        group.rmdir()
    except OSError:
        return False
    return True
