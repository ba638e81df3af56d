# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL killed with -9 and restarted in the middle of a load, over and over.

Every second time it is killed while commits are held: written to its log, but not yet told to whoever
waits for them. (It waits for a standby by a name that nobody has. The setting is gone with the next
start, which writes the file anew.) So there are always events that nobody knows the outcome of: a
patient service finds out by their receipts, and the clients of a hasty one by sending them again.
"""
import collections
import os
import signal
import time

import pytest

from env.database import committers
from env.load import Load
from env.servers import process_children
from env.wait import PATIENCE, wait_for

ROUNDS = 20 if PATIENCE == 1 else 6  # slow builds are not made to see more restarts
Answered = collections.namedtuple("Answered", "id status sent_at at again")


class StubbornLoad(Load):
    """Its clients send again, some time later and with the same id, what nobody acknowledged."""

    def __init__(self, stack, threads):
        super().__init__(stack, threads)
        self.unsettled = collections.deque()
        self.answered = []

    def _send(self, connection, event_id):
        self._attempt(connection, event_id, again=False)
        for _ in range(min(len(self.unsettled), 2)):
            try:
                event_id = self.unsettled.popleft()
            except IndexError:
                return  # another client was quicker
            self._attempt(connection, event_id, again=True)

    def _attempt(self, connection, event_id, again):
        sent_at = time.time()
        try:
            super()._send(connection, event_id)
        finally:
            status = self.acknowledged.get(event_id)
            if status:
                self.answered.append(Answered(event_id, status, sent_at, time.time(), again))
            else:
                self.unsettled.append(event_id)


def hold_commits(stack):
    """Until some events are in PostgreSQL's log and wait to be told so."""
    with (stack.dir / "pgdata" / "postgresql.conf").open("a") as settings:
        settings.write("synchronous_standby_names = 'nobody'\n")
    stack.postgres.signal(signal.SIGHUP)
    wait_for(lambda: committers(stack.postgres, "wait_event = 'SyncRep'"), what="a commit that is held")


def kill(postgres):
    """Returns the moment just before."""
    family = [postgres.pid, *process_children(postgres.pid)]
    now = time.time()
    for pid in family:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    wait_for(lambda: postgres.pid is None, what="its end")
    return now


def settled(stack, load, kills):
    """Of the answers, how many were about events that an earlier transaction had recorded: by the same
    request's, before PostgreSQL was killed, or by an earlier request's."""
    received = dict(stack.postgres.query(
        "SELECT id, extract(epoch FROM received_at)::float8 FROM events WHERE workspace_id = %s", load.user.workspace))
    by_receipt = by_client = 0
    for one in load.answered:
        there_before = received[one.id] < one.sent_at
        assert one.status == (200 if there_before else 201), (one, received[one.id])
        assert one.again or not there_before, one
        by_client += there_before
        by_receipt += any(one.sent_at < received[one.id] < moment < one.at for moment in kills)
    return by_receipt, by_client


@pytest.mark.parametrize("service, ingest_wait_ms", [("patient", 20000), ("hasty", 200)])
def test_nothing_acknowledged_is_missing_and_nothing_doubled(make_stack, service, ingest_wait_ms):
    stack = make_stack(ingest_wait_ms=ingest_wait_ms)
    kills = []
    with StubbornLoad(stack, threads=8) as load:
        for number in range(ROUNDS):
            before = load.count
            wait_for(lambda before=before: load.count > before + 20, what="events after a restart")
            if number % 2:
                hold_commits(stack)
            kills.append(kill(stack.postgres))
            stack.up()
        before = load.count
        wait_for(lambda: load.count > before + 20 and not load.unsettled, what="the last ones, to be settled")
    assert all(refusal == (503, True) for refusal in load.refused), set(load.refused)
    assert not load.broken
    load.check_stored()
    by_receipt, by_client = settled(stack, load, kills)
    print(f"{load.count} events, {len(load.refused)} refusals; told to be there already: "
          f"{by_receipt} by receipt, {by_client} by client")
    assert (by_receipt if service == "patient" else by_client) >= ROUNDS // 2
