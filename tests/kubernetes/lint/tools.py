"""The tools, each by what it finds in a rendering: (check, object, what it says)."""

from pathlib import Path
from typing import NamedTuple

import kubernetes_validate

import scanners
from renderings import CHART, RELEASE, helm

# The oldest that the chart asks for, and the newest whose schemas the tool carries.
KUBERNETES = ("1.31", kubernetes_validate.latest_version())


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
    return [
        Finding(one["ID"], names[Path(file).name], f"{one['Severity']}: {one['Message']}")
        for file, one in scanners.trivy(folder, "kubernetes")
    ]


def checkov(_rendering, folder, names):
    found = []
    for one in scanners.checkov(folder, "kubernetes", "secrets"):
        file = folder / Path(one["file_path"]).name
        found.append(Finding(one["check_id"], names[file.name], said(one, file)))
    return found


def said(one, file):
    """What a check of checkov found where: the keys that it read, or the line that looks like a secret."""
    if one["check_id"].startswith("CKV_SECRET"):
        line = file.read_text().splitlines()[one["file_line_range"][0] - 1]
        return f"{one['check_name']}: {line.strip()}"
    return " ".join([one["check_name"], *one["check_result"].get("evaluated_keys", [])])


ALL = {
    "helm lint --strict": helm_lint,
    "kubernetes-validate --strict": validate,
    "trivy config": trivy,
    "checkov": checkov,
}
