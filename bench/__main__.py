# SPDX-License-Identifier: Apache-2.0
"""dev/bench: start everything, measure in turns, report. README.md tells what the figures mean."""
import argparse
import contextlib
import datetime
import os
import shlex
import signal
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parent
sys.path.insert(1, str(TOP / "tests"))  # env: the stack of the tests

import machine  # noqa: E402
import peer  # noqa: E402
import reading  # noqa: E402
import report  # noqa: E402
import request  # noqa: E402
import target  # noqa: E402
from env.accounts import User  # noqa: E402
from stack import BenchStack  # noqa: E402
from variant import VARIANTS  # noqa: E402

NAMES = [variant.name for variant in VARIANTS] + ["reading"]
WARM_UP_S = 2


def say(text):
    print(f"{datetime.datetime.now():%H:%M:%S}  {text}", file=sys.stderr, flush=True)


class Bench:
    """A stack with an account, and the peers that this run needs."""

    def __init__(self, stack):
        self.stack = stack
        self.user = User.register(stack)
        self.quiet = machine.Quiet(say)
        self.peers = {}

    def start_peers(self, names):
        if names:
            peer.make_database(self.stack)
        for name in names:
            self.peers[name] = peer.START[name](self.stack)

    def stop_peers(self):
        for running in self.peers.values():
            running.stop()


@contextlib.contextmanager
def started(peers=()):
    with BenchStack() as stack:
        bench = Bench(stack)
        try:
            bench.start_peers(peers)
            yield bench
        finally:
            bench.stop_peers()


def options():
    parser = argparse.ArgumentParser(prog="dev/bench", allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8, help="of one run")
    parser.add_argument("--only", metavar="NAME,...", default=",".join(NAMES), help=", ".join(NAMES))
    parser.add_argument("--events", type=int, default=10_000_000, help="to read from; first from a tenth")
    parser.add_argument("--out", type=Path, default=HERE / "results", metavar="DIR")
    asked = parser.parse_args()
    asked.only = asked.only.split(",")
    unknown = [name for name in asked.only if name not in NAMES]
    if unknown or asked.rounds < 1 or not 1 <= asked.seconds <= 600 or not 10_000 <= asked.events <= 10**9:
        parser.error(f"there is no {', '.join(unknown)}" if unknown else "a number is out of range")
    return asked


def commit():
    def git(*arguments):
        return subprocess.run(["git", "-C", str(TOP), *arguments], capture_output=True, text=True,
                              check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "src", "sql", "nginx", "Makefile.am")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if changed else "")


def idle_memory(bench):
    """Of all pools after one request to each."""
    asked = [bench.user.login().get("/auth/verify"), bench.user.post("/analytics/events", request.event("i"))]
    assert [answer.status for answer in asked] == [200, 201], asked
    return machine.pss_mib(bench.stack.tallygate())


def all_rounds(bench, variants, asked, results):
    for variant in variants:
        variant.prepare(bench)
    for n in range(asked.rounds + 1):
        for variant in list(variants):
            try:
                if n:
                    figures = bench.quiet.run(variant.name, lambda: variant.measure(bench, asked.seconds))
                else:
                    figures = variant.measure(bench, WARM_UP_S)
            except Exception as fault:  # of any kind: the other variants go on
                results["failures"].append(f"{variant.name}, round {n}: {fault}")
                say(results["failures"][-1])
                variants.remove(variant)
                results["rounds"].pop(variant.name, None)
                continue
            say(f"{f'round {n}' if n else 'warm-up'}  {variant.name}: {figures['rate']:,.0f} per s")
            if n:
                results["rounds"].setdefault(variant.name, []).append(figures)


def medians(rounds):
    """Of each figure by itself, over the rounds that nobody disturbed."""
    def middle(runs):
        keys = [key for key, value in runs[0].items() if not isinstance(value, (dict, bool))]
        return {key: statistics.median(run[key] for run in runs) for key in keys}

    good = {name: [run for run in runs if not run["disturbed"]] for name, runs in rounds.items()}
    return {name: middle(runs) for name, runs in good.items() if runs}


def measure(asked, results):
    variants = [variant for variant in VARIANTS if variant.name in asked.only]
    peers = [variant.peer for variant in variants if getattr(variant, "peer", None)]
    with started(peers) as bench:
        results["machine"] = machine.describe(bench.stack.dir, peer.FASTIFY)
        results["memory_mib"]["idle"] = idle_memory(bench)
        results["postgresql"] = {name: bench.stack.setting(name) for name in (
            "fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers",
            "max_wal_size")}
        all_rounds(bench, variants, asked, results)
        try:
            reading.check_derived(bench)
        except reading.Fault as fault:
            results["failures"].append(f"after the load: {fault}")
    loads = [run["pss_mib"] for name in ("event", "event-128") for run in results["rounds"].get(name, [])]
    if loads:
        results["memory_mib"]["load"] = max(loads)
    results["medians"] = medians(results["rounds"])
    if "reading" in asked.only:
        with started() as bench:
            try:
                sizes = (asked.events // 10, asked.events)
                results["reading"] = reading.run(bench, sizes, asked.seconds)
            except Exception as fault:
                results["failures"].append(f"reading: {fault}")
                say(results["failures"][-1])


def tell_disturbed(results):
    """A figure that others had a part in is none."""
    disturbed = [name for name in results["rounds"] if name not in results["medians"]]
    disturbed += [f"reading from {size} events" for size, r in results["reading"].items() if r["disturbed"]]
    results["failures"] += [f"{name}: others were at work on the machine each time" for name in disturbed]


def end(number, _frame):
    raise SystemExit(128 + number)


def main():
    asked = options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    results = {
        "date": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC", "commit": commit(),
        "command": shlex.join(["dev/bench", *sys.argv[1:]]), "seconds": asked.seconds,
        "machine": None, "postgresql": None, "targets": [], "medians": {}, "memory_mib": {}, "reading": {},
        "failures": [], "rounds": {},
    }
    measure(asked, results)
    tell_disturbed(results)
    results["targets"] = [row.judge(results) for row in target.targets()]
    report.write(results, asked.out)
    print(report.to_terminal(results))
    sys.exit(1 if results["failures"] else 0)


if __name__ == "__main__":
    os.umask(0o022)
    main()
