"""Whether this machine can carry a node, and what Debian's packages can add to make it so."""

import os
import shutil
import subprocess
from pathlib import Path

import cgroups
from errors import NoNode
from network import refuse_clash

# Each program and Debian's package of it.
PROGRAMS = {"containerd": "containerd", "ctr": "containerd", "runc": "runc", "nft": "nftables", "ip": "iproute2"}
PLUGINS = "containernetworking-plugins"
# Debian's folder for them, and the one that their makers use.
PLUGIN_FOLDERS = ["/usr/lib/cni", "/opt/cni/bin"]
POLICY = Path("/usr/sbin/policy-rc.d")
# All that a node is made of, tried and thrown away. An error of the kernel is told by `ip`.
TRIAL = """
ip link add name trial0 type bridge
ip link add name trial1 type veth peer name trial2
nft add table ip trial
test -e /proc/sys/net/bridge || echo br_netfilter is missing >&2
"""


def require(slot, count):
    """Makes sure of a machine that can carry so many nodes, and answers where its network plugins are; raises `NoNode` with the reason."""
    if os.geteuid() != 0:
        raise NoNode(f"a node needs root, and this is user {os.geteuid()}")
    missing = sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)})
    if not _plugins():
        missing.append(PLUGINS)
    if missing:
        _install(missing)
    for module in ["overlay", "br_netfilter", "veth", "nf_tables"]:
        # Most kernels load them when asked; some have them built in and no modprobe.
        if shutil.which("modprobe"):
            subprocess.run(["modprobe", "--quiet", module], capture_output=True)
    if "\toverlay" not in Path("/proc/filesystems").read_text():
        raise NoNode("this kernel has no overlay file system")
    tried = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "sh", "-c", TRIAL], capture_output=True, text=True
    )
    if tried.returncode != 0 or tried.stderr:
        raise NoNode(f"this kernel gives root no namespaces with a network of their own: {'; '.join(tried.stderr.splitlines())}")
    refuse_clash(slot)
    for place in slot.places[:count]:
        cgroups.make(place.name)
    return _plugins()


def _plugins():
    return next((folder for folder in PLUGIN_FOLDERS if Path(folder, "bridge").exists() and Path(folder, "host-local").exists()), None)


def _install(packages):
    """Installs Debian's packages without starting the services that come with them."""
    command = f"apt-get install {' '.join(packages)}"
    if not shutil.which("apt-get"):
        raise NoNode(f"{', '.join(packages)} missing, and there is no apt-get to install it")
    hushed = not POLICY.exists()
    if hushed:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        for step in [["install", "--yes"], ["update"], ["install", "--yes"]]:
            names = packages if step[0] == "install" else []
            options = ["-qq", "-o", "DPkg::Lock::Timeout=300", "--no-install-recommends"]
            done = subprocess.run(
                ["apt-get", *options, *step, *names], capture_output=True, text=True, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            )
            if done.returncode == 0 and names:
                return
    finally:
        if hushed:
            POLICY.unlink()
    raise NoNode(f"`{command}` failed: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}")
