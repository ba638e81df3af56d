# SPDX-License-Identifier: Apache-2.0
"""What the machine is and what it does: its description, its clocks of CPU time, its processes' memory."""
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import tempfile
import time
from importlib import metadata
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


# ---- CPU time ----

def cpu_ticks():
    """(busy, all) of the whole machine since its start. Waiting for a disk is not busy, and neither is
    what a hypervisor took away."""
    user, nice, system, idle, iowait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    busy = user + nice + system + irq + softirq
    return busy, busy + idle + iowait + steal


def busy_percent(seconds=1):
    """Of the machine while we do nothing: what others do."""
    busy, whole = cpu_ticks()
    time.sleep(seconds)
    busy_then, whole_then = cpu_ticks()
    return 100 * (busy_then - busy) / max(whole_then - whole, 1)


class Quiet:
    """Keeps measuring apart from others' work on the machine, as far as its patience goes."""

    BELOW_PERCENT = 8  # busy, before a run begins
    OTHERS_PERCENT = 12  # of the machine during a run, with what the kernel does for us
    ATTEMPTS = 3

    def __init__(self, say, patience_s=900):
        self.say, self.patience_s = say, patience_s

    def wait(self):
        """Returns how busy the machine is at last."""
        while True:
            busy = busy_percent()
            if busy < self.BELOW_PERCENT or self.patience_s <= 0:
                return busy
            self.patience_s -= 1

    def run(self, name, measure):
        """What measure() gives. It is done again while others disturb it, a few times; the last figures carry
        a mark when they still were."""
        for _ in range(self.ATTEMPTS):
            busy = self.wait()
            figures = measure()
            figures["busy_before_percent"] = busy
            figures["disturbed"] = figures["others_percent"] > self.OTHERS_PERCENT
            if not figures["disturbed"] or self.patience_s <= 0:
                break
            self.say(f"{name}: others took {figures['others_percent']:.0f} % of the machine")
        return figures


def own_us():
    """CPU time of this process and of its children that have ended, which are the clients."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used) * 1e6


class Meter:
    """What a run costs: all of the machine's CPU time from here to stop(), and how much of it is whose.

    `processes` gives lists of process ids by part. What none of them used is the kernel's own work and that
    of others, who have no business here: it shows how far to trust the run.
    """

    def __init__(self, processes):
        self._processes = processes
        self._used = self._look()
        self._ticks = cpu_ticks()

    def _look(self):
        used = {part: cpu_us(pids) for part, pids in self._processes().items()}
        used["client"] = own_us()
        return used

    def stop(self, units):
        """Figures, in µs of CPU for each of `units`."""
        busy, whole = cpu_ticks()
        ticks, whole = busy - self._ticks[0], max(whole - self._ticks[1], 1)
        busy_us = ticks * 1e6 / TICKS_PER_S
        parts = {part: used - self._used[part] for part, used in self._look().items()}
        parts["others"] = max(busy_us - sum(parts.values()), 0)
        return {
            "cpu_us": busy_us / units,
            "cpu_us_by_part": {part: used / units for part, used in parts.items()},
            "busy_percent": 100 * ticks / whole,
            "others_percent": 100 * parts["others"] * TICKS_PER_S / 1e6 / whole,
        }


# ---- Processes ----

def family(*pids):
    """These processes and all that come from them."""
    found, todo = [], list(pids)
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                todo += map(int, task.read_text().split())
        except OSError:
            pass  # it ended meanwhile
    return found


def cpu_us(pids):
    """CPU time that these processes have used by now, with that of children that ended."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks * 1e6 / TICKS_PER_S


def pss_mib(pids):
    """Proportional set size: pages that processes share are counted once."""
    kib = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        kib += int(re.search(r"^Pss:\s+(\d+) kB", text, re.M).group(1))
    return kib / 1024


# ---- Description ----

def fdatasync_us(directory, times=200):
    """Median of writing 8 KiB durably: what a commit costs at least."""
    took = []
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(bytes(8192))
        for _ in range(times):
            file.seek(0)
            file.write(bytes(8192))
            file.flush()
            before = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - before) * 1e6)
    return round(statistics.median(took))


def first_word(pattern, *command):
    """What the pattern catches in a program's answer about its version."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except OSError:
        return None
    found = re.search(pattern, done.stdout + done.stderr)
    return found.group(1) if found else None


def python_version_of(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def node_version_of(package, directory):
    try:
        return json.loads((directory / "node_modules" / package / "package.json").read_text())["version"]
    except OSError:
        return None


def versions(fastify):
    return {
        "nginx": first_word(r"nginx/([\d.]+)", "nginx", "-v"),
        "postgresql": first_word(r"PostgreSQL\) ([\d.]+)", "postgres", "--version"),
        "wrk": first_word(r"wrk (\S+)", "wrk", "-v"),
        "python": platform.python_version(),
        "node": first_word(r"v([\d.]+)", "node", "--version"),
        **{name: python_version_of(name) for name in ("fastapi", "uvicorn", "pydantic", "asyncpg")},
        **{name: node_version_of(name, fastify) for name in ("fastify", "pg")},
    }


def describe(directory, fastify):
    """`directory` is where PostgreSQL keeps its data, `fastify` where npm put the peer's packages."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    memory = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.M)
    return {
        "cpu": cpu.group(1) if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory.group(1)) / 1024 / 1024, 1),
        "kernel": platform.release(),
        "fdatasync_us": fdatasync_us(directory),
        "load_average": [round(n, 2) for n in os.getloadavg()],
        "versions": versions(fastify),
    }
