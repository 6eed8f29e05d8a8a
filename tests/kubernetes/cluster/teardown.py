"""Takes a cluster down: exactly what `up` has started and made, whatever state it is in, and however far `up` came."""

import contextlib
import fcntl

import cgroups
import network
from errors import Failure
from processes import Processes


@contextlib.contextmanager
def alone_in(folder):
    """Nobody else starts, changes or ends the cluster of this folder meanwhile."""
    folder.path.mkdir(parents=True, exist_ok=True)
    with (folder.path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def take_down(folder):
    facts = folder.facts()
    processes = Processes(folder)
    # All processes, mounts and interfaces of a node go with its first process.
    first = [f"node-{number}" for number in range(1, network.NODES + 1)]
    for name in sorted(processes.names(), key=lambda name: name not in first):
        if name != "etcd":
            processes.end(name)
    if facts:
        _clear(network.Slot(facts["slot"]), facts["nodes"], held=processes.pid("etcd"))
    processes.end("etcd")
    folder.remove()


def _clear(slot, nodes, held):
    """Clears what is named after the slot. Where etcd is gone and another cluster has taken the slot, all of that is the other's."""
    holding = None if held else slot.hold()
    if not held and not holding:
        return
    if nodes:
        network.part(slot)
    if left := [group for place in slot.places for group in cgroups.remove(place.name)]:
        raise Failure(f"these cgroups could not be removed: {', '.join(left)}; look into their cgroup.procs for who is left")
    if holding:
        holding.close()
