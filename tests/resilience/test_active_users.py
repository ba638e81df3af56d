# SPDX-License-Identifier: Apache-2.0
"""Numbers of distinct users over any days, while days of users are born and settled at the same time.

active_users() adds what settle_active_days() took over to what still waits in active_days_new. Whatever
a snapshot catches of both must make the number that is found by counting in rollup_user_day, which
each committer writes in the same transaction as its births.
"""
import collections
import concurrent.futures
import datetime
import random
import threading

import pytest

from env import consistency
from env.database import Committer, attempt, new_database
from env.wait import wait_for

COMMITTERS = 3
BATCHES = 60  # of each
USERS = 12
DAYS = 40  # on which they are active
TODAY = datetime.datetime(2026, 3, 31, 12, tzinfo=datetime.timezone.utc)
DAY = datetime.timedelta(days=1)

BOTH = """
SELECT active_users(%(workspace)s, %(first)s, %(days)s),
       (SELECT count(DISTINCT user_id) FROM rollup_user_day
        WHERE workspace_id = %(workspace)s AND day >= %(first)s AND day < %(first)s + %(days)s)
"""


@pytest.fixture
def database(stack):
    with new_database(stack) as database:
        yield database


def compare(cursor, workspace, first, days):
    cursor.execute(BOTH, {"workspace": workspace, "first": first, "days": days})
    told, counted = cursor.fetchone()
    assert told == counted, f"workspace {workspace}, {days} days from {first}: {told} instead of {counted}"
    return told


class Scene:
    """Threads that write, settle and read, until the writers are through."""

    def __init__(self, database, seed):
        self.database = database
        self.seed = seed
        self.workspaces = [database.new_workspace() for _ in range(2)]
        self.rounds = collections.Counter()
        self.seen = collections.Counter()  # (whether births waited, whether some were settled) in a snapshot
        self.done = threading.Event()
        self.lock = threading.Lock()

    def play(self):
        with concurrent.futures.ThreadPoolExecutor(COMMITTERS + 4) as pool:
            others = [pool.submit(act, number) for act in (self.settle, self.read) for number in range(2)]
            writers = [pool.submit(self.write, number) for number in range(COMMITTERS)]
            concurrent.futures.wait(writers)
            self.done.set()
        for each in others + writers:
            each.result()
        return self

    def source(self, *who):
        return random.Random(f"{self.seed} {who}")

    def count_round(self, who):
        with self.lock:
            self.rounds[who] += 1

    def outlast(self, who):
        """Until others went on who began while our transaction was open."""
        before = self.rounds[who]
        wait_for(lambda: self.rounds[who] > before + 2, what=f"the {who}", every_s=0.001)

    def births(self, source, name):
        for n in range(source.randint(1, 6)):
            time = TODAY - min(source.randrange(DAYS), source.randrange(DAYS)) * DAY
            yield attempt(source.choice(self.workspaces), f"{name}-{n}", time, f"type-{source.randrange(3)}",
                          user_id=f"user-{source.randrange(USERS)}")

    def write(self, number):
        source = self.source("committer", number)
        committer = Committer(self.database, number)
        for batch in range(BATCHES):
            committer.send(list(self.births(source, f"{number}-{batch}")))
            for who in ("settlers", "readers"):
                if source.random() < 0.2:
                    self.outlast(who)
            if source.random() < 0.2:
                committer.rollback()
            else:
                committer.commit()

    def settle(self, number):
        source = self.source("settler", number)
        connection = self.database.connect()
        with connection.cursor() as cursor:
            while not self.done.is_set():
                cursor.execute("SELECT settle_active_days(%s)", (source.choice([1, 2, 5, 100]),))
                end = connection.rollback if source.random() < 0.2 else connection.commit
                end()
                self.count_round("settlers")

    def read(self, number):
        source = self.source("reader", number)
        connection = self.database.connect()
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            while not self.done.is_set():
                for _ in range(6):
                    first = TODAY.date() - source.randint(-2, DAYS + 2) * DAY
                    days = source.choice([1, 2, 7, source.randint(1, DAYS), 400])
                    compare(cursor, source.choice(self.workspaces), first, days)
                cursor.execute("SELECT EXISTS (SELECT FROM active_days_new), EXISTS (SELECT FROM active_days)")
                self.seen[cursor.fetchone()] += 1
                connection.rollback()
                self.count_round("readers")


@pytest.mark.parametrize("seed", range(2))
def test_as_counted_in_any_snapshot(database, seed):
    scene = Scene(database, seed).play()
    assert scene.seen[True, True] > 10, scene.seen
    with database.connect().cursor() as cursor:
        for workspace in scene.workspaces:
            consistency.check(database, workspace)
            for start in range(-2, DAYS + 2):
                for days in range(1, DAYS + 3):
                    compare(cursor, workspace, TODAY.date() - start * DAY, days)
    assert database.query("SELECT DISTINCT workspace_id, user_id, day FROM rollup_user_day ORDER BY 1, 2, 3") == \
        database.query("SELECT workspace_id, user_id, day FROM active_days ORDER BY 1, 2, 3")


def test_births_at_once_of_one_day(database):
    """Of two transactions with the same user's first event of a day, one fails or neither: the day counts once."""
    workspace = database.new_workspace()
    first, second = Committer(database, 0), Committer(database, 1)
    for day, end in enumerate([first.commit, first.rollback]):
        time = TODAY - day * DAY
        first.send([attempt(workspace, f"first-{day}", time)])
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            try:
                waiting = pool.submit(second.record, [attempt(workspace, f"second-{day}", time)])
                wait_for(lambda: database.is_waiting(second.pid), what="the second to wait for the first")
                assert database.value("SELECT settle_active_days(100)") == 0, "nobody's birth is committed"
            finally:
                end()
            assert waiting.result() == [("recorded", time)]
        assert database.value("SELECT count(*) FROM active_days_new") == 1
        consistency.check(database, workspace)
    assert database.value("SELECT active_users(%s, %s, 2)", workspace, TODAY.date() - DAY) == 1


def rows_read(cursor, table):
    """By this transaction so far, from the table itself."""
    cursor.execute("SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::bigint "
                   "FROM pg_stat_xact_user_tables WHERE relname = %s", (table,))
    return cursor.fetchone()[0]


def test_each_unsettled_user_is_looked_up(database):
    """Also in tables that were never analysed, of whose size the planner has no idea: comparing each user who waits
    with all days of the workspace took most of a minute here."""
    workspace = database.new_workspace()
    settled, waiting = 20000, 2000
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE active_days SET (autovacuum_enabled = off); "
                       "ALTER TABLE active_days_new SET (autovacuum_enabled = off)")
        cursor.execute("INSERT INTO active_days (workspace_id, user_id, day) SELECT %s, 'old-' || i, %s "
                       "FROM generate_series(1, %s) i", (workspace, TODAY.date(), settled))
        cursor.execute("INSERT INTO active_days_new (workspace_id, user_id, day) SELECT %s, 'new-' || i, %s "
                       "FROM generate_series(1, %s) i", (workspace, TODAY.date(), waiting))
        connection.commit()
        before = rows_read(cursor, "active_days")
        cursor.execute("SELECT active_users(%s, %s, 1)", (workspace, TODAY.date()))
        assert cursor.fetchone()[0] == waiting  # the others' days were put there without their gaps
        assert rows_read(cursor, "active_days") - before <= waiting
        connection.rollback()
