# SPDX-License-Identifier: Apache-2.0
"""Random interleavings over several workers and two hosts, some of which are killed on the way: in the end raw
rows, everything derived from them and every answer agree exactly with a model that this test keeps.

Which of several events with the same id counts is decided by chance. The row tells, by the serial number in its
metadata, and from that on nothing is left to chance: who was told what follows from it. The model is then made of
what was sent, not of what is stored; only times that nobody sent come from the rows, and have to fit the answers.

TALLYGATE_SEED repeats what was sent in a storm that failed, TALLYGATE_STORMS says how many there are.
"""
import collections
import datetime
import itertools
import json
import os
import random
from decimal import Decimal
from urllib.parse import quote

import pytest
import requests

from api.model import (
    DAY, UTC, Event, Model, by_type, costs, overview, parse_time, query, report, summary, time_text, usage)
from env import consistency
from env.database import committers
from env.storm import USERS, Storm
from env.wait import PATIENCE, wait_for

STORMS = int(os.environ.get("TALLYGATE_STORMS", "3" if PATIENCE == 1 else "1"))
CLIENTS = 8
STEPS = 150  # requests of each client
WORKSPACES = 3
MIDNIGHT = datetime.time(tzinfo=UTC)
LATE = datetime.timedelta(minutes=30)  # after the end of its day: see queries/ingest.sql

Row = collections.namedtuple("Row", "id type value user_id metadata time received_at")


@pytest.fixture(scope="module")
def hosts(make_stack):
    """Two of them, as a load balancer would see them: what they have in common is the first one's."""
    settings = {"ingest_workers": 2, "ingest_committers": 2}
    first = make_stack(**settings)
    second = make_stack(**settings, **first.shared)
    second.postgres.stop()  # it came with the stack, and nobody uses it
    second.postgres = first.postgres
    return first, second


# ---- which event counts, and who was told so ----

class Outcome:
    """What became of the events of one workspace."""

    def __init__(self, storm, workspace):
        self.requests = [request for request in storm.requests if request.workspace == workspace]
        self.user = storm.users[workspace]
        self.workspace = self.user.workspace
        self.postgres = storm.hosts[0].postgres
        self.rows = [Row(*row) for row in self.postgres.query(
            "SELECT id, type, value, user_id, metadata, occurred_at, received_at FROM events WHERE workspace_id = %s",
            self.workspace)]
        self.row_of = {row.metadata["serial"]: row for row in self.rows}  # by the sending that counts
        self.row_by_id = {row.id: row for row in self.rows}
        self.sent = {sending.serial: (sending, request) for request in self.requests
                     for sending in [*request.sendings, *request.unknown]}
        self.model = Model(self.user)
        self.model.rows = self.rows

    def check(self):
        assert len(self.row_of) == len(self.row_by_id) == len(self.rows), "something is there twice"
        for row in self.rows:
            self.check_row(row, *self.sent[row.metadata["serial"]])
        for request in self.requests:
            self.check_answer(request)
        self.check_order()
        return self

    def check_row(self, row, sending, request):
        assert sending.good, (row, sending)
        assert (row.type, row.value, row.user_id) == (sending.type, sending.value, sending.user_id)
        assert row.metadata == {"serial": sending.serial}
        if sending.id:
            assert row.id == sending.id
        if sending.time:
            assert row.time == sending.time
        else:
            assert request.begun_at <= row.time <= request.ended_at
        self.model.events.append(Event(sending.type, sending.value, sending.user_id, row.time, row.metadata))

    def check_answer(self, request):
        if not request.sendings:
            return  # all of them had no id, and the answer was lost
        assert request.status, "never answered"
        good = [s for s in request.sendings if s.good]
        counted = [s for s in good if s.serial in self.row_of]
        assert all(s.id in self.row_by_id if s.id else s in counted for s in good), "acknowledged, but not there"
        if request.alone:
            self.check_single(request, request.sendings[0])
        else:
            assert request.status == 200
            body = request.body
            assert [item["index"] for item in body["rejected"]] == [
                index for index, sending in enumerate(request.sendings) if not sending.good]
            assert body["accepted"] + body["duplicates"] == len(good)
            # An attempt whose answer was lost may have recorded some, which are duplicates of the next.
            assert body["accepted"] <= len(counted)
            assert request.lost or body["accepted"] == len(counted)

    def check_single(self, request, sending):
        if not sending.good:
            assert request.status == 422
            return
        counts = sending.serial in self.row_of
        told = {201: "recorded", 200: "duplicate"}[request.status]
        assert request.body["status"] == told
        assert counts or told == "duplicate"
        assert request.lost or told == ("recorded" if counts else "duplicate")
        row = self.row_of[sending.serial] if counts else self.row_by_id[sending.id]
        assert request.body["id"] == row.id
        assert parse_time(request.body["timestamp"]) == row.time

    def check_order(self):
        """The one that counts was on its way before any with its id had its answer; of one batch it is the first."""
        answered = {}
        for sending, request in self.sent.values():
            if sending.id and sending.good and request.status:
                answered[sending.id] = min(answered.get(sending.id, request.ended_at), request.ended_at)
        assert len(answered) > STEPS and len(answered) * 2 < len(self.sent), "hardly any competed"
        for id, ended_at in answered.items():
            sending, request = self.sent[self.row_by_id[id].metadata["serial"]]
            assert request.begun_at < ended_at, f"{id} was acknowledged before"
            twins = [s for s in request.sendings if s.id == id and s.good]
            assert sending is twins[0], f"a later one of a batch counts: {id}"


# ---- tables: what to ask, and the same from the model ----

def sums(outcome, key, bounds=True):
    groups = collections.defaultdict(list)
    for event in outcome.model.events:
        groups[key(event)].append(event.value)
    return [(*k, len(v), sum(v), *((min(v), max(v)) if bounds else ())) for k, v in groups.items()]


def active_days(outcome):
    return sorted({(e.user_id, e.time.date()) for e in outcome.model.events})


def gaps(outcome):
    """How many users of each day were last active on which day before."""
    found = collections.Counter()
    for _, mine in itertools.groupby(active_days(outcome), key=lambda pair: pair[0]):
        days = [day for _, day in mine]
        found.update((str(day), str(before)) for day, before in zip(days, ["-infinity", *days]))
    return [(*key, users) for key, users in found.items()]


def late(outcome):
    ends = ((row, datetime.datetime.combine(row.time.date(), MIDNIGHT) + DAY) for row in outcome.rows)
    return [(sum(row.received_at >= end + LATE for row, end in ends),)]


TABLES = {
    "rollup_hour": (
        "SELECT hour, type, sum(events), sum(total), min(minimum), max(maximum) FROM rollup_hour "
        "WHERE workspace_id = %s GROUP BY 1, 2",
        lambda outcome: sums(outcome, lambda e: (e.time.replace(minute=0, second=0, microsecond=0), e.type))),
    "rollup_day": (
        "SELECT day, type, sum(events), sum(total), min(minimum), max(maximum) FROM rollup_day "
        "WHERE workspace_id = %s GROUP BY 1, 2",
        lambda outcome: sums(outcome, lambda e: (e.time.date(), e.type))),
    "rollup_user_day": (
        "SELECT day, user_id, type, sum(events), sum(total) FROM rollup_user_day "
        "WHERE workspace_id = %s GROUP BY 1, 2, 3",
        lambda outcome: sums(outcome, lambda e: (e.time.date(), e.user_id, e.type), bounds=False)),
    "active_days": ("SELECT user_id, day FROM active_days WHERE workspace_id = %s", active_days),
    "active_gaps": (
        "SELECT day::text, previous_day::text, users FROM active_gaps WHERE workspace_id = %s AND users <> 0", gaps),
    "late_events": ("SELECT coalesce(sum(events), 0) FROM late_events WHERE workspace_id = %s", late),
    "event_ids": ("SELECT DISTINCT id FROM event_ids WHERE workspace_id = %s",
                  lambda outcome: [(row.id,) for row in outcome.rows]),
}


def check_tables(outcome):
    consistency.check(outcome.postgres, outcome.workspace)  # which settles
    for name, (sql, of_model) in TABLES.items():
        assert sorted(outcome.postgres.query(sql, outcome.workspace)) == sorted(of_model(outcome)), name


# ---- endpoints: path, what may stand in it, and the members of the answer that the model knows ----

MEASURES = ["count", "sum", "avg", "min", "max", "unique_users"]
GROUPS = ["none", "type", "user", "hour", "day", "metadata.serial"]


def some_dates(model):
    """Today, yesterday, and days at random on which something happened, with the day after."""
    today = datetime.datetime.now(UTC).date()
    days = random.Random(len(model.events)).sample(sorted({e.time.date() for e in model.events}), 6)
    return [today, today - DAY, *days, *(day + DAY for day in days)]


def periods(model):
    """Some that go on, and some that are over, whose answers are kept until late events come."""
    pairs = zip(*[iter(some_dates(model)[2:])] * 2)
    return [*(f"days={days}" for days in (1, 2, 7, 30, 90, 400)),
            *(f"start={min(pair)}&end={max(pair)}" for pair in pairs)]


def cost_list(model, body, group_by, **_):
    events = model.in_period_of(body)
    of_cost = [e.value for e in events if e.type == "cost"]
    return {"items": costs(events, group_by), "total_cost": sum(of_cost), "events": len(of_cost)}


def series(model, body, timezone, interval, **_):
    start = datetime.date.fromisoformat(body["start"])
    return by_type(model.events, start, body["days"], timezone=timezone, interval=interval)


def aggregate(model, body, measure, group_by, **_):
    items, truncated = query(model.in_period_of(body), measure, group_by, limit=1000)
    return {"items": items, "truncated": truncated}


def item(row):
    return {"id": row.id, "type": row.type, "value": row.value, "user_id": row.user_id, "metadata": row.metadata,
            "timestamp": time_text(row.time), "received_at": time_text(row.received_at)}


def oldest_first(rows):
    return [item(row) for row in sorted(rows, key=lambda row: (row.time, row.id.encode()))]


def listed(model, body, user_id=None, **_):
    start, end = parse_time(body["period_start"]), parse_time(body["period_end"])
    return {"items": oldest_first(
        row for row in model.rows if start <= row.time < end and user_id in (None, row.user_id))[::-1]}


ENDPOINTS = [
    ("/analytics/metrics?{period}", {"period": periods},
     lambda model, body, **_: overview(model.in_period_of(body))),
    ("/analytics/summary?{period}", {"period": periods},
     lambda model, body, **_: summary(model, parse_time(body["period_start"]).date(), body["days"])),
    ("/analytics/events/by-type?{period}&interval={interval}&timezone={timezone}",
     {"period": periods, "interval": ["day", "month"], "timezone": ["UTC", "America/New_York"]}, series),
    ("/analytics/query?{period}&measure={measure}&group_by={group_by}&limit=1000",
     {"period": ["days=1", "days=400"], "measure": MEASURES, "group_by": GROUPS}, aggregate),
    ("/analytics/usage/{user_id}?{period}", {"user_id": [*USERS, "nobody"], "period": ["days=1", "days=400"]},
     lambda model, body, user_id, **_: usage(model.in_period_of(body), user_id)),
    ("/analytics/costs?{period}&group_by={group_by}&limit={limit}",
     {"period": ["days=7", "days=400"], "group_by": ["day", "user"], "limit": [5, 1000]}, cost_list),
    ("/analytics/reports/daily?date={date}", {"date": some_dates},
     lambda model, body, date: report(model, date)),
    ("/analytics/events/date-range?{period}&limit=1000", {"period": periods}, listed),
    ("/analytics/users/{user_id}/events?{period}&limit=50",
     {"user_id": [*USERS, "nobody"], "period": ["days=7", "days=400"]}, listed),
    ("/analytics/export?days=400&format=ndjson", {}, lambda model, body, **_: {"items": oldest_first(model.rows)}),
]


def questions(model):
    """Every path with every choice of what may stand in it, and the model's answer as a function of the body."""
    for path, choices, of_model in ENDPOINTS:
        values = [found(model) if callable(found) else found for found in choices.values()]
        for chosen in itertools.product(*values):
            given = dict(zip(choices, chosen))
            yield (path.format(**{name: quote(str(value), safe="=&") for name, value in given.items()}),
                   lambda body, of_model=of_model, given=given: of_model(model, body, **given))


def ask(client, path):
    """The answer; of a list that comes by pages, with the items of all of them, and of one by lines those."""
    answer = client.get(path)
    assert answer.status == 200, (path, answer)
    if answer.media_type == "application/x-ndjson":
        return {"items": [json.loads(line, parse_float=Decimal) for line in answer.text.split("\n")[:-1]]}
    body = page = answer.json()
    while page.get("next_cursor"):
        page = client.get(f"{path}&cursor={page['next_cursor']}").json()
        body["items"] += page["items"]
    return body


def check_endpoints(outcome, hosts):
    clients = [host.new_client(outcome.user.token) for host in hosts]
    for path, expect in questions(outcome.model):
        known = None
        for client in clients:
            body = ask(client, path)
            if body != known:
                expected = expect(body)
                assert {name: body[name] for name in expected} == expected, path
            known = body
    for client in clients:
        client.close()


# ---- storms ----

def look(client, path):
    """The answer's body, or nothing when it was refused or cut, as may be when a worker is killed."""
    try:
        answer = client.get(path)
    except requests.RequestException:
        return None
    assert answer.status in (200, 503), (path, answer)
    return answer.body if answer.status == 200 else None


def reader(storm, host):
    """Asks while the storm goes on. Nobody knows the figures yet, but what was acknowledged before is in them; and
    whoever keeps answers now has some to forget."""
    source = random.Random(f"{storm.seed} reader")
    nothing = [Model(user) for user in storm.users]
    clients = [host.new_client(user.token) for user in storm.users]
    for model in nothing:
        model.events = [Event("cost", 1, "u", datetime.datetime.now(UTC) - n * DAY) for n in range(60)]
    paths = [path for path, _ in questions(nothing[0])]
    while not storm.over.is_set():
        workspace = source.randrange(len(clients))
        recorded = sum(request.body.get("accepted", request.status == 201) for request in list(storm.requests)
                       if request.workspace == workspace and request.status in (200, 201))
        body = look(clients[workspace], "/analytics/metrics?days=400")
        assert body is None or json.loads(body)["total_metrics"] >= recorded
        look(clients[workspace], source.choice(paths))
    for client in clients:
        client.close()


@pytest.mark.parametrize("number", range(STORMS))
def test_everything_agrees_with_the_model(hosts, number):
    seed = int(os.environ.get("TALLYGATE_SEED", random.getrandbits(32))) + number
    print(f"TALLYGATE_SEED={seed} TALLYGATE_STORMS=1")  # shown when it fails
    users = [hosts[n % 2].new_user() for n in range(WORKSPACES)]
    storm = Storm(seed, hosts, users, CLIENTS, STEPS)
    storm.run(*(lambda host=host: reader(storm, host) for host in hosts))
    print(dict(storm.troubles), f"{sum(request.lost for request in storm.requests)} answers lost")
    assert storm.troubles["ingest worker killed"] and storm.troubles["connections cut"]
    wait_for(lambda: committers(hosts[0].postgres, "state <> 'idle'") == 0, what="the last commit")
    assert all(refusal[0] == 503 and refusal[1] for refusal in storm.refused), set(storm.refused)
    assert not storm.broken
    for workspace in range(WORKSPACES):
        outcome = Outcome(storm, workspace).check()
        check_tables(outcome)
        check_endpoints(outcome, hosts)
    assert hosts[0].postgres.query("SELECT sum(n) FROM totals WHERE name = 'events'") == \
        hosts[0].postgres.query("SELECT count(*) FROM events")
    assert "deadlock detected" not in hosts[0].postgres.log_text
