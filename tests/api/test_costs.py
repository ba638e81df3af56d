# SPDX-License-Identifier: Apache-2.0
"""GET /analytics/costs: totals, grouping, order, pages."""
import base64
import datetime
from decimal import Decimal

import pytest

from env.problems import assert_invalid
from model import DAY, UTC, Event, Model, costs

PATH = "/analytics/costs"


def pages(user, query):
    """All items, page by page, each page's cursor leading to the next."""
    items, cursor, count = [], "", 0
    while True:
        answer = user.get(f"{PATH}?{query}{cursor}")
        assert answer.status == 200, answer
        body = answer.json()
        items += body["items"]
        count += 1
        assert count < 1000
        if body["next_cursor"] is None:
            return items, count
        assert body["items"], "an empty page that leads on"
        cursor = f"&cursor={body['next_cursor']}"


def test_of_nothing(user):
    answer = user.get(PATH)
    assert answer.headers["Cache-Control"] == "private, no-cache"
    body = answer.json()
    assert set(body) == {"days", "period_start", "period_end", "group_by", "total_cost", "events", "items",
        "next_cursor"}
    assert (body["days"], body["group_by"], body["total_cost"], body["events"], body["items"], body["next_cursor"]) == (
        30, "day", 0, 0, [], None)


@pytest.mark.parametrize("group_by", ["day", "user"])
@pytest.mark.parametrize("days", [1, 5, 30])
def test_as_the_model_says(user, group_by, days):
    model = Model(user).add_random(500, seed=days)
    body = user.get(f"{PATH}?days={days}&group_by={group_by}").json()
    events = model.in_period_of(body)
    assert body["items"] == costs(events, group_by)
    assert body["total_cost"] == sum(e.value for e in events if e.type == "cost")
    assert body["events"] == sum(e.type == "cost" for e in events)
    assert body["group_by"] == group_by


def test_only_costs_count(user):
    user.record("api_call", 100)
    user.record("session", 100)
    assert user.get(PATH).json()["items"] == []


def test_below_the_prefix_too(user):
    user.record("cost", 1)
    assert user.get("/api/v1" + PATH).json() == user.get(PATH).json()


def test_refunds(user):
    user.record("cost", 5, "a")
    user.record("cost", -8, "a")
    user.record("cost", -1, "b")
    body = user.get(f"{PATH}?group_by=user").json()
    assert body["items"] == [{"user_id": "b", "cost": -1, "events": 1}, {"user_id": "a", "cost": -3, "events": 2}]
    assert body["total_cost"] == -4


# ---- pages ----

@pytest.mark.parametrize("limit", [1, 2, 7, 49, 50, 51, 1000])
def test_pages_by_user(user, limit):
    model = Model(user)
    now = datetime.datetime.now(UTC)
    # Many equal costs, so that the order within them matters, and keys that a cursor could trip over.
    names = [f"u{n}" for n in range(40)] + ["a:b", "é", "李", "🙂", "x" * 255, "c%3A", "a b", "0", "-1:2", ":"]
    model.send([Event("cost", Decimal(n % 5) / 10 - Decimal("0.1"), name, now) for n, name in enumerate(names)])
    items, count = pages(user, f"group_by=user&limit={limit}")
    assert items == costs(model.events, "user")
    assert count == -(-len(names) // limit)


@pytest.mark.parametrize("limit", [1, 3, 20, 21])
def test_pages_by_day(user, limit):
    model = Model(user)
    now = datetime.datetime.now(UTC)
    model.send([Event("cost", n % 4, "u", now - n * DAY) for n in range(20)])
    items, count = pages(user, f"days=30&limit={limit}")
    assert items == costs(model.events, "day")
    assert count == -(-20 // limit)


def test_default_page_has_100(user):
    now = datetime.datetime.now(UTC)
    Model(user).send([Event("cost", 1, f"u{n:03}", now) for n in range(101)])
    body = user.get(f"{PATH}?group_by=user").json()
    assert len(body["items"]) == 100
    assert body["next_cursor"]
    assert body["total_cost"] == 101, "totals are of all, not of the page"


def test_page_goes_on_where_it_was_though_more_came(user):
    """A keyset, not an offset: what comes in between does not shift the pages."""
    now = datetime.datetime.now(UTC)
    Model(user).send([Event("cost", n, f"u{n}", now) for n in range(1, 11)])
    first = user.get(f"{PATH}?group_by=user&limit=5").json()
    user.record("cost", 100, "rich")
    second = user.get(f"{PATH}?group_by=user&limit=5&cursor={first['next_cursor']}").json()
    assert [item["user_id"] for item in first["items"] + second["items"]] == [f"u{n}" for n in range(10, 0, -1)]


@pytest.mark.parametrize("values", [
    ["1e308", "1e300", "5e-324"],
    ["0.1", "0.10000000000000000001", "0.2"],
    ["1e308", "1e-300", "-1e308"],
])
def test_pages_over_extreme_costs(user, values):
    for n, value in enumerate(values):
        answer = user.post("/analytics/events", data='{"type": "cost", "user_id": "u%d", "value": %s}' % (n, value))
        assert answer.status == 201, answer
    items, count = pages(user, "group_by=user&limit=1")
    assert [item["user_id"] for item in items] == [
        f"u{n}" for n, _ in sorted(enumerate(values), key=lambda pair: -Decimal(pair[1]))]
    assert count == 3


def test_pages_over_a_sum_with_many_digits(user):
    """Both are good values, and the cursor must be able to carry what they make together."""
    for value, person in [("1e308", "🙂" * 255), ("1e-300", "🙂" * 255), ("1", "other")]:
        answer = user.post("/analytics/events", data='{"type": "cost", "user_id": "%s", "value": %s}' % (person, value))
        assert answer.status == 201, answer
    items, _ = pages(user, "group_by=user&limit=1")
    assert [item["user_id"] for item in items] == ["🙂" * 255, "other"]


def test_cursor_of_another_tenant_gives_nothing_of_theirs(user, other):
    for n in range(3):
        other.record("cost", n, f"secret{n}")
        user.record("cost", n, f"mine{n}")
    cursor = other.get(f"{PATH}?group_by=user&limit=1").json()["next_cursor"]
    items = user.get(f"{PATH}?group_by=user&cursor={cursor}").json()["items"]
    assert all(item["user_id"].startswith("mine") for item in items)


# ---- parameters ----

def encode(text):
    return base64.urlsafe_b64encode(text if isinstance(text, bytes) else text.encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("cursor", [
    "x", "!!!", "a b", "====", encode("x"), encode(":u"), encode("abc:u"), encode("1"), encode("-:u"), encode("1e5:u"),
    encode("NaN:u"), encode(b"1:\xff"), encode(b"1:a\0b"), encode("1 OR 1=1:u"), encode("1;--:u"), "A" * 2049,
    encode("9" * 1001 + ":u"),
])
def test_cursors_that_are_none(user, cursor):
    problem = user.get(PATH, params={"group_by": "user", "cursor": cursor})
    assert problem.status == 422, problem
    assert [error["field"] for error in problem.json()["errors"]] == ["cursor"]


@pytest.mark.parametrize("number", ["1.2.3", "-1-", "1..", ".", "..", "1.-", "-.", "-.."])
def test_cursor_with_a_number_that_is_none(user, number):
    """Refused like any other; in no case the server's fault."""
    answer = user.get(PATH, params={"group_by": "user", "cursor": encode(f"{number}:u")})
    assert answer.status == 422, answer


def test_cursor_of_the_other_grouping(user):
    for n in range(3):
        user.record("cost", n, f"u{n}")
    cursor = user.get(f"{PATH}?group_by=user&limit=1").json()["next_cursor"]
    assert_invalid(user.get(f"{PATH}?group_by=day&cursor={cursor}"), cursor="format")


@pytest.mark.parametrize("query, wrong", [
    ("days=0", {"days": "out_of_range"}), ("days=401", {"days": "out_of_range"}), ("days=x", {"days": "type"}),
    ("limit=0", {"limit": "out_of_range"}), ("limit=1001", {"limit": "out_of_range"}),
    ("limit=-1", {"limit": "out_of_range"}),
    ("limit=x", {"limit": "type"}), ("group_by=", {"group_by": "too_short"}), ("group_by=hour", {"group_by": "format"}),
    ("group_by=Day", {"group_by": "format"}), ("group_by=user&group_by=day", {"group_by": "repeated"}),
    ("cursor=", {"cursor": "too_short"}), ("offset=1", {"offset": "unknown_field"}),
    ("days=0&limit=0&group_by=x&y=", {"days": "out_of_range", "limit": "out_of_range", "group_by": "format",
    "y": "unknown_field"}),
])
def test_bad_queries(user, query, wrong):
    assert_invalid(user.get(f"{PATH}?{query}"), **wrong)


@pytest.mark.parametrize("query", ["days=1", "days=400", "limit=1", "limit=1000", "group_by=day", "group_by=user"])
def test_good_queries(user, query):
    assert user.get(f"{PATH}?{query}").status == 200
