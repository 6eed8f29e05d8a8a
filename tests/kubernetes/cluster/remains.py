"""What a cluster could leave behind on a machine."""

import subprocess
from pathlib import Path

SETTINGS = ["vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward"]
FOLDERS = ["/var/lib/kubelet", "/var/lib/cni", "/var/log/pods", "/var/log/containers", "/opt/containerd", "/run/netns", "/run/containerd"]
PROGRAMS = ("kube", "etcd", "containerd", "ctr", "runc", "pause", "probe", "unshare", "nsenter", "dns.py", "metrics.py", "first_process")


def remains():
    """All that is there now of the kinds that clusters make."""
    return {*_processes(), *_mounts(), *_cgroups(), *_network(), *_settings(), *_folders()}


def _processes():
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0") if folder.name.isdigit() else [""]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if any(Path(word).name.startswith(PROGRAMS) for word in words[:3]):
            yield f"process {folder.name} {' '.join(words[:3])}"


def _mounts():
    return (f"mount {line}" for line in Path("/proc/mounts").read_text().splitlines())


def _cgroups():
    return (f"cgroup {path}" for path in Path("/sys/fs/cgroup").rglob("slipway*") if path.is_dir())


def _network():
    for what in [["link"], ["address"], ["route"], ["netns"]]:
        told = subprocess.run(["ip", "-oneline", *what, "show"], capture_output=True, text=True).stdout
        yield from (f"{what[0]} {line}" for line in told.splitlines())
    told = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
    yield from (f"nft {line}" for line in told.splitlines())


def _settings():
    return (f"setting {name} {Path('/proc/sys', name).read_text().strip()}" for name in SETTINGS)


def _folders():
    return (f"folder {path}" for path in FOLDERS if Path(path).exists())
