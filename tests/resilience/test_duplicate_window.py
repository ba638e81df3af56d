# SPDX-License-Identifier: Apache-2.0
"""The window in which an id is known, at its boundaries: for 30 days at least, and for 60 at the most.

Ids lie in buckets of 30 days by the database's clock (event_id_bucket()), which nobody can turn in a
running service. So these tests run the very statements of sql/queries/ in databases of their own, where
now() is a clock of the test's.
"""
import concurrent.futures
import datetime
import random

import pytest

from env.database import EPOCH, Committer, attempt, new_database
from env.wait import wait_for

DAY = datetime.timedelta(days=1)
HOUR = datetime.timedelta(hours=1)
SECOND = datetime.timedelta(seconds=1)
TICK = datetime.timedelta(microseconds=1)  # what the database's clock tells apart
KNOWN = 30 * DAY  # at least
FORGOTTEN = 60 * DAY + 2 * HOUR  # for an hour on either side of a boundary an id is written to both buckets
# Where one bucket ends and the next begins: far ahead, so that no bucket of today takes part.
BOUNDARY = EPOCH + 740 * KNOWN
# Where it changes which buckets a transaction looks into and writes to.
EDGES = {"an hour before": BOUNDARY - HOUR, "at": BOUNDARY, "an hour after": BOUNDARY + HOUR}


@pytest.fixture
def database(stack):
    with new_database(stack) as database:
        database.turn_clock()
        yield database


@pytest.fixture
def workspace(database):
    return database.new_workspace()


@pytest.fixture
def committer(database):
    return Committer(database, 0, turned=True)


def keep(database, at):
    database.query("SELECT keep_event_id_buckets(%s)", at)


def stored(database, workspace):
    return database.query("SELECT id, occurred_at FROM events WHERE workspace_id = %s ORDER BY 1, 2", workspace)


def words(fates):
    return [fate.word for fate in fates]


# ---- one after the other ----

SEEN = [-29 * DAY, -HOUR - TICK, -HOUR, -HOUR + TICK, -SECOND, -TICK, 0 * DAY, TICK, SECOND, HOUR - TICK, HOUR,
        HOUR + TICK, 29 * DAY]
AGAIN = [0 * DAY, TICK, SECOND, HOUR, 2 * HOUR, DAY, 29 * DAY, KNOWN - HOUR, KNOWN - SECOND, KNOWN - TICK]


def test_an_id_is_known_for_thirty_days(database, workspace, committer):
    sent = [(BOUNDARY + seen, f"{seen}/{later}", None) for seen in SEEN for later in AGAIN]
    sent += [(BOUNDARY + seen + later, f"{seen}/{later}", BOUNDARY + seen) for seen in SEEN for later in AGAIN]
    for at, id, first in sorted(sent, key=lambda item: (item[0], item[2] is not None)):
        keep(database, at)
        fate, = committer.record([attempt(workspace, id, at)], at)
        assert fate == (("recorded", at) if first is None else ("duplicate", first)), (id, at)
    assert len(stored(database, workspace)) == len(SEEN) * len(AGAIN)


def test_an_id_is_forgotten_with_its_bucket(database, workspace, committer):
    for seen in SEEN:
        at = BOUNDARY + seen
        assert words(committer.record([attempt(workspace, str(seen), at)], at)) == ["recorded"]
    for seen in SEEN:
        at = BOUNDARY + seen + FORGOTTEN
        keep(database, at)
        fate, = committer.record([attempt(workspace, str(seen), at)], at)
        assert fate == ("recorded", at), seen
    oldest = database.value("SELECT min(bucket) FROM event_ids")
    assert oldest >= database.value("SELECT event_id_bucket(%s)", BOUNDARY + SEEN[-1] + FORGOTTEN) - 2
    assert len(stored(database, workspace)) == 2 * len(SEEN)


def instants(source, count):
    """A clock that goes on by random steps and likes the edges of boundaries."""
    at = BOUNDARY
    for _ in range(count):
        yield at
        boundary = EPOCH + ((at - EPOCH) // KNOWN + source.choice([0, 1])) * KNOWN
        edge = boundary + source.choice([-HOUR, 0 * HOUR, HOUR])
        about = source.choice([0 * TICK, TICK, SECOND, source.random() * HOUR, source.random() * 2 * DAY])
        near = edge + source.choice([-1, 1]) * about
        step = source.choice([TICK, SECOND, source.random() * HOUR, source.random() * DAY, source.random() * 12 * DAY])
        far = at + (40 * DAY if source.random() < 0.02 else step)
        at = near if near > at and source.random() < 0.5 else far


class Walk:
    """Ids sent again and again along such a clock, and what was told of each against the promise."""

    def __init__(self, database, workspace, committer, seed, steps=150):
        self.recorded = {}  # id -> when it counted last
        self.sent = {}      # id -> when it was sent last
        self.wrong = []
        self.wrong_times = []
        self.rows = []
        source = random.Random(seed)
        for step, at in enumerate(instants(source, steps)):
            if source.random() < 0.4:
                keep(database, at)
            known = source.sample(sorted(self.recorded), min(len(self.recorded), 30))
            attempts = [attempt(workspace, id, at) for id in [*known, *(f"{step}-{n}" for n in range(6))]]
            source.shuffle(attempts)
            for one, fate in zip(attempts, committer.record(attempts, at)):
                self.judge(one.id, at, fate)

    def judge(self, id, at, fate):
        known = id in self.recorded
        if fate.word == "recorded":
            if known and at - self.recorded[id] < KNOWN:
                self.wrong.append(f"{id}: counts again at {at}, after {at - self.recorded[id]}")
            self.recorded[id] = at
            self.rows.append((id, at))
        elif not known or at - self.sent[id] > FORGOTTEN:
            self.wrong.append(f"{id}: {fate.word} at {at}, after {at - self.sent.get(id, at)}")
        elif fate.time != self.recorded[id]:
            self.wrong_times.append(f"{id}: told {fate.time} at {at}, but {self.recorded[id]} counts")
        self.sent[id] = at


@pytest.mark.parametrize("seed", range(3))
def test_the_promise_at_any_instant(database, workspace, committer, seed):
    walk = Walk(database, workspace, committer, seed)
    assert not walk.wrong
    assert len(walk.rows) > len(walk.recorded) > 500, "nothing was ever forgotten"
    assert stored(database, workspace) == sorted(walk.rows)


def test_a_duplicate_is_told_the_time_of_the_one_that_counts(database, workspace, committer):
    walk = Walk(database, workspace, committer, 1)
    assert not walk.wrong_times


# ---- at once ----

def disagreements():
    for edge in EDGES:
        for first in ("early", "late"):
            for end in ("commits", "fails"):
                yield pytest.param(edge, first, end, id=f"{edge}, the {first} one first, which {end}")


@pytest.mark.parametrize("edge, first_clock, end", disagreements())
def test_two_that_disagree_on_the_side_of_an_edge(database, workspace, edge, first_clock, end):
    """One is at work when the other comes with the same ids, and their clocks lie on either side."""
    instants = [EDGES[edge] - SECOND, EDGES[edge] + SECOND]
    first_at, second_at = instants if first_clock == "early" else reversed(instants)
    fails = end == "fails"
    keep(database, BOUNDARY)
    first, second = (Committer(database, shard, turned=True) for shard in range(2))
    first_sent, second_sent = ([attempt(workspace, f"id-{n}", at) for n in range(5)] for at in (first_at, second_at))
    first.send(first_sent, first_at)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        try:
            waiting = pool.submit(second.send, second_sent, second_at)
            wait_for(lambda: database.is_waiting(second.pid), what="the second to wait for the first")
        finally:
            fates = first.rollback() if fails else first.commit(first_at)
        waiting.result()
    later = second.commit(second_at)
    counts = second_at if fails else first_at
    assert fails or fates == [("recorded", first_at)] * 5
    assert later == [("recorded" if fails else "duplicate", counts)] * 5
    assert stored(database, workspace) == [(f"id-{n}", counts) for n in range(5)]
    # And so it stays.
    for at in (EDGES[edge], BOUNDARY + HOUR, BOUNDARY + DAY, counts + KNOWN - TICK):
        third = [attempt(workspace, f"id-{n}", at) for n in range(5)]
        assert second.record(third, at) == [("duplicate", counts)] * 5


@pytest.mark.parametrize("edge", list(EDGES))
def test_many_at_an_edge(database, workspace, edge):
    """Batches that overlap in ids and in time, and some fail: each id counts once, and nobody waits in a ring."""
    keep(database, BOUNDARY)
    committers = [Committer(database, shard, turned=True) for shard in range(4)]

    def work(committer):
        source = random.Random(committer.shard)
        recorded = []
        for step in range(40):
            at = EDGES[edge] + source.choice([-1, 1]) * source.choice([TICK, SECOND])
            # All of them are at about the same ids at about the same time.
            ids = source.sample(range(step * 5, step * 5 + 25), 15)
            committer.send([attempt(workspace, f"id-{n}", at) for n in ids], at)
            if source.random() < 0.2:
                committer.rollback()
            else:
                fates = committer.commit(at)
                recorded += [a.id for a, fate in zip(committer.attempts, fates) if fate.word == "recorded"]
        return recorded

    with concurrent.futures.ThreadPoolExecutor(len(committers)) as pool:
        recorded = sorted(id for ids in pool.map(work, committers) for id in ids)
    assert len(recorded) == len(set(recorded))
    assert recorded == sorted(id for id, _ in stored(database, workspace))


def test_ids_are_written_in_the_order_of_their_key(database, workspace, committer):
    """So that two batches with the same ids never wait for each other in a ring."""
    database.query("INSERT INTO workspaces (name) SELECT 'w' FROM generate_series(1, 20000)")
    database.query("ANALYZE workspaces, event_ids")  # with nothing in it yet, looking there seems cheap
    ids = [f"id-{n:03}" for n in range(1000)]
    at = BOUNDARY + DAY
    committer.record([attempt(workspace, id, at) for id in random.Random(1).sample(ids, len(ids))], at)
    assert [id for id, in database.query("SELECT id FROM event_ids ORDER BY ctid")] == ids
