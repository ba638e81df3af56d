# SPDX-License-Identifier: Apache-2.0
"""Questions to a workspace of a million events and of ten, while new ones come in.

One client on one connection asks each question in turn, as somebody's dashboard would, and takes the time
until the answer is there. It asks for no answer out of a cache.
"""
import http.client
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import machine
import request
from env import consistency
from env.http import tls_context
from wrk import Fault

HERE = Path(__file__).parent
USERS = 10_000
DAYS = 40
BATCHES_PER_S, BATCH = 20, 100
LEAST, WARM_UP = 300, 20  # of each question
LEAST_S = 20  # fewer answers make an uncertain p95
LIMIT_S = 240  # of one size
QUESTIONS = {
    "metrics": lambda user: "/analytics/metrics",
    "summary": lambda user: "/analytics/summary",
    "usage": lambda user: f"/analytics/usage/{user}",
}

_chance = random.Random(2)


def some_user():
    return f"user-{_chance.randrange(USERS):05d}"


class Reader:
    def __init__(self, bench):
        self.connection = http.client.HTTPSConnection(
            "localhost", bench.stack.port, context=tls_context(bench.stack.cert), timeout=30)
        self.headers = {"Authorization": f"Bearer {bench.user.token}", "Cache-Control": "no-cache"}

    def ask(self, path):
        """(status, body, ms)"""
        before = time.perf_counter()
        self.connection.request("GET", path, headers=self.headers)
        answer = self.connection.getresponse()
        body = answer.read()
        return answer.status, body, (time.perf_counter() - before) * 1000

    def served(self):
        """The questions whose route is there."""
        return [name for name, path in QUESTIONS.items() if self.ask(path(some_user()))[0] != 404]

    def series(self, names, seconds):
        """Milliseconds of each question, by name."""
        took = {name: [] for name in names}
        begin = time.monotonic()
        for n in range(10**9):
            spent = time.monotonic() - begin
            if (n >= LEAST + WARM_UP and spent > max(seconds, LEAST_S)) or spent > LIMIT_S:
                break
            for name in names:
                status, body, ms = self.ask(QUESTIONS[name](some_user()))
                if status != 200:
                    raise Fault(f"{name} answered {status}: {body[:200]!r}")
                if n >= WARM_UP:
                    took[name].append(ms)
        return took


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


class Writing:
    """The writer while it is at work; after the block `told` is what it did."""

    def __init__(self, bench):
        self.process = subprocess.Popen([sys.executable, str(HERE / "writer.py")], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        batches = [request.batch_body(BATCH, some_user) for _ in range(20)]
        self.process.stdin.write(json.dumps({
            "port": bench.stack.port, "cert": str(bench.stack.cert), "token": bench.user.token,
            "batches": batches, "word": request.new_word(), "per_second": BATCHES_PER_S,
            "limit_s": LIMIT_S + 60}) + "\n")
        self.process.stdin.flush()
        self.told = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            said, _ = self.process.communicate(timeout=60)
        finally:
            self.process.kill()
            self.process.wait()
        self.told = json.loads(said)

    def check(self):
        told = self.told
        if told["faults"]:
            raise Fault(f"{told['faults']} batches of the writer failed: {told['first_faults']}")
        rate = told["batches"] / told["seconds"]
        if rate < 0.95 * BATCHES_PER_S:
            raise Fault(f"the writer came to {rate:.1f} batches/s instead of {BATCHES_PER_S}")


def fill(bench, first, last):
    """Seconds that it took."""
    before = time.monotonic()
    bench.stack.psql((HERE / "fill.sql").read_text(), timeout_s=3600, variables={
        "workspace": bench.user.workspace, "first": first, "last": last, "users": USERS, "days": DAYS})
    bench.stack.settle()
    return time.monotonic() - before


def check_filled(bench, reader):
    """What the service counts is what lies in the table; else fill.sql forgets something."""
    status, body, _ = reader.ask(f"/analytics/metrics?days={DAYS + 1}")
    stored = bench.stack.postgres.value("SELECT count(*) FROM events WHERE workspace_id = %s",
                                        bench.user.workspace)
    counted = json.loads(body).get("total_metrics") if status == 200 else f"status {status}"
    if counted != stored:
        raise Fault(f"of {stored} events the service counts {counted}: fill.sql does not fit the schema")


def check_derived(bench):
    found = consistency.differences(bench.stack.postgres, bench.user.workspace)
    if found:
        raise Fault(f"{len(found)} derived rows are not what the events say: {'; '.join(found[:3])}")


def measure(bench, seconds):
    """At this size: figures by question (None: not there), and what the writer did."""
    reader = Reader(bench)
    check_filled(bench, reader)
    names = reader.served()
    meter = machine.Meter(bench.stack.processes)
    with Writing(bench) as writing:
        took = reader.series(names, seconds)
    writing.check()
    cost = meter.stop(sum(map(len, took.values())))
    figures = dict.fromkeys(QUESTIONS)
    for name, values in took.items():
        figures[name] = {"requests": len(values), "p50_ms": percentile(values, 0.5),
                         "p95_ms": percentile(values, 0.95), "max_ms": max(values)}
    return {"questions": figures, "writer": writing.told, **cost}


def run(bench, sizes, seconds):
    """Figures by size. Of the first size it is also checked that all that is derived from the events is
    what they say, after the writer: of a large one that would take too long."""
    results, filled, say = {}, 0, bench.quiet.say
    for size in sizes:
        say(f"filling up to {size:,} events")
        took_s = fill(bench, filled + 1, size)
        name = f"reading from {size:,} events"
        say(f"{name} (filled in {took_s:.0f} s)")
        figures = bench.quiet.run(name, lambda: measure(bench, seconds))
        results[str(size)] = {"fill_s": took_s, **figures}
        if not filled:
            check_derived(bench)
        filled = size
    return results
