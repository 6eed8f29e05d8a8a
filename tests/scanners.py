"""Trivy and checkov, which ask nothing of the network here and tell it nothing."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TRIVY = ("--skip-check-update", "--skip-version-check", "--disable-telemetry", "--quiet", "--format=json")
CHECKOV = ("--skip-download", "--quiet", "--output", "json")
# checkov tells a service of its maker what it found, where one is named; what is looked at is nobody's setting.
NOT_OURS = ("BC_", "CKV_", "PRISMA_", "TRIVY_", "TF_")


def run(*command, ends_with=(0,), folder=None):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(NOT_OURS)}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=folder, env=environment)
    if done.returncode not in ends_with:
        raise SystemExit(f"{command[0]} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr.strip()}")
    return done


def trivy(folder, scanner):
    """What fails by the checks of a scanner: (file, finding)."""
    with tempfile.TemporaryDirectory() as cache:  # An empty one: only the checks that are part of the program are used.
        command = ["trivy", "config", *TRIVY, f"--misconfig-scanners={scanner}", f"--cache-dir={cache}", folder]
        results = json.loads(run(*command).stdout).get("Results", [])
    looked_at("trivy", sum("MisconfSummary" in file for file in results))
    return [(file["Target"], one) for file in results for one in file.get("Misconfigurations", []) if one["Status"] == "FAIL"]


def checkov(folder, *frameworks):
    """What fails by the checks of these frameworks."""
    program = Path(sys.prefix) / "bin/checkov"
    told = json.loads(run(program, "--directory", folder, "--framework", *frameworks, *CHECKOV, ends_with=(0, 1)).stdout)
    reports = told if isinstance(told, list) else [told]
    looked_at("checkov", sum(report.get("summary", report)["passed"] for report in reports))
    return [one for report in reports for one in report.get("results", {}).get("failed_checks", [])]


def looked_at(tool, checks):
    """A tool that looked at nothing finds nothing."""
    if checks == 0:
        raise SystemExit(f"{tool} has looked at nothing")
