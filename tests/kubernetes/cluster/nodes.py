"""The node: containerd, kubelet and kube-proxy, alone in namespaces of their own."""

import subprocess
from datetime import UTC, datetime

import network
import node_files
from api import Refused
from errors import Failure
from folder import HERE
from node_files import NAME

# Where `first_process` lays the programs and the run folder.
PROGRAMS = "/run/programs"
RUN = "/run/slipway"
IMPORT_S = 300


class Node:
    """The one node of a cluster."""

    def __init__(self, folder, slot, processes):
        self._folder, self._slot, self._processes = folder, slot, processes

    def prepare(self, programs, plugins, images):
        """All that needs no API server: its namespaces, the link, and containerd with the images of these archives."""
        for own in ["run", "var"]:
            (self._folder.node / own).mkdir(parents=True, exist_ok=True)
        node_files.write(self._folder, self._slot, plugins, f"/{self._slot.name}")
        first = self._processes.start_first("node", [HERE / "first_process", self._folder.path, programs])
        inside = self._folder.node / "var/ready"
        self._processes.wait("the node's namespaces", inside.exists, "node")
        network.join(self._slot, first, self._within())
        self._processes.start("containerd", ["containerd", "--config", f"{RUN}/node/containerd.toml"], self._within())
        self._processes.wait("containerd", lambda: self._ctr("version").returncode == 0, "containerd")
        for image in images:
            self.load(image)

    def start(self):
        self._processes.start("kube-proxy", [f"{PROGRAMS}/kube-proxy", f"--config={RUN}/node/kube-proxy.json"], self._within())
        self.start_kubelet()

    def start_kubelet(self):
        flags = [f"--config={RUN}/node/kubelet.json", f"--kubeconfig={RUN}/etc/{NAME}.kubeconfig"]
        own = [f"--hostname-override={NAME}", f"--node-ip={self._slot.node}"]
        self._processes.start("kubelet", [f"{PROGRAMS}/kubelet", *flags, *own], self._within())

    def stop_kubelet(self):
        """Kills the kubelet. What runs in pods goes on, and nobody tells the API server of it."""
        self._processes.end("kubelet")

    def wait(self, api, since):
        """Waits until the node has given a sign of life after `since`, and pods can be put on it."""
        self._processes.wait(f"{NAME} to be ready", lambda: _ready(api, since), "kubelet")

    def load(self, image):
        """Gives the node the images of an archive."""
        with open(image, "rb") as file:
            done = self._ctr("--namespace", "k8s.io", "images", "import", "-", stdin=file)
        if done.returncode != 0:
            raise Failure(f"{image} is no archive of images that the node can load: {done.stderr.strip()}")

    def _within(self):
        first = self._processes.pid("node")
        if not first:
            raise Failure("the node is gone: take the cluster down and start it again")
        return ["nsenter", "--target", str(first), "--mount", "--net", "--pid", "--"]

    def _ctr(self, *arguments, stdin=subprocess.DEVNULL):
        command = [*self._within(), "ctr", "--address", node_files.SOCKET, *arguments]
        return subprocess.run(command, stdin=stdin, capture_output=True, text=True, timeout=IMPORT_S)


def now():
    return datetime.now(UTC)


def _ready(api, since):
    try:
        node = api.get(f"/api/v1/nodes/{NAME}")
        lease = api.get(f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NAME}")
    except (OSError, Refused):
        return False
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in node["status"].get("conditions", []))
    return ready and "taints" not in node["spec"] and datetime.fromisoformat(lease["spec"]["renewTime"]) > since
