"""A Python, as the root of an image: the interpreter that runs this, with all that it and what is laid beside it are linked to."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

# Of the interpreter's library what no server needs, and what is large.
LEFT_OUT = shutil.ignore_patterns("__pycache__", "test", "tests", "idlelib", "dist-packages", "site-packages", "config-*", "ensurepip", "tkinter")
# Where packages lie in the image.
PACKAGES = Path("opt", "packages")


def lay_interpreter(root):
    """The interpreter, as /usr/bin/python3."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = sysconfig.get_paths()["stdlib"]
    shutil.copytree(library, root / "usr" / "lib" / version, ignore=LEFT_OUT, symlinks=True, ignore_dangling_symlinks=True)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    (root / "usr" / "bin").mkdir()
    shutil.copy(Path(sys.executable).resolve(), root / "usr" / "bin" / "python3")


def lay_packages(root, *names):
    """Installed packages, by the names of their folders and files; `*` stands for anything."""
    site = Path(sysconfig.get_paths()["purelib"])
    for found in (path for name in names for path in site.glob(name)):
        place = root / PACKAGES / found.name
        if found.is_dir():
            shutil.copytree(found, place, ignore=LEFT_OUT)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(found, place)


def lay_libraries(root, search):
    """What the programs and libraries of the image load from outside of it, by the path where the loader looks for it, the loader with them."""
    programs = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink() and is_elf(path)]
    places = os.pathsep.join([*map(str, search), *sorted({str(path.parent) for path in programs})])
    told = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, env=os.environ | {"LD_LIBRARY_PATH": places}).stdout
    for found in sorted(set(re.findall(r"\s(/\S+) \(0x[0-9a-f]+\)", told))):
        if not Path(found).is_relative_to(root):
            place = root / found.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(found, place)


def is_elf(path):
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"
