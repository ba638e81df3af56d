# SPDX-License-Identifier: Apache-2.0
"""What is measured: one row is one thing under load, and a run of it is checked before and after."""
from dataclasses import dataclass
from typing import Callable, Optional

import bulk
import flood
import machine
import request
import wrk
from wrk import Fault

CLIENTS = 64


def recorded(answer):
    return answer.status == 201 and answer.json()["status"] == "recorded"


def all_accepted(answer):
    return answer.status == 200 and answer.json()["accepted"] == request.BATCH


def verified(answer):
    return answer.status == 200 and "email" in answer.json()


def constant(answer):
    return answer.status == 200 and answer.json() == {"status": "alive"}


def new_key(user):
    """With a limit of its own that no load reaches."""
    answer = user.post("/auth/api-keys", {"name": "load", "scopes": ["events:write"], "per_second": 10**6, "burst": 10**6})
    return answer.json()["key"]


@dataclass
class Http:
    """Requests of one kind over TLS. `table` is where each must have left `size` rows."""

    name: str
    title: str
    method: str
    path: str
    body: str
    expected: Callable
    connections: int = CLIENTS
    size: int = 1
    table: Optional[str] = None
    peer: Optional[str] = None
    by_key: bool = False  # an API key instead of an access token
    logins: int = 0       # attempts to log in, a second, beside it
    spins: int = 0        # loops of the lowest priority beside it, which are no part of Tallygate

    def prepare(self, bench):
        self.bodies = request.bodies(self.body)
        self.file = bench.stack.work / self.name
        self.token = new_key(bench.user) if self.by_key else bench.user.token
        self.file.write_text(request.SEPARATOR.join(
            request.over_the_wire(bench.stack, self.method, self.path, self.token, body)
            for body in self.bodies))

    def check(self, bench):
        """One request, whose answer must be the right one."""
        body = request.with_id(self.bodies[0], request.new_word(), 1)
        answer = bench.user.client.request(self.method, self.path, data=body, token=self.token)
        if not self.expected(answer):
            raise Fault(f"before the load {self.method} {self.path} answered {answer.status}")

    def rows(self, bench):
        if not self.table:
            return 0
        if self.peer:
            return int(bench.stack.psql(f"SELECT count(*) FROM {self.table}", database="peers"))
        return bench.stack.postgres.value(
            f"SELECT count(*) FROM {self.table} WHERE workspace_id = %s", bench.user.workspace)

    def processes(self, bench):
        parts = bench.stack.processes()
        if self.peer:
            parts["peer"] = bench.peers[self.peer].processes()
        return parts

    def measure(self, bench, seconds):
        self.check(bench)
        rows = self.rows(bench)
        figures = {}
        bench.stack.settle()

        def weigh():
            figures["pss_mib"] = machine.pss_mib(self.processes(bench)["peer" if self.peer else "tallygate"])

        meter = machine.Meter(lambda: self.processes(bench))
        with flood.Logins(bench.stack, self.logins) as logins, flood.Spins(self.spins):
            told = wrk.run(bench.stack, self.file, self.connections, seconds, request.new_word(), weigh)
        figures.update(logins.told())
        units = told["requests"] * self.size
        figures.update(told, rate=units / told["seconds"], **meter.stop(units))
        self.check_rows(bench, rows, told["requests"])
        return figures

    def check_rows(self, bench, before, requests):
        """Whatever was acknowledged is there; requests that the end of the load cut may be, too."""
        if self.table:
            new = self.rows(bench) - before
            least, most = requests * self.size, (requests + self.connections) * self.size
            if not least <= new <= most:
                raise Fault(f"{requests} requests were answered well and left {new} rows")


class Copy:
    """psql's \\copy into the events table: what PostgreSQL takes with nobody in between."""

    name, title, size = "copy", "psql's \\copy into events", 1

    def prepare(self, bench):
        self.columns = bulk.columns(bench.stack)

    def measure(self, bench, _seconds):
        stack = bench.stack
        file = stack.work / "copy.csv"
        bulk.write(file, self.columns, bulk.ROWS)
        stack.settle()
        meter = machine.Meter(stack.processes)
        took_s = bulk.copy(stack, file, self.columns)
        cost = meter.stop(bulk.ROWS)
        file.unlink()
        return {"requests": bulk.ROWS, "seconds": took_s, "rate": bulk.ROWS / took_s, **cost}


EVENT = {"method": "POST", "body": "event"}
VERIFY = {"method": "GET", "body": "none"}

VARIANTS = [
    Http("event", "one event", path="/analytics/events", expected=recorded, table="events", **EVENT),
    Http("event-ceiling", "one event, constant answer", path="/bench/ceiling/ingest", expected=constant,
         **EVENT),
    Http("fastapi", "FastAPI, one INSERT", path="/bench/fastapi", expected=recorded, table="peer_events",
         peer="fastapi", **EVENT),
    Http("fastify", "Fastify, one INSERT", path="/bench/fastify", expected=recorded, table="peer_events",
         peer="fastify", **EVENT),
    Http("event-128", "one event, 128 clients", path="/analytics/events", expected=recorded, table="events",
         connections=128, **EVENT),
    Http("event-key", "one event, by API key", path="/analytics/events", expected=recorded, table="events", by_key=True,
         **EVENT),
    Http("event-16", "one event, 16 clients", path="/analytics/events", expected=recorded, table="events", connections=16,
         **EVENT),
    Http("event-logins", "the same, beside 20 logins a second", path="/analytics/events", expected=recorded, table="events",
         connections=16, logins=20, **EVENT),
    Http("event-spin", "the same, beside one idle loop instead", path="/analytics/events", expected=recorded, table="events",
         connections=16, spins=1, **EVENT),
    Http("verify", "GET /auth/verify", path="/auth/verify", expected=verified, **VERIFY),
    Http("verify-ceiling", "GET /auth/verify, constant answer", path="/bench/ceiling/api", expected=constant,
         **VERIFY),
    Http("batch", "batches of 1,000", "POST", "/analytics/metrics/batch", "batch", all_accepted,
         connections=6, size=request.BATCH, table="events"),
    Copy(),
]
