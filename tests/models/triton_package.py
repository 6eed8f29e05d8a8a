"""Triton as the package nvidia-pytriton brings it: the very server, with its backend for Python, and none for ONNX; that is added here, in Python."""

import platform
import shutil
import sys
import zipfile
from pathlib import Path

BACKEND = Path(__file__).parent / "onnxruntime_backend"
PARTS = ("pytriton/tritonserver/", "nvidia_pytriton.libs/")


def missing():
    """Why it cannot be had here, if it cannot."""
    version = sys.version_info[:2]
    if platform.machine() != "x86_64" or version > (3, 12):
        return f"its packages are for x86_64 and Python up to 3.12; this is {platform.machine()} with {version[0]}.{version[1]}"
    return ""


def unpack(wheels, folder):
    """Puts the server, what it is linked to, and the numpy that it knows into the folder; answers where each is."""
    (wheel,) = wheels.glob("nvidia_pytriton-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(PARTS):
                Path(archive.extract(name, folder)).chmod(0o755)
    (wheel,) = wheels.glob("numpy-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "packages")
    return folder / "pytriton" / "tritonserver", folder / "nvidia_pytriton.libs", folder / "packages"


def lay_backends(server, folder):
    """The backends `python`, for the Python that runs this, and `onnxruntime`."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copytree(server / "backends" / "python", folder / "python")
    shutil.copy(server / "python_backend_stubs" / version / "triton_python_backend_stub", folder / "python")
    shutil.copytree(BACKEND, folder / "onnxruntime", ignore=shutil.ignore_patterns("__pycache__"))
