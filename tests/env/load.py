# SPDX-License-Identifier: Apache-2.0
"""A bounded load of events, and the count of what became of them.

Each thread sends events with ids of its own, one after the other, until it is told to stop. What
was acknowledged is kept, to be compared with what is stored.
"""
import http.client
import json
import threading

from env import consistency
from env.http import tls_context

MOST_EVENTS = 60000  # of one load, whatever happens


class Load:
    def __init__(self, stack, threads=12):
        self.stack = stack
        self.user = stack.new_user()
        self.acknowledged = {}  # id -> status of the answer
        self.sent = set()
        self.refused = []  # (status, has Retry-After)
        self.broken = []  # answers that never came whole
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def count(self):
        return len(self.acknowledged)

    def _connect(self):
        return http.client.HTTPSConnection(
            "localhost", self.stack.port, context=tls_context(self.stack.cert), timeout=90)

    def _run(self, number):
        connection = self._connect()
        serial = 0
        while not self._stop.is_set() and len(self.sent) < MOST_EVENTS:
            serial += 1
            event_id = f"{number}-{serial}"
            with self._lock:
                self.sent.add(event_id)
            try:
                self._send(connection, event_id)
            except (OSError, http.client.HTTPException) as fault:
                with self._lock:
                    self.broken.append(repr(fault))
                connection.close()
                connection = self._connect()
        connection.close()

    def _send(self, connection, event_id):
        body = json.dumps({"type": "api_call", "value": 1, "user_id": f"u{len(event_id)}", "id": event_id})
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.user.token}"}
        connection.request("POST", "/analytics/events", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        with self._lock:
            if answer.status in (200, 201):
                assert json.loads(text)["id"] == event_id
                self.acknowledged[event_id] = answer.status
            else:
                self.refused.append((answer.status, answer.getheader("Retry-After") is not None))
        if answer.status == 503:
            self._stop.wait(0.05)  # as Retry-After asks, only more eagerly

    def check_stored(self):
        """Nothing that was acknowledged is missing, nothing is there twice, and the rollups agree."""
        postgres = self.stack.postgres
        workspace = self.user.workspace
        stored = [row[0] for row in postgres.query("SELECT id FROM events WHERE workspace_id = %s", workspace)]
        assert len(stored) == len(set(stored))
        assert set(self.acknowledged) <= set(stored)
        assert set(stored) <= self.sent
        consistency.check(postgres, workspace)
        metrics = self.user.get("/analytics/metrics").json()
        assert metrics["total_metrics"] == len(stored)
