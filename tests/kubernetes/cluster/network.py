"""Addresses, ports and the link of a cluster. Several clusters run beside each other because each has a slot of its own, from which all
of these follow."""

import ipaddress
import json
import socket
import subprocess
from pathlib import Path

from errors import Failure, NoNode

SLOTS = 64
NODES = 2
# Below the ports that Linux gives to connections (from 32768), so none of those takes one between the look and the use.
FIRST_PORT = 21000
PORTS = ["api", "etcd", "etcd-peer", "controller-manager", "scheduler", "dns", "metrics"]


class Slot:
    """One of the places for a cluster."""

    def __init__(self, number):
        self.number = number
        self.name = f"slipway{number}"
        self.links, self.pods, self.services = f"10.201.{number}.0/24", f"10.202.{number}.0/24", f"10.203.{number}.0/24"
        self.places = [Place(self, index) for index in range(NODES)]
        # Where pods of every node reach the machine's own servers.
        self.machine = self.places[0].machine
        self.api_service, self.dns_service = f"10.203.{number}.1", f"10.203.{number}.10"

    def port(self, name):
        return FIRST_PORT + len(PORTS) * self.number + PORTS.index(name)

    def hold(self):
        """Holds the slot while any process has the answer open; None when another does."""
        # An abstract name is known in this network namespace alone, as addresses and ports are, and leaves no file behind.
        held = socket.socket(socket.AF_UNIX)
        try:
            held.bind(f"\0slipway-kubernetes-{self.number}")
        except OSError:
            held.close()
            return None
        return held

    def is_free(self):
        """Whether nothing else of this machine is in its place."""
        return all(_is_free(self.port(name)) for name in PORTS) and not any(
            Path(f"/sys/class/net/{place.name}").exists() for place in self.places
        )


class Place:
    """What follows from the slot for one of its nodes."""

    def __init__(self, slot, index):
        self.slot, self.index = slot, index
        self.node = f"node-{index + 1}"
        # The interface of this machine, and the group of the node's pods.
        self.name = f"{slot.name}n{index + 1}"
        # The two ends of the link between the machine and the node.
        self.machine, self.address = f"10.201.{slot.number}.{4 * index + 1}", f"10.201.{slot.number}.{4 * index + 2}"
        # The node's end of the link between the two nodes.
        self.beside = f"10.201.{slot.number}.{129 + index}"
        self.pods = f"10.202.{slot.number}.{128 * index}/25"


def _is_free(port):
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def take_slot():
    """A free slot and what holds it."""
    for slot in map(Slot, range(SLOTS)):
        if held := slot.hold():
            if slot.is_free():
                return slot, held
            held.close()
    raise Failure(f"all {SLOTS} places for clusters on this machine are taken: end some of them with `tests/kubernetes/cluster/down`")


def run(*command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def refuse_clash(slot):
    """Refuses a machine that knows another way to the cluster's addresses: that network would be cut off."""
    ours = [ipaddress.ip_network(network) for network in (slot.links, slot.pods, slot.services)]
    for route in json.loads(run("ip", "-json", "-4", "route", "show")):
        if route["dst"] != "default" and any(network.overlaps(ipaddress.ip_network(route["dst"])) for network in ours):
            raise NoNode(f"this machine has a route to {route['dst']}, where the cluster's addresses would lie")


def join(place, first, within):
    """Joins a node, whose first process is `first`, to this machine: a link, and routes to pods and services. No other way leads
    out of the node, so nothing in it can speak to another machine."""
    slot = place.slot
    run("ip", "link", "add", place.name, "type", "veth", "peer", "name", "eth0", "netns", str(first))
    run("ip", "address", "add", f"{place.machine}/30", "dev", place.name)
    run("ip", "link", "set", place.name, "up")
    inside = "\n".join([
        f"address add {place.address}/30 dev eth0",
        "link set eth0 up",
        # The address of a service needs some route before it is turned into a pod's; behind this bridge is nothing.
        "link add services type bridge",
        "link set services up",
        f"route add {slot.services} dev services",
        *([] if place.machine == slot.machine else [f"route add {slot.machine} via {place.machine}"]),
    ])  # fmt: skip
    run(*within, "ip", "-batch", "-", text=inside)
    # The first node knows all services; one is enough.
    for network in [place.pods, *([slot.services] if place.index == 0 else [])]:
        run("ip", "route", "add", network, "via", place.address)
    _open_loopback(slot, place)


def join_nodes(ends):
    """A link between two nodes, beside the machine, which therefore forwards nothing: each reaches the pods of the other, and its address.
    `ends` has place, first process, and how to come within, of each."""
    (one, first_of_one, within_one), (other, first_of_other, within_other) = ends
    peer = ["peer", "name", "eth1", "netns", str(first_of_other)]
    run("ip", "link", "add", "name", "eth1", "netns", str(first_of_one), "type", "veth", *peer)
    for place, within, peer in [(one, within_one, other), (other, within_other, one)]:
        inside = "\n".join([
            f"address add {place.beside}/30 dev eth1",
            "link set eth1 up",
            f"route add {peer.pods} via {peer.beside}",
            f"route add {peer.address} via {peer.beside}",
        ])  # fmt: skip
        run(*within, "ip", "-batch", "-", text=inside)


def _open_loopback(slot, place):
    """Makes the machine's address lead to what listens on 127.0.0.1, as the servers of tests and the control plane do, from pods and
    from the machine itself. Servers see 127.0.0.1 as the caller, which they trust as they trust the tests."""
    Path(f"/proc/sys/net/ipv4/conf/{place.name}/route_localnet").write_text("1")
    # Named and deleted first: one may be left of a cluster that was killed as a whole, with nobody to end it.
    rules = f"""
table ip {place.name}
delete table ip {place.name}
table ip {place.name} {{
  chain from_node {{
    type nat hook prerouting priority dstnat; policy accept;
    iifname "{place.name}" ip daddr {slot.machine} dnat to 127.0.0.1
  }}
  chain from_machine {{
    type nat hook output priority -100; policy accept;
    ip daddr {slot.machine} dnat to 127.0.0.1
  }}
  chain to_server_from_node {{
    type nat hook input priority 100; policy accept;
    ct original ip daddr {slot.machine} ip daddr 127.0.0.1 snat to 127.0.0.1
  }}
  chain to_server_from_machine {{
    type nat hook postrouting priority srcnat; policy accept;
    ct original ip daddr {slot.machine} ip daddr 127.0.0.1 snat to 127.0.0.1
  }}
}}
"""
    run("nft", "--file", "-", text=rules)


def part(slot):
    """Undoes `join`, however far it came. Routes go with the link."""
    for place in slot.places:
        subprocess.run(["ip", "link", "delete", place.name], capture_output=True)
        subprocess.run(["nft", "delete", "table", "ip", place.name], capture_output=True)
