"""The tools, each by what it finds in a rendering: (check, object, what it says)."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import kubernetes_validate

from renderings import CHART, RELEASE, helm

# The oldest that the chart asks for, and the newest whose schemas the tool carries.
KUBERNETES = ("1.31", kubernetes_validate.latest_version())
# Nothing is asked of the network, nor told to it.
TRIVY = ("--skip-check-update", "--skip-version-check", "--disable-telemetry", "--quiet")
CHECKOV = ("--framework", "kubernetes", "secrets", "--skip-download", "--quiet", "--output", "json")


class Finding(NamedTuple):
    check: str
    object: str
    says: str


def helm_lint(rendering, _folder, _names, chart=CHART):
    if rendering.arguments is None:
        return None
    done = helm("lint", "--strict", chart, f"--namespace={RELEASE}", *rendering.arguments)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("[ERROR]", "[WARNING]"))]
    if done.returncode != 0 and not lines:
        lines = [done.stderr.strip()]
    return [Finding("lint", "chart", line) for line in lines]


def validate(rendering, _folder, names):
    """`kubernetes-validate --strict`: what is no property of a kind is refused."""
    found = []
    for name, one in zip(names.values(), rendering.objects, strict=True):
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(one, version, strict=True)
            except kubernetes_validate.SchemaNotFoundError:
                found.append(Finding("no-schema", name, f"{one['apiVersion']} is not of Kubernetes {version}"))
            except kubernetes_validate.ValidationError as error:
                at = ".".join(map(str, error.path))
                found.append(Finding("schema", name, f"Kubernetes {version}: {at}: {error.message}"))
    return found


def trivy(_rendering, folder, names):
    with tempfile.TemporaryDirectory() as cache:  # An empty one: only the checks that are part of the program are used.
        command = ["trivy", "config", *TRIVY, f"--cache-dir={cache}", "--misconfig-scanners=kubernetes", "--format=json", str(folder)]
        told = json.loads(run(command))
    found = []
    for file in told.get("Results", []):
        for one in file.get("Misconfigurations", []):
            if one["Status"] == "FAIL":
                found.append(Finding(one["ID"], names[Path(file["Target"]).name], f"{one['Severity']}: {one['Message']}"))
    looked_at("trivy", sum("MisconfSummary" in file for file in told.get("Results", [])))
    return found


def checkov(_rendering, folder, names):
    program = Path(sys.prefix) / "bin/checkov"
    told = json.loads(run([program, "--directory", folder, *CHECKOV], ends_with=(0, 1)))
    reports = told if isinstance(told, list) else [told]
    found = []
    for report in reports:
        for one in report.get("results", {}).get("failed_checks", []):
            file = folder / Path(one["file_path"]).name
            found.append(Finding(one["check_id"], names[file.name], said(one, file)))
    looked_at("checkov", sum(report.get("summary", report)["passed"] for report in reports))
    return found


def said(one, file):
    """What a check of checkov found where: the keys that it read, or the line that looks like a secret."""
    if one["check_id"].startswith("CKV_SECRET"):
        line = file.read_text().splitlines()[one["file_line_range"][0] - 1]
        return f"{one['check_name']}: {line.strip()}"
    return " ".join([one["check_name"], *one["check_result"].get("evaluated_keys", [])])


def run(command, ends_with=(0,)):
    # checkov tells a service of its maker what it found, where one is named.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("BC_", "CKV_", "PRISMA_", "TRIVY_"))}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)
    if done.returncode not in ends_with:
        raise SystemExit(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def looked_at(tool, checks):
    """A tool that looked at nothing finds nothing."""
    if checks == 0:
        raise SystemExit(f"{tool} has looked at nothing")


ALL = {
    "helm lint --strict": helm_lint,
    "kubernetes-validate --strict": validate,
    "trivy config": trivy,
    "checkov": checkov,
}
