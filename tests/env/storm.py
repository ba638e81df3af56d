# SPDX-License-Identifier: Apache-2.0
"""A storm: random events from many clients to several hosts at once, while parts of them are killed.

What is sent is drawn from the seed, by a source of its own for each client; how it interleaves is not. The
clients go along the same row of ids at about the same pace, so that they compete for them. Each sending has
a serial number in its metadata, by which a row tells which of the competing ones it is.

A request that got no answer is sent again until it gets one. Events without an id are left out then: nobody
knows what became of them, and another attempt would be another event. What became of them the rows tell
in the end: each is there once or not at all.
"""
import collections
import dataclasses
import datetime
import http.client
import json
import os
import random
import signal
import threading
from decimal import Decimal

from env.http import tls_context

UTC = datetime.timezone.utc
DAY = datetime.timedelta(days=1)
TRIES = 400  # of one request, whatever happens

TYPES = ["api_call", "tool_execution", "cost", "session", "page.view"]
USERS = [f"user-{n}" for n in range(9)] + ["ü", "a/b c", "李🙂"]


@dataclasses.dataclass(eq=False)
class Sending:
    """One event of one request."""
    serial: int
    good: bool  # or to be rejected
    id: str | None
    type: str
    value: Decimal
    user_id: str
    time: datetime.datetime | None
    text: str


@dataclasses.dataclass(eq=False)
class Request:
    host: int
    workspace: int
    alone: bool  # POST /analytics/events, not a batch
    sendings: list
    unknown: list = dataclasses.field(default_factory=list)  # left out after an answer that was lost
    lost: int = 0
    begun_at: datetime.datetime | None = None
    ended_at: datetime.datetime | None = None
    status: int | None = None
    body: dict | None = None


class Draw:
    """What one client sends."""

    def __init__(self, source, number, hosts, workspaces):
        self.source = source
        self.number = number
        self.hosts = hosts
        self.workspaces = workspaces
        self.count = 0
        self.now = datetime.datetime.now(UTC)

    def request(self, step):
        source = self.source
        alone = source.random() < 0.5
        size = 1 if alone else source.choice([1, 2, 5, 20, 60])
        return Request(source.randrange(self.hosts), source.randrange(self.workspaces), alone,
                       [self.sending(step) for _ in range(size)])

    def sending(self, step):
        self.count += 1
        serial = self.number * 1000000 + self.count
        sending = Sending(serial, self.source.random() > 0.05, self.id(step, serial), self.source.choice(TYPES),
                          self.value(), self.source.choice(USERS), self.time(), "")
        sending.text = self.text(sending)
        return sending

    def id(self, step, serial):
        draw = self.source.random()
        if draw < 0.1:
            return f"own-{serial}"
        return None if draw < 0.2 else f"id-{2 * step + self.source.randrange(30)}"

    def value(self):
        return Decimal(self.source.choice(["0", "1", "-1", "0.1", "2.50", "1e3", "-7e-6", "{}", "0.{}", "-{}.25"])
                       .format(self.source.randint(1, 999999)))

    def time(self):
        source = self.source
        draw = source.random()
        if draw < 0.4:
            return None
        time = self.now - source.random() * (3 if draw < 0.7 else 398) * DAY
        if draw < 0.8:
            return time
        time = time.replace(minute=0, second=0, microsecond=0)
        return source.choice([time, time.replace(hour=0)]) + source.choice([-1, 0, 1]) * time.resolution

    def text(self, sending):
        fields = {"type": sending.type, "value": "@", "user_id": sending.user_id, "id": sending.id,
                  "metadata": {"serial": sending.serial}}
        if sending.time:
            zone = datetime.timezone(datetime.timedelta(hours=self.source.choice([0, 2, -11])))
            fields["timestamp"] = sending.time.astimezone(zone).isoformat()
        if not sending.good:
            self.spoil(fields)
        return json.dumps(fields, ensure_ascii=False).replace('"@"', str(sending.value))

    def spoil(self, fields):
        too_old = (self.now - 401 * DAY).isoformat()
        spoilt = {"type": "Type", "value": "1", "user_id": "", "timestamp": too_old, "more": 1}
        name = self.source.choice(sorted(spoilt))
        fields[name] = spoilt[name]


class Storm:
    """Run it; then `requests` tells all that was sent and answered. The hosts are stacks on one database."""

    def __init__(self, seed, hosts, users, clients, steps):
        self.seed = seed
        self.hosts = hosts
        self.users = users
        self.clients = clients
        self.steps = steps
        self.requests = []
        self.refused = []  # (status, Retry-After)
        self.broken = []
        self.troubles = collections.Counter()
        self.over = threading.Event()
        self.faults = []
        self.progress = threading.Condition()

    def run(self, *more):
        """`more` are functions that run beside, until the storm is over."""
        clients = [threading.Thread(target=self._guarded, args=(self._send_all, n)) for n in range(self.clients)]
        others = [threading.Thread(target=self._guarded, args=(act,)) for act in (self._trouble, *more)]
        for thread in clients + others:
            thread.start()
        for thread in clients:
            thread.join()
        self.over.set()
        with self.progress:
            self.progress.notify_all()
        for thread in others:
            thread.join()
        if self.faults:
            raise self.faults[0]
        return self

    def _guarded(self, act, *arguments):
        try:
            act(*arguments)
        except BaseException as fault:
            self.faults.append(fault)

    # ---- clients ----

    def _send_all(self, number):
        draw = Draw(random.Random(f"{self.seed} client {number}"), number, len(self.hosts), len(self.users))
        connections = [self._connect(host) for host in self.hosts]
        for step in range(self.steps):
            request = draw.request(step)
            self._perform(request, connections)
            with self.progress:
                self.requests.append(request)
                self.progress.notify_all()
        for connection in connections:
            connection.close()

    def _connect(self, host):
        return http.client.HTTPSConnection("localhost", host.port, context=tls_context(host.cert), timeout=90)

    def _perform(self, request, connections):
        request.begun_at = datetime.datetime.now(UTC)
        while request.sendings and request.lost < TRIES:
            try:
                status, retry_after, body = self._post(request, connections[request.host])
            except (OSError, http.client.HTTPException) as fault:
                self.broken.append(repr(fault))
                connections[request.host].close()
                connections[request.host] = self._connect(self.hosts[request.host])
                status = None
            request.ended_at = datetime.datetime.now(UTC)
            if status in (200, 201, 422):
                request.status, request.body = status, body
                return
            if status:
                self.refused.append((status, retry_after))
            request.lost += 1
            request.unknown += [s for s in request.sendings if s.good and not s.id]
            request.sendings = [s for s in request.sendings if s not in request.unknown]
            self.over.wait(0.05)  # as Retry-After asks, only more eagerly

    def _post(self, request, connection):
        texts = [s.text for s in request.sendings]
        path, body = (("/analytics/events", texts[0]) if request.alone
                      else ("/analytics/metrics/batch", '{"events": [%s]}' % ",".join(texts)))
        connection.request("POST", path, body.encode(), {
            "Content-Type": "application/json", "Authorization": f"Bearer {self.users[request.workspace].token}"})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, answer.getheader("Retry-After"), json.loads(text)

    # ---- what befalls the service ----

    def _trouble(self):
        source = random.Random(f"{self.seed} trouble")
        while not self.over.is_set():
            until = len(self.requests) + source.randint(10, 60)
            with self.progress:
                self.progress.wait_for(lambda until=until: self.over.is_set() or len(self.requests) >= until)
            if not self.over.is_set():
                host = source.choice(self.hosts)
                act = source.choice([self._kill_ingest] * 4 + [self._cut] * 4 + [self._kill_api, self._reload])
                act(source, host)

    def _kill(self, source, pool):
        workers = pool.workers  # those of a master of ours
        if workers:
            try:
                os.kill(source.choice(workers), signal.SIGKILL)
            except ProcessLookupError:
                return
            self.troubles[f"{pool.name} worker killed"] += 1

    def _kill_ingest(self, source, host):
        self._kill(source, host.ingest)

    def _kill_api(self, source, host):
        self._kill(source, host.api)

    def _reload(self, source, host):
        host.ingest.signal(signal.SIGHUP)
        self.troubles["ingest reloaded"] += 1

    def _cut(self, source, host):
        share = source.choice([0.3, 0.6, 1])
        cut = host.postgres.value(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'tallygate-ingest' "
            "AND random() < %s", share, database="postgres", user="postgres")
        self.troubles["connections cut"] += cut
