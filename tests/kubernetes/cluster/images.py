"""The images that each node has without being given them."""

import subprocess
import sys

from errors import Failure
from folder import ROOT
from node_files import PAUSE


def pause(folder, programs):
    """The archive of what holds a pod's namespaces."""
    archive = folder.images / "pause.tar"
    maker = ROOT / "tests/kubernetes/image.py"
    done = subprocess.run([sys.executable, "-B", maker, archive, PAUSE, programs / "pause"], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(done.stderr.strip())
    return archive
