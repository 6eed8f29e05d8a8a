#!/usr/bin/env python3
"""`own_server.py` as an image, for the tests: `own_image.py OUT.tar NAME:TAG`.

Run by the Python whose packages go into it: `.tools/bin/python-protocol`.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from python_root import PACKAGES, lay_interpreter, lay_libraries, lay_packages

HERE = Path(__file__).resolve().parent


def main():
    out, name = sys.argv[1:]
    with tempfile.TemporaryDirectory(dir=HERE.parents[1] / "target") as scratch:
        root = Path(scratch) / "root"
        lay_interpreter(root)
        lay_packages(root, "google", "grpc", "ml_dtypes", "numpy", "numpy.libs", "packaging", "rapidjson*.so", "tritonclient", "typing_extensions.py")
        shutil.copy(HERE / "own_server.py", root / "serve")
        (root / "serve").chmod(0o755)
        lay_libraries(root, [])
        image = [sys.executable, "-B", str(HERE / "image.py"), out, name, str(root), "--env", f"PYTHONPATH=/{PACKAGES}"]
        subprocess.run([*image, "--env", "PYTHONDONTWRITEBYTECODE=1", "--entrypoint", "/serve"], check=True)


if __name__ == "__main__":
    main()
