"""What /proc tells of a server and of the machine."""
import os
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def stat(pid):
    """(CPU ticks with those of reaped children, parent, threads) of a process; None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return sum(map(int, fields[11:15])), int(fields[1]), int(fields[17])


def members(tag):
    """Every process that carries the run's tag in its environment, and their descendants."""
    parents, found = {}, set()
    mark = f"BENCH_TAG={tag}".encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        pid = int(entry)
        seen = stat(pid)
        if seen is None:
            continue
        parents[pid] = seen[1]
        try:
            if mark in Path(f"/proc/{pid}/environ").read_bytes():
                found.add(pid)
        except OSError:
            pass
    grew = True
    while grew:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        grew = bool(more)
    return found


def cpu_seconds(pids):
    return sum(seen[0] for seen in map(stat, pids) if seen) / TICKS


def threads(pids):
    return sum(seen[2] for seen in map(stat, pids) if seen)


def memory_mib(pids):
    """(PSS, RSS): PSS counts a page that n processes share as 1/n, RSS counts it n times."""
    pss = rss = 0
    for pid in pids:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    pss += int(line.split()[1])
                elif line.startswith("Rss:"):
                    rss += int(line.split()[1])
        except OSError:
            pass
    return round(pss / 1024, 1), round(rss / 1024, 1)


def machine_cpu_seconds():
    """(busy, stolen by the host) of the whole machine since it booted."""
    line = Path("/proc/stat").read_text().split("\n", 1)[0]
    user, nice, system, _idle, _waiting, irq, soft_irq, steal = map(int, line.split()[1:9])
    return (user + nice + system + irq + soft_irq) / TICKS, steal / TICKS


class Window:
    """CPU of the server, of its client and of everything between two moments."""

    def __init__(self, tag, pids=None, client=None):
        self.tag, self.client = tag, [client] if client else []
        pids = members(tag) if pids is None else pids
        self.begin = time.monotonic()
        self.server, self.of_client, self.machine = cpu_seconds(pids), cpu_seconds(self.client), machine_cpu_seconds()

    def close(self):
        """(seconds, server's CPU-seconds, client's, the machine's, stolen ones)."""
        wall = time.monotonic() - self.begin
        busy, steal = (after - before for before, after in zip(self.machine, machine_cpu_seconds()))
        client = cpu_seconds(self.client) - self.of_client
        return wall, cpu_seconds(members(self.tag)) - self.server, client, busy, steal


def wait_quiet(tag, most, patience_s):
    """Waits until the rest of the machine leaves the cores alone; returns the cores it used last."""
    end = time.monotonic() + patience_s
    while True:
        window = Window(tag)
        time.sleep(0.5)
        wall, server, _, busy, _ = window.close()
        others = max(0.0, (busy - server) / wall)
        if others <= most or time.monotonic() >= end:
            return others
        time.sleep(1)
