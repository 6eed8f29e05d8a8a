"""Some of the models through the whole mesh: `slipway up`, `slipway deploy -f`, requests through the public door."""

import json
import shutil
import subprocess
import time

from compare import Distance, Wrong
from server import Refused, ask, environment, free_ports, get

PATIENCE_S = 120
SERVICES = ["provisioner", "platform-selector", "controller", "ingress", "sink-writer", "observability", "security", "validator"]
# With golden rows and without; on either engine, and one that only ONNX Runtime can compute.
DEPLOYED = ["svm", "forest", "ocr-direction"]
# What no engine can compute, each for another reason.
REFUSED = {"svm-with-maps": ["onnxruntime lacks the operators: ai.onnx.ml.ZipMap", "tract lacks the operators: ai.onnx.ml.SVMClassifier"]}
# On a machine without the library of ONNX Runtime.
REFUSED_WITHOUT = {"svm": ["tract lacks the operators: ai.onnx.ml.SVMClassifier", "onnxruntime could, and is not on this target"]}

DOCUMENT = """\
apiVersion: slipway.dev/v1
kind: ModelDeployment
metadata: {{ name: {name} }}
spec:
  model: {{ uri: "./{name}.onnx" }}
  validation: {{ {golden}load: {{ duration: 1s, repeats: 3 }} }}
  rollout: {{ steps: [50, 100], hold: 1s, watch: 5s }}
"""


class Mesh:
    """`slipway up` in a folder of its own. Ends with its workers when it is left."""

    def __init__(self, slipway, folder, **settings):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.slipway, self.folder = slipway, folder
        self.door, self.admin = (f"127.0.0.1:{port}" for port in free_ports(2))
        self.environment = environment() | settings
        self.log = (folder / "up.log").open("w")
        command = self.command("up", "--nats-port", "0", "--http", self.door, "--admin", self.admin)
        self.process = subprocess.Popen(command, env=self.environment, stdout=self.log, stderr=self.log)

    def command(self, *arguments):
        return [str(self.slipway), "--data", str(self.folder / "data"), *arguments]

    def run(self, *arguments):
        return subprocess.run(self.command(*arguments), env=self.environment, capture_output=True, text=True, timeout=600)

    def __enter__(self):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                # The admin address answers before the services have begun.
                services = get(f"http://{self.admin}/status")["services"]
                if all(services.get(name, {}).get("ready") for name in SERVICES):
                    return self
            except OSError:
                pass
            time.sleep(0.1)
        self.__exit__()
        raise Refused(f"the mesh is not ready: {(self.folder / 'up.log').read_text()[-500:]}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def deploy(self, prepared):
        name = prepared.model.name
        document = self.folder / f"{name}.yaml"
        shutil.copyfile(prepared.path, self.folder / f"{name}.onnx")
        document.write_text(DOCUMENT.format(name=name, golden=self.golden(prepared)))
        return self.run("deploy", "-f", str(document), "--timeout", "5m")

    def golden(self, prepared):
        """Rows with the label that onnxruntime gives, where the model gives labels."""
        case, expected = max(prepared.cases, key=lambda each: len(next(iter(each[1].values()))))
        labels = next((name for name, values in expected.items() if values.dtype.kind == "i"), None)
        if labels is None:
            return ""
        rows = [
            {"inputs": {name: values[row].tolist() for name, values in case.inputs.items()}, "expected": {labels: int(label)}}
            for row, label in enumerate(expected[labels])
        ]
        path = self.folder / f"{prepared.model.name}.golden.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return f"golden: ./{path.name}, minAccuracy: 1.0, "

    def ask_everything(self, prepared):
        name, distance = prepared.model.name, Distance(prepared.model.tolerance)
        key = (self.folder / "data" / "security" / "keys" / f"default.{name}.key").read_text().strip()
        for case, expected in prepared.cases:
            found = ask(self.door, name, case.inputs, headers={"slipway-api-key": key})
            for output, values in expected.items():
                distance.add(found.get(output), values, f"{case.name}, output `{output}`")
        return distance

    def reasons(self, name):
        """Why the platform was chosen, as far as it is about engines."""
        told = self.run("explain", name).stdout
        return [line.strip() for line in told.splitlines() if "engine " in line]


def deployed(slipway, work, every):
    """Deploys, asks, and says what went wrong."""
    found, failures = {prepared.model.name: prepared for prepared in every}, []

    def tried(what, doing):
        try:
            begin, said = time.monotonic(), doing()
            print(f"{what:33} {time.monotonic() - begin:5.1f} s  {said}", flush=True)
        except Exception as error:  # the others are tried too, and the end tells of it
            print(f"{what:33} FAILED {error}", flush=True)
            failures.append(f"{what}: {error}")

    def released(mesh, prepared):
        ran = mesh.deploy(prepared)
        if ran.returncode or "released" not in ran.stdout:
            raise Wrong(f"it is not released: {ran.stdout[-600:]} {ran.stderr[-600:]}")
        distance = mesh.ask_everything(prepared)
        reasons = "; ".join(mesh.reasons(prepared.model.name))
        return f"released; {distance.largest:.0e} ({distance.answers} outputs); {reasons}"

    def refused(mesh, prepared, words):
        ran = mesh.deploy(prepared)
        said = " ".join((ran.stdout + ran.stderr).split())
        missing = [word for word in words if word not in said]
        if not ran.returncode or missing:
            raise Wrong(f"exit code {ran.returncode}, does not say {missing}: {said[-900:]}")
        return "refused: " + "; ".join(words)

    with Mesh(slipway, work / "mesh") as mesh:
        for name in (name for name in DEPLOYED if name in found):
            tried(f"{name} in the mesh", lambda: released(mesh, found[name]))
        for name, words in ((name, words) for name, words in REFUSED.items() if name in found):
            tried(f"{name} in the mesh", lambda: refused(mesh, found[name], words))
    # A library that is named and not there is never replaced by another, so this is a machine without it.
    with Mesh(slipway, work / "mesh-without", ORT_DYLIB_PATH=str(work / "no-such-library.so")) as mesh:
        for name, words in ((name, words) for name, words in REFUSED_WITHOUT.items() if name in found):
            tried(f"{name}, no ONNX Runtime", lambda: refused(mesh, found[name], words))
    return failures
