"""What is looked at: everything that Slipway makes in a cluster, as the chart renders it with each values file, and as the controller does."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "charts/slipway"
RELEASE = "slipway"
# Such as nobody has: what is looked at is that a digest is taken where one is given.
DIGEST = f"sha256:{0:064}"
# As values-production.yaml asks for at its head.
REGISTRY = [
    "image.repository=registry.example/slipway",
    "workers.image.repository=registry.example/slipway-worker",
    *(f"{image}.digest={DIGEST}" for image in ("image", "workers.image", "nats.image")),
]
# The ways that no values file takes.
OTHERS = [
    "workers.namespace=models",
    "customResources.namespaces={*}",
    "services.sink-writer.persistence.enabled=true",
    "natsClients={default.robot}",
    "telemetry.otlpEndpoint=http://collector.telemetry:4317",
    "networkPolicy.ingressFrom[0].namespaceSelector.matchLabels.name=web",
    "networkPolicy.natsFrom[0].namespaceSelector.matchLabels.name=robots",
    "routes.gateway.name=public",
    "postgresql.secretName=database,postgresql.externalSecret.store=vault,postgresql.externalSecret.key=slipway",
]
EXTERNAL = ["nats.enabled=false", "nats.external.url=tls://broker.example:4222"]
SERVED = ["keda.sh/v1alpha1", "monitoring.coreos.com/v1"]


@dataclass
class Rendering:
    """Objects that go together into a cluster."""

    name: str
    # A document for each object, as it was written: what looks like a secret does so by how it stands there.
    texts: list
    # What `helm` was told besides the chart; none where it was not asked.
    arguments: list | None = None

    @property
    def objects(self):
        return [yaml.safe_load(text) for text in self.texts]

    def write(self, folder):
        """One file for each object, so that every tool says of which it speaks; the objects' names by those of their files."""
        names = {}
        for number, (text, one) in enumerate(zip(self.texts, self.objects, strict=True)):
            file = folder / f"{number:03}.yaml"
            # An end that makes it two documents: checkov looks for secrets in each line only of what it cannot read as one.
            file.write_text(f"{text.strip()}\n---\n")
            names[file.name] = f"{one['kind']}/{one['metadata']['name']}"
        return names


class Readable(yaml.SafeDumper):
    """Writes texts of many lines as such, as the chart does."""


def represent(dumper, text):
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Readable.add_representer(str, represent)


def helm(*arguments):
    return subprocess.run(["helm", *map(str, arguments)], capture_output=True, text=True)


def of_chart(name, *, values=(), sets=(), served=(), chart=CHART):
    arguments = [f"--values={CHART / file}" for file in values] + [f"--set={one}" for one in sets]
    more = [f"--api-versions={one}" for one in served]
    done = helm("template", RELEASE, chart, f"--namespace={RELEASE}", "--include-crds", *arguments, *more)
    if done.returncode != 0:
        raise SystemExit(f"{name}: {done.stderr.strip()}")
    documents = re.split(r"^---$", done.stdout, flags=re.MULTILINE)
    return Rendering(name, [text for text in documents if yaml.safe_load(text)], arguments)


def of_controller(name, file):
    """What the controller makes of a deployment, from the golden file that its own tests compare with."""
    text = (ROOT / "services/controller/tests" / file).read_text()
    return Rendering(name, [yaml.dump(one, Dumper=Readable, sort_keys=False) for one in json.loads(text)["items"]])


def everything():
    yield of_chart("values.yaml")
    yield of_chart("values-dev.yaml", values=["values-dev.yaml"])
    yield of_chart("values-production.yaml", values=["values-production.yaml"], sets=REGISTRY)
    yield of_chart("the same with KEDA and Prometheus", values=["values-production.yaml"], sets=REGISTRY, served=SERVED)
    yield of_chart("ways of no values file", sets=REGISTRY + OTHERS)
    yield of_chart("a broker outside", sets=REGISTRY + EXTERNAL)
    yield of_controller("a deployment", "kubernetes.json")
    yield of_controller("a placed deployment", "kubernetes-placed.json")
    yield of_controller("a deployment that Triton computes", "kubernetes-triton.json")
