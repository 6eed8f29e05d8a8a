"""Throw-away hosts: a real Debian with its own systemd, sshd and network each, as containers in a network namespace of their own.

What they have not of their own is the kernel: it is that of this machine, with all that it lacks (LVM, RAID, VLANs, WireGuard).
"""

import contextlib
import os
import shutil
import subprocess
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / ".tools/host"
# The network of the hosts. Of its addresses the first is the administrator's, the second anybody's; both are on the bridge.
NETWORK, ADMINISTRATOR, STRANGER = "10.77.0", "10.77.0.1", "10.77.0.2"

# capabilities(7)
CAP_SYS_ADMIN = 21


class Unfit(Exception):
    """Why this machine can carry no hosts."""


def may_administer():
    """Whether this process may mount, and make networks: in many containers root may not."""
    rights = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff:"))
    return bool(int(rights.split()[1], 16) >> CAP_SYS_ADMIN & 1)


def require():
    if not may_administer():
        raise Unfit("hosts are made by root only, with all rights")
    for program in ("systemd-nspawn", "ip", "nft", "ssh", "losetup"):
        if shutil.which(program) is None:
            raise Unfit(f"{program} is missing: infra/tools/install.sh host")
    if not (BASE / "root/usr/bin/systemctl").exists():
        raise Unfit("there is no system to make hosts of: infra/tools/install.sh host")


class Hosts:
    """Some hosts, from `start` to `close`."""

    def __init__(self, folder, names):
        self.folder = Path(folder)
        self.names = names
        self.namespace = f"slipway-site-{os.getpid()}"
        self.key = self.folder / "key"
        self._processes, self._loops, self._stack = {}, {}, contextlib.ExitStack()

    def address(self, name):
        return f"{NETWORK}.{11 + self.names.index(name)}"

    def __enter__(self):
        with contextlib.ExitStack() as undo:
            undo.callback(self._stack.close)
            self.folder.mkdir(parents=True)
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key)
            run("ip", "netns", "add", self.namespace)
            self._stack.callback(run, "ip", "netns", "del", self.namespace)
            for command in (
                "ip link set lo up", "ip link add br0 type bridge", f"ip address add {ADMINISTRATOR}/24 dev br0",
                f"ip address add {STRANGER}/24 dev br0", "ip link set br0 up",
            ):  # fmt: skip
                self.inside(*command.split())
            for name in self.names:
                self._boot(name)
            for name in self.names:
                self._wait_for(name)
            undo.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def inside(self, *command, **options):
        """Runs something in the hosts' network."""
        return run("ip", "netns", "exec", self.namespace, *command, **options)

    def ssh(self, name, command, ends_with=(0,), source=ADMINISTRATOR):
        """Runs something on a host, as its administrator would."""
        options = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=5")
        flags = [flag for option in options for flag in ("-o", option)]
        return self.inside("ssh", "-b", source, "-i", self.key, *flags, f"root@{self.address(name)}", command, ends_with=ends_with).stdout

    def disk(self, name):
        """The disk of a host: 256 MiB in a file."""
        return self._loops[name]

    def reaches(self, source, name, port, seconds=2):
        """Whether a connection from an address of the bridge is answered; refused is answered too, dropped is not."""
        probe = (
            "import socket,sys\n"
            f"s=socket.socket(); s.settimeout({seconds}); s.bind(('{source}',0))\n"
            f"try: s.connect(('{self.address(name)}',{port})); print('open')\n"
            "except ConnectionRefusedError: print('refused')\n"
            "except TimeoutError: print('dropped')\n"
        )
        return self.inside("python3", "-c", probe).stdout.strip()

    def _boot(self, name):
        upper, work, merged = (self.folder / name / part for part in ("upper", "work", "root"))
        for path in (upper, work, merged):
            path.mkdir(parents=True)
        run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={BASE / 'root'},upperdir={upper},workdir={work}", merged)
        self._stack.callback(run, "umount", "--lazy", merged)
        network = merged / "etc/systemd/network/05-before.network"
        # Where it is before it is anything: as a person finds a machine that was just installed.
        network.write_text(f"[Match]\nName=host0\n\n[Network]\nAddress={self.address(name)}/24\nGateway={ADMINISTRATOR}\n")
        keys = merged / "root/.ssh"
        keys.mkdir(mode=0o700, exist_ok=True)
        (keys / "authorized_keys").write_text((self.key.with_suffix(".pub")).read_text())
        for stamp in merged.glob("var/lib/apt/lists/**/"):
            os.utime(stamp)
        disk = self.folder / name / "disk"
        with disk.open("wb") as file:
            file.truncate(384 << 20)
        self._loops[name] = run("losetup", "--find", "--show", disk).stdout.strip()
        self._stack.callback(run, "losetup", "--detach", self._loops[name])
        log = (self.folder / name / "log").open("wb")
        command = [
            "nsenter", f"--net=/run/netns/{self.namespace}", "systemd-nspawn", "--quiet", f"--directory={merged}", f"--machine={name}", f"--uuid={uuid.uuid4()}", "--boot",
            "--register=no", "--keep-unit", "--resolv-conf=off", "--timezone=off", "--network-bridge=br0", "--capability=all", f"--bind={self._loops[name]}",
        ]  # fmt: skip
        # Of the kernel's settings those of its network are a host's own; the rest is this machine's, and stays as it is.
        environment = os.environ | {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"}
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        self._processes[name] = process
        self._stack.callback(self._stop, name)

    def _wait_for(self, name):
        end = time.monotonic() + 120
        while self._processes[name].poll() is None and time.monotonic() < end:
            try:
                if self.ssh(name, "systemctl is-system-running --wait || true"):
                    return
            except SystemExit:
                time.sleep(0.3)
        log = (self.folder / name / "log").read_text(errors="replace")
        raise Unfit(f"{name} has not come up: {log[-1500:]}")

    def _stop(self, name):
        process = self._processes[name]
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def run(*command, ends_with=(0,), **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600, **options)
    if done.returncode not in ends_with:
        raise SystemExit(f"{' '.join(map(str, command))[:300]} ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done
