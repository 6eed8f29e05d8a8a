"""The run folder of a cluster: what lies where in it, and which files of the project a cluster is made of."""

import json
import shutil
from pathlib import Path

from errors import Failure

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
# All that `up` makes in the folder. The logs stay when the cluster goes: they tell what went wrong.
MADE = ["pki", "etc", "etcd", "nodes", "images", "processes", "cluster.json"]


def programs():
    """The folder of the programs that `make kubernetes-tools` builds."""
    pins = (ROOT / "tests/kubernetes/tools/kubernetes/go.mod").read_text()
    version = next(line.split()[1] for line in pins.splitlines() if line.startswith("\tk8s.io/kubernetes "))
    folder = ROOT / f".tools/kubernetes-{version}/bin"
    if not (folder / "helm").exists():
        raise Failure(f"the programs of Kubernetes {version} are not built: `make kubernetes-tools` does it, in twenty minutes")
    return folder


class Folder:
    """The paths of one cluster."""

    def __init__(self, path):
        self.path = Path(path).resolve()
        self.pki = self.path / "pki"
        self.etc = self.path / "etc"
        self.logs = self.path / "logs"
        self.nodes = self.path / "nodes"
        self.images = self.path / "images"
        self.admin = self.etc / "admin.kubeconfig"
        self._facts = self.path / "cluster.json"

    def make(self):
        shutil.rmtree(self.logs, ignore_errors=True)
        for folder in [self.pki, self.etc, self.logs, self.images]:
            folder.mkdir(parents=True, exist_ok=True)
        # Keys lie in both.
        self.pki.chmod(0o700)
        self.etc.chmod(0o700)

    def remove(self):
        """Removes what `up` made, by name: the folder itself may hold what is not ours."""
        for name in MADE:
            path = self.path / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def write_facts(self, **facts):
        self._facts.write_text(json.dumps(facts))

    def facts(self):
        """What `up` wrote before it began, or nothing when no cluster is here."""
        return json.loads(self._facts.read_text()) if self._facts.exists() else {}
