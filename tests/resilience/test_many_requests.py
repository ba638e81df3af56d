# SPDX-License-Identifier: Apache-2.0
"""Requests wait for a commit without a thread: far more of them than there are threads, and large ones in turn."""
import contextlib
import signal
import threading

import pytest

from env.problems import assert_problem
from env.wait import wait_for

LARGE_BODIES = 4  # as many may be in one worker at once


@pytest.fixture(scope="module")
def narrow(make_stack):
    """One thread takes in what 40 requests at once bring."""
    stack = make_stack(ingest_workers=1, ingest_threads=1, ingest_requests=40, ingest_wait_ms=60000)
    yield stack
    assert_nothing_is_under_way(stack)


@pytest.fixture(scope="module")
def hasty(make_stack):
    stack = make_stack(ingest_workers=1, ingest_threads=2, ingest_wait_ms=1500)
    yield stack
    assert_nothing_is_under_way(stack)


def assert_nothing_is_under_way(stack):
    """A worker that stops waits for its requests, and for a seat that was lost, too."""
    stack.ingest.stop()
    assert "requests still run after drain_s" not in stack.ingest.log_text


@contextlib.contextmanager
def nothing_is_committed(stack):
    """Whoever writes an event waits until this is over."""
    connection = stack.postgres.connect("tallygate")
    connection.autocommit = False
    try:
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE events IN EXCLUSIVE MODE")
        yield
    finally:
        connection.close()


class Senders:
    """Each in a thread and on a connection of its own."""

    def __init__(self, user):
        self.user, self.threads, self.answers = user, [], []

    def post(self, path, body):
        client = self.user.stack.new_client(self.user.token)
        thread = threading.Thread(target=lambda: self.answers.append(client.post(path, body)))
        self.threads.append(thread)
        thread.start()

    def one(self, event_id):
        self.post("/analytics/events", {"id": event_id, "type": "t", "value": 1, "user_id": "u"})

    def large(self, name):
        """More than the 256 KiB from which a body needs a place."""
        events = [{"id": f"{name}-{n}", "type": "large", "value": 1, "user_id": "u", "metadata": {"x": "x" * 3000}}
                  for n in range(100)]
        self.post("/analytics/metrics/batch", {"events": events})

    def join(self):
        for thread in self.threads:
            thread.join()
        return self.answers


def waiting(stack):
    """Connections that nginx has to the pool, taken or not."""
    end = f" {stack.dir}/run/ingest.sock\n"
    with open("/proc/net/unix", encoding="ascii") as sockets:
        return sum(line.split()[5] in ("02", "03") and line.endswith(end) for line in sockets)


def test_one_thread_holds_many_requests(narrow):
    user = narrow.new_user()
    senders = Senders(user)
    with nothing_is_committed(narrow):
        for n in range(60):
            senders.one(str(n))
        wait_for(lambda: waiting(narrow) >= 60, what="60 requests at the pool")
        # 40 have a seat, the others wait in the socket's queue; nobody is refused.
        assert senders.answers == []
        assert narrow.client.get("/health/live").status == 200
    assert [answer.status for answer in senders.join()] == [201] * 60
    assert user.get("/analytics/metrics").json()["total_metrics"] == 60


def test_large_bodies_take_turns(narrow):
    user = narrow.new_user()
    senders = Senders(user)
    with nothing_is_committed(narrow):
        for n in range(LARGE_BODIES + 3):
            senders.large(f"large-{n}")
        wait_for(lambda: waiting(narrow) >= LARGE_BODIES + 3, what="all at the pool")
        # They hold no thread: a small one gets in beside them.
        senders.one("small")
        assert_problem(narrow.client.post("/analytics/events", {}), 401)
        assert senders.answers == []
    assert sorted(answer.status for answer in senders.join()) == [200] * (LARGE_BODIES + 3) + [201]
    assert user.get("/analytics/metrics").json()["total_metrics"] == 100 * (LARGE_BODIES + 3) + 1


def test_a_large_body_waits_no_longer_than_the_limit(hasty):
    user = hasty.new_user()
    senders = Senders(user)
    with nothing_is_committed(hasty):
        for n in range(LARGE_BODIES + 2):
            senders.large(f"late-{n}")
        answers = senders.join()
    details = sorted(assert_problem(answer, 503)["detail"] for answer in answers)
    assert details == ["The event could not be recorded in time. Send it again with the same id."] * LARGE_BODIES + [
        "Too many large bodies at once. Send it again."] * 2
    assert all(answer.headers["Retry-After"] for answer in answers)
    # The places are free again.
    again = Senders(user)
    for n in range(LARGE_BODIES + 2):
        again.large(f"again-{n}")
    assert [answer.status for answer in again.join()] == [200] * (LARGE_BODIES + 2)


def test_a_worker_that_stops_answers_all_that_wait(make_stack):
    stack = make_stack(ingest_workers=1, ingest_threads=2, ingest_wait_ms=20000)
    user = stack.new_user()
    senders = Senders(user)
    with nothing_is_committed(stack):
        for n in range(20):
            senders.one(str(n))
        wait_for(lambda: waiting(stack) >= 20, what="20 requests at the pool")
        worker = stack.ingest.workers[0]
        stack.ingest.signal(signal.SIGHUP)
        wait_for(lambda: set(stack.ingest.workers) - {worker}, what="a new worker")
        senders.one("to the new one")
    assert [answer.status for answer in senders.join()] == [201] * 21
    assert user.get("/analytics/metrics").json()["total_metrics"] == 21
