#!/usr/bin/env python3
"""Triton as an image, for the tests: `triton_image.py OUT.tar NAME:TAG`.

The very server, from the package nvidia-pytriton, with ONNX Runtime as a backend in Python, and all that both are linked to. NVIDIA's own image
has ten gigabytes and lies in a registry. Run by the Python whose packages go into it: `.tools/bin/python-models`.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

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
# Of the interpreter's library what no server needs, and what is large.
LEFT_OUT = shutil.ignore_patterns("__pycache__", "test", "tests", "idlelib", "dist-packages", "site-packages", "config-*", "ensurepip", "tkinter")
ENVIRONMENT = {
    "LD_LIBRARY_PATH": "/opt/lib",
    "PACKAGES": "/opt/packages",
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
    places = sysconfig.get_paths()
    shutil.copytree(packages, root / "opt" / "packages", ignore=LEFT_OUT)
    shutil.copytree(Path(places["purelib"]) / "onnxruntime", root / "opt" / "packages" / "onnxruntime", ignore=LEFT_OUT)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copytree(places["stdlib"], root / "usr" / "lib" / version, ignore=LEFT_OUT, symlinks=True, ignore_dangling_symlinks=True)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    bin = root / "usr" / "local" / "bin"
    bin.mkdir(parents=True)
    (root / "usr" / "bin").mkdir()
    shutil.copy(Path(sys.executable).resolve(), root / "usr" / "bin" / "python3")
    # By it Triton starts the processes of that backend.
    shutil.copy(shutil.which("bash"), root / "usr" / "bin" / "bash")
    (bin / "tritonserver").write_text(START)
    (bin / "tritonserver").chmod(0o755)
    lay_libraries(root)


def lay_libraries(root):
    """What the programs and libraries of the image load from outside of it, by the path where the loader looks for it, the loader with them."""
    programs = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink() and is_elf(path)]
    search = os.pathsep.join([str(root / "opt" / "lib"), *sorted({str(path.parent) for path in programs})])
    told = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, env=os.environ | {"LD_LIBRARY_PATH": search}).stdout
    for found in sorted(set(re.findall(r"\s(/\S+) \(0x[0-9a-f]+\)", told))):
        if not Path(found).is_relative_to(root):
            place = root / found.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(found, place)


def is_elf(path):
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


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
