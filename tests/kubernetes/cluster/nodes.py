"""The node: containerd, kubelet and kube-proxy, alone in namespaces of their own."""

import json
import subprocess
import tarfile
from datetime import UTC, datetime

import network
import node_files
from api import Refused
from errors import Failure
from folder import HERE

# Where `first_process` lays the programs and the run folder.
PROGRAMS = "/run/programs"
RUN = "/run/slipway"
IMPORT_S = 300


class Node:
    """A node of a cluster."""

    def __init__(self, folder, place, processes):
        self._folder, self._place, self._processes = folder, place, processes
        self.name = place.node

    def prepare(self, programs, plugins, images):
        """All that needs no API server: its namespaces, the link, and containerd with the images of these archives."""
        own = self._folder.nodes / self.name
        for part in ["run", "var"]:
            (own / part).mkdir(parents=True, exist_ok=True)
        node_files.write(self._folder, self._place, plugins)
        first = self._processes.start_first(self.name, [HERE / "first_process", self._folder.path, own, programs])
        self._processes.wait(f"the namespaces of {self.name}", (own / "var/ready").exists, self.name)
        network.join(self._place, first, self._within())
        containerd = self._start("containerd", ["containerd", "--config", f"{node_files.HOME}/containerd.toml"])
        self._processes.wait(containerd, lambda: self._ctr("version").returncode == 0, containerd)
        for image in images:
            self.load(image)

    def start(self):
        self._start("kube-proxy", [f"{PROGRAMS}/kube-proxy", f"--config={node_files.HOME}/kube-proxy.json"])
        self.start_kubelet()

    def start_kubelet(self):
        flags = [f"--config={node_files.HOME}/kubelet.json", f"--kubeconfig={RUN}/etc/{self.name}.kubeconfig"]
        own = [f"--hostname-override={self.name}", f"--node-ip={self._place.address}"]
        self._start("kubelet", [f"{PROGRAMS}/kubelet", *flags, *own])

    def _start(self, program, command):
        """Starts a program of the node; answers what it is called among the processes of the cluster."""
        name = f"{self.name}-{program}"
        self._processes.start(name, command, self._within())
        return name

    def stop_kubelet(self):
        """Kills the kubelet. What runs in pods goes on, and nobody tells the API server of it."""
        self._processes.end(f"{self.name}-kubelet")

    def wait(self, api, since):
        """Waits until the node has given a sign of life after `since`, and pods can be put on it."""
        self._processes.wait(f"{self.name} to be ready", lambda: _ready(api, self.name, since), f"{self.name}-kubelet")

    def runs_kubelet(self):
        return bool(self._processes.pid(f"{self.name}-kubelet"))

    def end_of_link(self):
        """What `network.join_nodes` wants to know of it."""
        return self._place, self._processes.pid(self.name), self._within()

    def load(self, image):
        """Gives the node the image of an archive, by its name and, as a registry would, by its digest."""
        with open(image, "rb") as file:
            done = self._ctr("--namespace", "k8s.io", "images", "import", "--digests", "--base-name", _repository(image), "-", stdin=file)
        if done.returncode != 0:
            raise Failure(f"{image} is no archive of images that the node can load: {done.stderr.strip()}")

    def _within(self):
        first = self._processes.pid(self.name)
        if not first:
            raise Failure(f"{self.name} is gone: take the cluster down and start it again")
        return ["nsenter", "--target", str(first), "--mount", "--net", "--pid", "--"]

    def _ctr(self, *arguments, stdin=subprocess.DEVNULL):
        command = [*self._within(), "ctr", "--address", node_files.SOCKET, *arguments]
        return subprocess.run(command, stdin=stdin, capture_output=True, text=True, timeout=IMPORT_S)


def _repository(image):
    """The name in an archive, without its tag."""
    try:
        with tarfile.open(image) as tar:
            (named,) = json.load(tar.extractfile("manifest.json"))
        return named["RepoTags"][0].rpartition(":")[0]
    except (OSError, tarfile.TarError, KeyError, ValueError, IndexError) as error:
        raise Failure(f"{image} is no archive of one image with a name: {error}") from error


def now():
    return datetime.now(UTC)


def _ready(api, name, since):
    try:
        node = api.get(f"/api/v1/nodes/{name}")
        lease = api.get(f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}")
    except (OSError, Refused):
        return False
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in node["status"].get("conditions", []))
    return ready and "taints" not in node["spec"] and datetime.fromisoformat(lease["spec"]["renewTime"]) > since
