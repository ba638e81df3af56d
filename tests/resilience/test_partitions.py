# SPDX-License-Identifier: Apache-2.0
"""Partitions of events that are made while somebody writes into their range, or makes them too.

A late event goes into the default partition, until a worker makes the one of its month and moves it there.
"""
import concurrent.futures
import contextlib
import datetime

import psycopg2
import pytest

from env.database import Committer, attempt, committers, new_database
from env.wait import wait_for

MONTH = datetime.timedelta(days=31)
LATE = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=200)).replace(day=1)


@pytest.fixture
def database(stack):
    with new_database(stack) as database:
        yield database


def make_all(connection):
    """One after the other, as the workers do."""
    with connection.cursor() as cursor:
        made = True
        while made:
            cursor.execute("SELECT ensure_next_event_partition('month')")
            made = cursor.fetchone()[0]
            connection.commit()


def test_two_that_make_partitions_do_not_wait_in_a_ring(database):
    Committer(database, 0).record([attempt(database.new_workspace(), "stray", LATE)])
    first, second = database.connect(), database.connect()
    with first.cursor() as one, second.cursor() as other, concurrent.futures.ThreadPoolExecutor(1) as pool:
        one.execute("SELECT pg_advisory_xact_lock(hashtext('ensure_event_partition'))")  # the first thing that it does
        waiting = pool.submit(other.execute, "SELECT ensure_event_partition(%s::date, 'month')", (LATE,))
        try:
            wait_for(lambda: waiting.done() or database.is_waiting(second.get_backend_pid()), what="the second to come")
            make_all(first)
        finally:
            first.rollback()
            with contextlib.suppress(psycopg2.errors.LockNotAvailable):  # it waits for a tenth of a second only
                waiting.result()
                second.commit()
            second.rollback()
            make_all(first)
    where = database.value("SELECT tableoid::regclass::text FROM events WHERE id = 'stray'")
    assert where == f"events_{LATE:%Y_%m}"


class UnderWay:
    """The partition of a month that somebody else makes just now, and which is not there before finish()."""

    def __init__(self, stack, time):
        self.connection = stack.postgres.connect()
        self.connection.autocommit = False
        self.time = time

    @property
    def pid(self):
        return self.connection.get_backend_pid()

    def make(self):
        with self.connection.cursor() as cursor:
            cursor.execute("LOCK TABLE events_default IN SHARE ROW EXCLUSIVE MODE")  # as the function does
            cursor.execute("SELECT ensure_event_partition(%s::date, 'month')", (self.time,))
            assert cursor.fetchone()[0] is True

    def finish(self):
        self.connection.commit()
        self.connection.close()


def send_while_made(stack, user, times):
    """The answer to a batch with an event of each time, while one partition after the other is made: each of them when
    an event waits for the one before."""
    events = [{"type": "cost", "value": 1, "user_id": "u", "id": f"late-{n}", "timestamp": time.isoformat()}
              for n, time in enumerate(times)]
    made = [UnderWay(stack, time) for time in times]
    made[0].make()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        sent = pool.submit(user.post, "/analytics/metrics/batch", {"events": events})
        try:
            for now, following in zip(made, [*made[1:], None]):
                wait_for(lambda: committers(stack.postgres, "wait_event_type = 'Lock'"), what="an event to wait")
                making = following and pool.submit(following.make)
                if following:
                    wait_for(lambda pid=following.pid: stack.postgres.value(
                        "SELECT cardinality(pg_blocking_pids(%s)) > 0", pid), what="the next to get in line")
                now.finish()
                if following:
                    making.result()
        finally:
            for one in made:
                one.connection.close()
        return sent.result()


@pytest.mark.parametrize("months", [1, 4])
def test_an_event_that_waits_for_its_partition_is_recorded(make_stack, months):
    stack = make_stack()
    user = stack.new_user()
    times = [LATE + n * MONTH for n in range(months)]
    answer = send_while_made(stack, user, times)
    assert answer.json() == {"accepted": months, "duplicates": 0, "rejected": []}, answer
    assert stack.postgres.query("SELECT tableoid::regclass::text FROM events ORDER BY occurred_at") == [
        (f"events_{time:%Y_%m}",) for time in times]


def test_a_long_read_holds_nobody_up(stack, database):
    """Attaching a partition waits for who reads the default one, and all others would wait behind it."""
    committer = Committer(database, 0)
    workspace = database.new_workspace()
    committer.record([attempt(workspace, "stray", LATE)])
    reader, maker = database.connect(), database.connect()
    with reader.cursor() as reads, maker.cursor() as makes:
        reads.execute("SELECT count(*) FROM events")  # its lock stays until the end of the transaction
        for _ in range(3):
            with pytest.raises(psycopg2.errors.LockNotAvailable):
                makes.execute("SELECT ensure_event_partition(%s::date, 'month')", (LATE,))
            maker.rollback()
            committer.record([attempt(workspace, stack.unique(), LATE)])
        reader.rollback()
        make_all(maker)
    assert database.value("SELECT count(*) FROM events WHERE tableoid = %s::regclass", f"events_{LATE:%Y_%m}") == 4


def test_too_many_strays_are_left_until_somebody_has_time(stack, database, tmp_path):
    """Moving them shuts out everybody; those of another month move all the same."""
    workspace = database.new_workspace()
    many, few = "events_2041_03", "events_2042_05"
    database.query("INSERT INTO events (id, workspace_id, type, value, user_id, occurred_at) SELECT n::text, %s, 'x', 1, 'u', '2041-03-07'::timestamptz "
                   "+ n * interval '1 s' FROM generate_series(1, 100001) n", workspace)
    database.query("INSERT INTO events (id, workspace_id, type, value, user_id, occurred_at) SELECT 'f' || n, %s, 'x', 1, 'u', '2042-05-07' "
                   "FROM generate_series(1, 3) n", workspace)
    make_all(database.connect())

    def places():
        return dict(database.query("SELECT tableoid::regclass::text, count(*) FROM events GROUP BY 1"))
    assert places() == {"events_default": 100001, few: 3}
    config = tmp_path / "tallygate.conf"
    config.write_text(f"database_url = {database.url}\nsecret_key_file = {stack.dir}/etc/secret.key\n")
    assert stack.ctl("partition", "keep", config=config).returncode == 0
    assert places()["events_default"] == 100001
    done = stack.ctl("partition", "keep", "--strays", config=config)
    assert done.returncode == 0, done
    assert places() == {many: 100001, few: 3}
