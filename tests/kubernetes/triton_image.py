#!/usr/bin/env python3
"""Triton as an image, for the tests: `triton_image.py OUT.tar NAME:TAG`.

The very server, from the package nvidia-pytriton, with ONNX Runtime as a backend in Python, and all that both are linked to. NVIDIA's own image
has ten gigabytes and lies in a registry. Run by the Python whose packages go into it: `.tools/bin/python-models`.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from python_root import LEFT_OUT, PACKAGES, lay_interpreter, lay_libraries, lay_packages

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "models"))
import triton_package  # noqa: E402 (its folder is known only now)

# Triton's backend for Python changes the mode of a file of its own, which it cannot where the root is read-only: so it runs from elsewhere.
START = """\
#!/usr/bin/python3
import os, shutil, sys
shutil.copytree("/opt/tritonserver/backends", "/tmp/backends", dirs_exist_ok=True)
program = "/opt/tritonserver/bin/tritonserver"
os.execv(program, [program, *sys.argv[1:], "--backend-directory=/tmp/backends"])
"""
# The exit code where there can be none on this machine.
CANNOT = 3
WHEELS = ROOT / ".tools" / "models"
ENVIRONMENT = {
    "LD_LIBRARY_PATH": "/opt/lib",
    "PACKAGES": f"/{PACKAGES}",
    "REPOSITORY": "/models",
}


def lay(root, scratch):
    """The files of the image."""
    server, libraries, packages = triton_package.unpack(WHEELS, scratch)
    home = root / "opt" / "tritonserver"
    (home / "bin").mkdir(parents=True)
    shutil.copy(server / "bin" / "tritonserver", home / "bin")
    triton_package.lay_backends(server, home / "backends")
    shutil.copytree(libraries, root / "opt" / "lib")
    for library in WHEELS.glob("libpython*.so*"):
        shutil.copy(library, root / "opt" / "lib")
    shutil.copytree(packages, root / PACKAGES, ignore=LEFT_OUT)
    lay_packages(root, "onnxruntime")
    lay_interpreter(root)
    bin = root / "usr" / "local" / "bin"
    bin.mkdir(parents=True)
    # By it Triton starts the processes of that backend.
    shutil.copy(shutil.which("bash"), root / "usr" / "bin" / "bash")
    (bin / "tritonserver").write_text(START)
    (bin / "tritonserver").chmod(0o755)
    lay_libraries(root, [root / "opt" / "lib"])


def main():
    if reason := triton_package.missing():
        print(f"no image of Triton: {reason}", file=sys.stderr)
        sys.exit(CANNOT)
    out, name = sys.argv[1:]
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as scratch:
        root = Path(scratch) / "root"
        lay(root, Path(scratch) / "package")
        settings = [word for key, value in ENVIRONMENT.items() for word in ("--env", f"{key}={value}")]
        image = [sys.executable, "-B", str(ROOT / "tests" / "kubernetes" / "image.py"), out, name, str(root)]
        subprocess.run([*image, *settings, "--entrypoint", "/usr/local/bin/tritonserver"], check=True)


if __name__ == "__main__":
    main()
