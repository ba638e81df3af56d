# SPDX-License-Identifier: Apache-2.0
"""GET /analytics/query: every measure in every group, compared with a model in plain Python."""
import datetime
from decimal import Decimal

import pytest

from env import consistency
from env.problems import assert_invalid, assert_problem
from env.wait import wait_for
from model import DAY, UTC, Event, Model, day_start, query

PATH = "/analytics/query"
MEASURES = ["count", "sum", "avg", "min", "max", "unique_users"]
GROUPS = ["none", "type", "user", "hour", "day", "metadata.plan", "metadata.region", "metadata.plan.tier"]
ORDERS = [None, "value", "-value", "group", "-group"]
TYPES = [None, "cost", "page.view", "nothing.like.that"]
LIMIT = 1000


def ask(user, **params):
    answer = user.get(PATH, params={name: value for name, value in params.items() if value is not None})
    assert answer.status == 200, answer
    return answer.json()


def compare(model, start, days, **params):
    """One question about the days from `start` on; `params` mean the same to the service and to the model."""
    params.setdefault("limit", LIMIT)
    body = ask(model.user, start=start, end=start + (days - 1) * DAY, **params)
    items, truncated = query(model.in_days(start, days), **params)
    assert body["items"] == items, params
    assert body["truncated"] == truncated
    return body


def compare_everything(model, start, days, orders=(None,), types=TYPES):
    for measure in MEASURES:
        for group_by in GROUPS:
            for type in types:
                for order in orders:
                    compare(model, start, days, measure=measure, group_by=group_by, type=type, order=order)


def today():
    return datetime.datetime.now(UTC).date()


@pytest.fixture(scope="module")
def models(stack):
    """Tenants with events of some weeks, whose users, types and metadata have the same names."""
    return [Model(stack.new_user()).add_mixture(600, days=25, seed=n) for n in range(3)]


# ---- against the model ----

@pytest.mark.parametrize("group_by", GROUPS)
@pytest.mark.parametrize("measure", MEASURES)
def test_as_the_model_says(models, measure, group_by):
    start = today() - 18 * DAY
    for order in ORDERS:
        for type in TYPES:
            compare(models[0], start, 15, measure=measure, group_by=group_by, type=type, order=order)
    for model in models[1:]:
        compare(model, start, 15, measure=measure, group_by=group_by)


@pytest.mark.parametrize("measure", MEASURES)
def test_of_days_that_go_on(models, measure):
    for days in (1, 2, 30):
        for group_by in GROUPS:
            body = ask(models[1].user, days=days, measure=measure, group_by=group_by, limit=LIMIT)
            items, _ = query(models[1].in_period_of(body), measure, group_by, limit=LIMIT)
            assert body["items"] == items, (days, group_by)


@pytest.mark.parametrize("limit", [1, 3, 8, 9, 10])
@pytest.mark.parametrize("group_by", ["user", "day", "metadata.plan"])
def test_limit(models, group_by, limit):
    for order in ORDERS:
        for measure in ("count", "max", "unique_users"):
            compare(models[0], today() - 18 * DAY, 15, measure=measure, group_by=group_by, order=order, limit=limit)


def test_a_hundred_are_the_default(user):
    date = today() - 2 * DAY
    Model(user).send([Event("x", 1, f"u{n:03}", day_start(date)) for n in range(101)])
    body = ask(user, start=date, end=date, group_by="user")
    assert [item["group"] for item in body["items"]] == [f"u{n:03}" for n in range(100)]
    assert body["truncated"]


def test_late_events(user):
    """More of what is there, and what is new: types, users, days, values below and above all others."""
    model = Model(user).add_mixture(200, days=12, seed=5)
    start = today() - 10 * DAY
    compare_everything(model, start, 9, types=[None, "cost"])
    for seed in (6, 7):
        model.add_mixture(60, days=12, seed=seed)
        compare_everything(model, start, 9, types=[None, "cost"])
    noon = day_start(start) + datetime.timedelta(hours=12)
    model.send([Event("late.type", Decimal("-1E+30"), "late user", noon),
                Event("cost", Decimal("1E+30"), "user-1", noon, {"plan": "late plan"})])
    compare_everything(model, start, 9, types=[None, "cost", "late.type"])
    consistency.check(user.stack.postgres, user.workspace)


def test_averages_are_exact(user):
    """Rounded once, from the exact quotient, however many digits stand before the point."""
    cases = {"long": ["12345678901234567890.123", "1", "1"], "half.up": ["0.000001", "0"], "half.down": ["-0.000001", "0"],
             "below.half": ["0.000000999999999999999999999999999999", "0"], "third": ["1", "0", "0"],
             "huge": ["1e300", "1e-300", "7"], "whole": ["1e25", "1", "0", "0", "0", "0", "0"]}
    model = Model(user)
    date = today() - 2 * DAY
    for type, values in cases.items():
        model.send([Event(type, Decimal(value), type, day_start(date), {"k": type}) for value in values])
    for group_by in ("none", "type", "user", "hour", "day", "metadata.k"):
        compare(model, date, 1, measure="avg", group_by=group_by)


# ---- distinct users ----

@pytest.fixture
def unsettled(stack):
    """Nobody takes births over as long as this holds."""
    connection = stack.postgres.connect()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtext('settle_active_days'))")
    yield lambda: connection.close()
    connection.close()


def waiting(user):
    return user.stack.postgres.value("SELECT count(*) FROM active_days_new WHERE workspace_id = %s", user.workspace)


def compare_spans(model, days):
    """Each span of days within the last `days`, and each of their days."""
    first = today() - days * DAY
    for begin in range(days):
        for end in range(begin, days):
            compare(model, first + begin * DAY, end - begin + 1, measure="unique_users")
    compare(model, first, days, measure="unique_users", group_by="day")


def test_distinct_users_of_any_span_settled_or_not(user, unsettled):
    model = Model(user).add_random(60, days=9, seed=3)
    assert waiting(user) > 0
    compare_spans(model, 9)
    unsettled()
    user.stack.postgres.query("SELECT settle_active_days(10000)")
    compare_spans(model, 9)


def test_distinct_users_while_some_are_settled(user, unsettled):
    """Late days before, between and after those that were taken over."""
    model = Model(user)
    days = [today() - n * DAY for n in range(9, 0, -1)]
    model.send([Event("x", 1, name, day_start(days[n])) for name, n in [("a", 4), ("b", 4), ("b", 7), ("c", 1)]])
    # As the service does, in a session that holds the lock.
    unsettled()
    consistency.settle(user.stack.postgres)
    connection = user.stack.postgres.connect()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtext('settle_active_days'))")
    model.send([Event("x", 1, name, day_start(days[n])) for name, n in
                [("a", 2), ("a", 6), ("b", 5), ("b", 8), ("c", 0), ("c", 1), ("d", 4), ("d", 3)]])
    assert waiting(user) > 0
    compare_spans(model, 9)
    connection.close()
    consistency.settle(user.stack.postgres)
    compare_spans(model, 9)
    consistency.check(user.stack.postgres, user.workspace)


# ---- the answer ----

@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("group_by", GROUPS)
def test_of_nothing(user, measure, group_by):
    body = ask(user, measure=measure, group_by=group_by)
    value = None if measure in ("avg", "min", "max") else 0
    assert body["items"] == ([{"group": None, "value": value, "events": 0}] if group_by == "none" else [])
    assert (body["measure"], body["group_by"], body["type"], body["truncated"]) == (measure, group_by, None, False)
    assert set(body) == {"measure", "group_by", "type", "period_start", "period_end", "items", "truncated"}


def test_defaults(user):
    user.record(user_id="a")
    body = ask(user)
    assert (body["measure"], body["group_by"]) == ("count", "none")
    assert body["items"] == [{"group": None, "value": 1, "events": 1}]


def test_names_of_metadata_and_groups(user):
    """Any name can be asked for, and any text be a group."""
    names = ["k", "a.b", ".", "..", " ", "'", '"', "$9", "%s", "\\", "ключ", "🙂", "x" * 64, "->>", "{}", "none", "type"]
    for name in names:
        user.record(metadata={name: name, "other": 1})
    for name in names:
        body = ask(user, group_by=f"metadata.{name}")
        assert body["group_by"] == f"metadata.{name}"
        assert body["items"] == [{"group": None, "value": len(names) - 1, "events": len(names) - 1},
                                 {"group": name, "value": 1, "events": 1}]


def test_as_many_and_as_long_as_may_be(user):
    """As many groups as the limit lets through, each as long as metadata may be, with spaces that PostgreSQL adds."""
    date = today() - 2 * DAY
    for start in range(0, 1000, 50):
        texts = ['{"type": "x", "value": 1, "user_id": "u", "timestamp": "%sT00:00:00Z", "metadata": {"k": [%d%s]}}' % (
            date, start + n, ",1" * 8100) for n in range(50)]
        answer = user.post("/analytics/metrics/batch", data='{"events": [%s]}' % ",".join(texts))
        assert answer.json()["accepted"] == 50, answer
    question = f"{PATH}?group_by=metadata.k&start={date}&end={date}"
    body = user.get(f"{question}&limit=1000").json()
    assert len({item["group"] for item in body["items"]}) == 1000
    assert {len(item["group"]) for item in body["items"]} == {1001}
    assert user.get(f"{question}&limit=1000&fields=measure").json() == {"measure": "count"}


# ---- parameters ----

@pytest.mark.parametrize("params, wrong", [
    ({"measure": ""}, {"measure": "too_short"}), ({"measure": "median"}, {"measure": "format"}),
    ({"measure": "Count"}, {"measure": "format"}), ({"measure": "count "}, {"measure": "format"}),
    ({"measure": "x" * 17}, {"measure": "too_long"}),
    ({"group_by": ""}, {"group_by": "too_short"}), ({"group_by": "week"}, {"group_by": "format"}),
    ({"group_by": "metadata"}, {"group_by": "format"}), ({"group_by": "metadata."}, {"group_by": "format"}),
    ({"group_by": "Metadata.x"}, {"group_by": "format"}), ({"group_by": "metadata." + "x" * 65}, {"group_by": "too_long"}),
    ({"group_by": "user_id"}, {"group_by": "format"}),
    ({"type": ""}, {"type": "too_short"}), ({"type": "Call"}, {"type": "format"}), ({"type": "x" * 51}, {"type": "format"}),
    ({"order": ""}, {"order": "too_short"}), ({"order": "desc"}, {"order": "format"}),
    ({"order": "--value"}, {"order": "format"}), ({"order": "+value"}, {"order": "format"}),
    ({"limit": "0"}, {"limit": "out_of_range"}), ({"limit": "1001"}, {"limit": "out_of_range"}),
    ({"limit": "x"}, {"limit": "type"}), ({"limit": ""}, {"limit": "type"}),
    ({"offset": "1"}, {"offset": "unknown_field"}), ({"user_id": "u"}, {"user_id": "unknown_field"}),
    ({"measure": "x", "group_by": "x", "type": "X", "order": "x", "limit": "0", "days": "0"},
     {"measure": "format", "group_by": "format", "type": "format", "order": "format", "limit": "out_of_range",
      "days": "out_of_range"}),
    ({"measure": ["sum", "sum"]}, {"measure": "repeated"}), ({"group_by": ["day", "type"]}, {"group_by": "repeated"}),
    ({"type": ["a", "b"]}, {"type": "repeated"}), ({"order": ["value", "group"]}, {"order": "repeated"}),
    ({"limit": [1, 2]}, {"limit": "repeated"}),
])
def test_bad_parameters(user, params, wrong):
    assert_invalid(user.get(PATH, params=params), **wrong)


# ---- what would take too long ----

RAW = [("min", "user"), ("max", "user"), ("unique_users", "hour"), ("count", "metadata.plan"), ("avg", "metadata.plan"),
       ("unique_users", "metadata.plan")]


@pytest.fixture
def crowded(user):
    """Somebody of whom the rollups say that 500,001 events came on one day, 500,000 of them of one type."""
    user.date = today() - 3 * DAY
    for type, events in (("busy", 500000), ("quiet", 1)):
        user.stack.postgres.query("INSERT INTO rollup_day VALUES (%s, %s, %s, 0, %s, 0, 0, 0)", user.workspace, user.date,
                                  type, events)
    return user


@pytest.mark.parametrize("measure, group_by", RAW)
def test_too_many_raw_events(crowded, measure, group_by):
    def question(days, **params):
        start = crowded.date + DAY - days * DAY
        return crowded.get(PATH, params={"measure": measure, "group_by": group_by, "start": start, "end": crowded.date,
                                         **params})

    problem = assert_invalid(question(1), group_by="too_wide")
    assert "500001" in problem["errors"][0]["message"] and "choose fewer days" in problem["errors"][0]["message"]
    assert_invalid(question(300), group_by="too_wide")
    assert_invalid(question(1, limit=1), group_by="too_wide")
    assert question(1, type="busy").status == 200
    assert question(1, type="quiet").status == 200
    assert crowded.get(PATH, params={"measure": measure, "group_by": group_by, "days": 2}).status == 200


@pytest.mark.parametrize("group_by", GROUPS[:5])
@pytest.mark.parametrize("measure", MEASURES)
def test_rollups_hold_any_number(crowded, measure, group_by):
    if (measure, group_by) not in RAW:
        answer = crowded.get(PATH, params={"measure": measure, "group_by": group_by, "days": 30})
        assert answer.status == 200, answer


def test_a_question_that_takes_too_long(make_stack):
    """Raw events within the bound, and a database that may take less time than they need."""
    stack = make_stack(database_timeout_ms=5000)
    user = stack.new_user()
    date = today() - 3 * DAY
    stack.postgres.query("""
        INSERT INTO events (workspace_id, occurred_at, id, type, value, user_id, metadata)
        SELECT %s, %s::date + n * interval '100 ms', n, 'x', n, 'user-' || n, jsonb_build_object('k', md5(n::text))
        FROM generate_series(1, 500000) AS n""", user.workspace, date)
    stack.postgres.query("INSERT INTO rollup_day VALUES (%s, %s, 'x', 0, 500000, 0, 0, 0)", user.workspace, date)
    question = f"{PATH}?measure=unique_users&group_by=metadata.k&start={date}&end={date}"
    stack.down()
    stack.up(database_timeout_ms=200)
    # What is asked before may outlast so short a time as well, on a busy machine.
    answer = wait_for(lambda: (answer := user.get(question)).status != 503 and answer)
    problem = assert_invalid(answer, days="too_wide")
    assert "fewer days" in problem["errors"][0]["message"]
    wait_for(lambda: user.get(PATH).status == 200, what="the same worker going on")


def test_long_groups_are_cut(user):
    """A number of five characters can be one of 308 digits, and a list of them a megabyte."""
    for n in (1, 2):
        text = '{"type": "t", "value": 1, "user_id": "u", "metadata": {"k": [%d%s]}}' % (n, ", 9e307" * 2000)
        assert user.post("/analytics/events", data=text).status == 201
    user.record("t", metadata={"k": "x" * 1000})
    body = user.get("/analytics/query?group_by=metadata.k&measure=count&order=group").json()
    groups = [item["group"] for item in body["items"]]
    assert [len(group) for group in groups] == [1001, 1001, 1000], "different ones stay apart"
    assert [group[:2] for group in groups] == ["[1", "[2", "xx"] and groups[0][-1] == "…"
    assert [item["value"] for item in body["items"]] == [1, 1, 1]
