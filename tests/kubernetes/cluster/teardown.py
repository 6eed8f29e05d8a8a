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
    # All processes, mounts and interfaces of a node go with its first process; etcd holds the cluster's slot until all else is gone.
    for name in sorted(processes.names(), key=lambda name: (name == "etcd", name != "node")):
        processes.end(name)
    if facts:
        slot = network.Slot(facts["slot"])
        if facts["node"]:
            network.part(slot)
        if left := cgroups.remove(slot.name):
            raise Failure(f"these cgroups could not be removed: {', '.join(left)}; look into their cgroup.procs for who is left")
    folder.remove()
