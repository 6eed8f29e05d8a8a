#!/usr/bin/python3
"""What a host is, as its kernel tells, and what it lacks for being a node. Changes nothing."""

import glob
import os
import re

DOCUMENTATION = """
module: host_report
short_description: what a host is, and what it lacks for being a node
options:
  interfaces: {type: list, elements: str, required: true, description: names that must be there}
  devices: {type: list, elements: str, required: true, description: disks that must be there}
  root: {type: str, default: /, description: where to look; for tests}
"""

# https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/install-kubeadm/#before-you-begin
LEAST_CPUS = 2
LEAST_MEMORY = 1_700 << 20
# What kubeadm's own preflight asks for, and cgroup v2 needs for memory.
OLDEST_KERNEL = (5, 8)
NVIDIA = "0x10de"


class Host:
    def __init__(self, root):
        self._root = root

    def path(self, path):
        return os.path.join(self._root, path.lstrip("/"))

    def read(self, path):
        try:
            with open(self.path(path), encoding="utf-8", errors="replace") as file:
                return file.read().strip()
        except OSError:
            return ""

    def glob(self, pattern):
        return sorted(glob.glob(self.path(pattern)))

    def cpus(self):
        return len(re.findall(r"(?m)^processor\s*:", self.read("/proc/cpuinfo")))

    def memory(self, field):
        found = re.search(rf"(?m)^{field}:\s+(\d+) kB", self.read("/proc/meminfo"))
        return int(found[1]) << 10 if found else 0

    def interfaces(self):
        for path in self.glob("/sys/class/net/*"):
            name = os.path.basename(path)
            speed = self.read(f"/sys/class/net/{name}/speed")
            if name != "lo":
                yield {
                    "name": name,
                    "address": self.read(f"/sys/class/net/{name}/address"),
                    "state": self.read(f"/sys/class/net/{name}/operstate"),
                    # In Mbit/s; what has no wire says -1 or nothing.
                    "speed": int(speed) if speed.isdigit() else None,
                }

    def disks(self):
        for path in self.glob("/sys/block/*"):
            name = os.path.basename(path)
            sectors = self.read(f"/sys/block/{name}/size")
            if sectors.isdigit() and int(sectors) and not name.startswith(("loop", "ram", "zram", "dm-", "md")):
                yield {
                    "name": f"/dev/{name}",
                    "bytes": int(sectors) * 512,
                    "model": self.read(f"/sys/block/{name}/device/model"),
                    "rotates": self.read(f"/sys/block/{name}/queue/rotational") == "1",
                }

    def gpus(self):
        driver = re.search(r"Kernel Module\s+(?:for \S+\s+)?(\S+)", self.read("/proc/driver/nvidia/version"))
        for path in self.glob("/sys/bus/pci/devices/*/vendor"):
            slot = os.path.basename(os.path.dirname(path))
            kind = self.read(f"/sys/bus/pci/devices/{slot}/class")
            if self.read(f"/sys/bus/pci/devices/{slot}/vendor") == NVIDIA and kind.startswith(("0x0300", "0x0302")):
                yield {
                    "slot": slot,
                    "device": self.read(f"/sys/bus/pci/devices/{slot}/device"),
                    "model": self.model(slot),
                    "driver": driver[1] if driver else None,
                }

    def model(self, slot):
        found = re.search(r"(?m)^Model:\s+(.+)$", self.read(f"/proc/driver/nvidia/gpus/{slot}/information"))
        return found[1] if found else None

    def cgroup(self):
        if os.path.exists(self.path("/sys/fs/cgroup/cgroup.controllers")):
            return 2, sorted(self.read("/sys/fs/cgroup/cgroup.controllers").split())
        lines = [line.split() for line in self.read("/proc/cgroups").splitlines() if not line.startswith("#")]
        return 1, sorted(line[0] for line in lines if line[-1] == "1")

    def report(self, interfaces, devices):
        version, controllers = self.cgroup()
        release = self.read("/proc/sys/kernel/osrelease")
        system = dict(re.findall(r'(?m)^(ID|VERSION_ID|PRETTY_NAME)="?([^"\n]*)', self.read("/etc/os-release")))
        report = {
            "machine_id": self.read("/etc/machine-id"),
            "product": self.read("/sys/class/dmi/id/product_name"),
            "firmware": {
                "kind": "uefi" if os.path.isdir(self.path("/sys/firmware/efi")) else "bios",
                "version": self.read("/sys/class/dmi/id/bios_version"),
                "date": self.read("/sys/class/dmi/id/bios_date"),
            },
            "system": {"name": system.get("PRETTY_NAME"), "id": system.get("ID"), "version": system.get("VERSION_ID")},
            "kernel": release,
            "cpus": self.cpus(),
            "memory_bytes": self.memory("MemTotal"),
            "swap_bytes": self.memory("SwapTotal"),
            "cgroup": {"version": version, "controllers": controllers},
            "interfaces": list(self.interfaces()),
            "disks": list(self.disks()),
            "gpus": list(self.gpus()),
            "nouveau": os.path.isdir(self.path("/sys/module/nouveau")),
            "clock_synchronized": os.path.exists(self.path("/run/systemd/timesync/synchronized")),
        }
        report["lacks"] = list(self.lacks(report, interfaces, devices))
        return report

    def lacks(self, report, interfaces, devices):
        if report["system"]["id"] not in ("debian", "ubuntu"):
            yield f"it runs {report['system']['name'] or 'an unknown system'}; these roles are for Debian 12 and Ubuntu 22.04 or newer"
        if report["cpus"] < LEAST_CPUS:
            yield f"it has {report['cpus']} processor(s); a node has {LEAST_CPUS} or more"
        if report["memory_bytes"] < LEAST_MEMORY:
            yield f"it has {report['memory_bytes'] >> 20} MiB of memory; a node has {LEAST_MEMORY >> 20} or more"
        kernel = tuple(int(part) for part in re.findall(r"\d+", report["kernel"])[:2])
        if kernel < OLDEST_KERNEL:
            yield f"its kernel is {report['kernel']}; {'.'.join(map(str, OLDEST_KERNEL))} or newer is needed"
        missing = {"cpu", "memory", "pids"} - set(report["cgroup"]["controllers"])
        if missing:
            yield f"its kernel has no cgroup controller for {', '.join(sorted(missing))}; look at its command line (cgroup_disable, cgroup_enable)"
        there = {interface["name"] for interface in report["interfaces"]}
        for name in interfaces:
            if name not in there:
                yield f"there is no interface `{name}`; there are {', '.join(sorted(there)) or 'none'}"
        for device in devices:
            if not os.path.exists(self.path(device)):
                disks = ", ".join(disk["name"] for disk in report["disks"]) or "none"
                yield f"there is no disk `{device}`; there are {disks}"


def main():
    from ansible.module_utils.basic import AnsibleModule

    strings = {"type": "list", "elements": "str", "required": True}
    arguments = {"interfaces": strings, "devices": strings, "root": {"type": "str", "default": "/"}}
    module = AnsibleModule(argument_spec=arguments, supports_check_mode=True)
    host = Host(module.params["root"])
    module.exit_json(changed=False, report=host.report(module.params["interfaces"], module.params["devices"]))


if __name__ == "__main__":
    main()
