"""The processes of a cluster: started, remembered, waited for and ended."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from errors import Failure

# No part of a cluster takes this long on a machine that has two cores for it.
PATIENCE_S = 90
LOG_LINES = 15
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def stat(pid):
    """State, parent and start of a process, or None. The name before them may hold anything, brackets too."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], int(fields[1]), fields[19]


def children(pid):
    found = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [child for child in found if (status := stat(child)) and status[1] == pid]


class Processes:
    """Those of one cluster. A number alone does not name a process for long, so each is remembered with its start."""

    def __init__(self, folder):
        self._records = folder.path / "processes"
        self._logs = folder.logs
        # A machine's proxies and the like are not for a cluster that never leaves it.
        self._environment = {"PATH": PATH, "HOME": str(folder.path), "LC_ALL": "C"}

    def start(self, name, command, within=(), keep=()):
        """Starts a program. `within` enters the node's namespaces first, and then the program is the child of what entered."""
        log = (self._logs / f"{name}.log").open("ab")
        started = subprocess.Popen(
            [*within, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment,
            cwd="/", start_new_session=True, pass_fds=keep,
        )  # fmt: skip
        self._remember(name, started.pid)
        if within:
            self._remember(name, self._only_child(name, started.pid))

    def start_first(self, name, command):
        """Starts a program that forks the first process of a namespace, and remembers that one; answers its number."""
        self.start(name, command, within=["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
        return self.pid(name)

    def _remember(self, name, pid):
        self._records.mkdir(exist_ok=True)
        status = stat(pid)
        (self._records / name).write_text(f"{pid} {status[2] if status else 0}")

    def _only_child(self, name, pid):
        self.wait(f"{name} to begin", lambda: children(pid), name)
        return children(pid)[0]

    def names(self):
        return sorted(entry.name for entry in self._records.iterdir()) if self._records.exists() else []

    def running(self):
        return [name for name in self.names() if self.pid(name)]

    def pid(self, name):
        """The number of a process that runs, or None."""
        record = self._records / name
        if not record.exists():
            return None
        pid, started = record.read_text().split()
        status = stat(pid)
        # A zombie has ended: whoever should bury it may be slow.
        return int(pid) if status and status[2] == started and status[0] not in "ZX" else None

    def end(self, name):
        """Ends a process at once. Nothing of a test cluster outlives it, so there is nothing to put in order."""
        if pid := self.pid(name):
            # It may have ended since, as all processes of a node do with the first.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self.wait(f"the end of {name}", lambda: self.pid(name) is None)
        (self._records / name).unlink(missing_ok=True)

    def wait(self, what, condition, name=None, seconds=PATIENCE_S):
        """Waits until the condition holds; tells the end of the log of `name` when it does not, or when that process ends first."""
        deadline = time.monotonic() + seconds
        while not condition():
            if name and self.pid(name) is None and not condition():
                raise Failure(f"{name} ended{self._end_of_log(name)}")
            if time.monotonic() > deadline:
                raise Failure(f"waited {seconds} s for {what}{self._end_of_log(name)}")
            time.sleep(0.1)

    def _end_of_log(self, name):
        log = self._logs / f"{name}.log"
        if not name or not log.exists():
            return ""
        return "; the end of its log:\n  " + "\n  ".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
