# SPDX-License-Identifier: Apache-2.0
"""GET /analytics/reports/daily"""
import datetime
from decimal import Decimal

import pytest

from env.problems import assert_invalid
from model import DAY, UTC, Event, Model, report

PATH = "/analytics/reports/daily"
EMPTY_CHANGE = {"previous": 0, "difference": 0, "percent": None}


def day(days_ago):
    return datetime.datetime.now(UTC).date() - days_ago * DAY


def at(date, hour, minute=0):
    return datetime.datetime.combine(date, datetime.time(hour, minute), UTC)


def test_of_nothing(user):
    answer = user.get(f"{PATH}?date={day(1)}")
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert answer.json() == {
        "date": day(1).isoformat(), "total_events": 0, "active_users": 0, "total_cost": 0,
        "change": {"total_events": EMPTY_CHANGE, "active_users": EMPTY_CHANGE, "total_cost": EMPTY_CHANGE},
        "by_type": [], "by_hour": [{"hour": hour, "events": 0} for hour in range(24)], "top_users": [],
    }


def test_as_the_model_says(user):
    model = Model(user).add_random(800, days=8)
    first = day(0)
    for days_ago in range(10):
        date = first - days_ago * DAY
        assert user.get(f"{PATH}?date={date}").json() == report(model, date)
    assert report(model, first - 2 * DAY)["total_events"] > 20


def test_today_is_the_default(user):
    user.record()
    before = day(0).isoformat()
    body = user.get(PATH).json()
    assert before <= body["date"] <= day(0).isoformat()
    if body["date"] == before:
        assert body["total_events"] == 1


def test_below_the_prefix_too(user):
    assert user.get(f"/api/v1{PATH}?date={day(1)}").json() == user.get(f"{PATH}?date={day(1)}").json()


@pytest.mark.parametrize("before, now, difference, percent", [
    (10, 15, 5, 50), (15, 10, -5, Decimal("-33.33")), (0, 5, 5, None), (5, 0, -5, -100), (-10, 5, 15, 150),
    (Decimal("0.3"), Decimal("0.1"), Decimal("-0.2"), Decimal("-66.67")), (7, 7, 0, 0),
])
def test_change_of_cost(user, before, now, difference, percent):
    date = day(2)
    Model(user).send([Event("cost", before, "u", at(date - DAY, 9)), Event("cost", now, "u", at(date, 9))])
    body = user.get(f"{PATH}?date={date}").json()
    assert body["total_cost"] == now
    assert body["change"]["total_cost"] == {"previous": before, "difference": difference, "percent": percent}
    assert body["change"]["total_events"] == {"previous": 1, "difference": 0, "percent": 0}


def test_hours_are_in_utc(user):
    date = day(2)
    Model(user).send([Event("x", 1, "u", at(date, hour, minute)) for hour in (0, 23) for minute in (0, 59)])
    hours = user.get(f"{PATH}?date={date}").json()["by_hour"]
    assert [item["events"] for item in hours] == [2] + [0] * 22 + [2]


def test_ten_top_users(user):
    date = day(2)
    Model(user).send([Event("cost", n, f"u{n:02}", at(date, 5)) for n in range(12) for _ in range(n)])
    top = user.get(f"{PATH}?date={date}").json()["top_users"]
    assert top == [{"user_id": f"u{n:02}", "events": n, "cost": n * n} for n in range(11, 1, -1)]


def test_all_types_are_told(user):
    date = day(2)
    model = Model(user).send([Event(f"t{n}", n, "u", at(date, 5)) for n in range(300)])
    assert user.get(f"{PATH}?date={date}").json()["by_type"] == report(model, date)["by_type"]


@pytest.mark.parametrize("date", [
    "", "today", "2026-02-30", "2026-13-01", "2026-1-1", "20260101", "2026-01-01T00:00:00Z", "01-01-2026", "2025-02-29",
    " 2026-01-01", "2026-01-01 ", "2026-01-01%00", "-2026-01-01", "2026/01/01", "%D9%A2026-01-01",
])
def test_bad_dates(user, date):
    answer = user.stack.raw("GET", f"{PATH}?date={date.replace(' ', '%20')}", {"Authorization": f"Bearer {user.token}"})
    if "%00" in date:
        assert answer.status == 400, answer
    else:
        assert_invalid(answer, date="format")


@pytest.mark.parametrize("date", ["2024-02-29", "1970-01-01", "2100-12-31", "0001-01-01", "9999-12-31"])
def test_days_without_events(user, date):
    body = user.get(f"{PATH}?date={date}").json()
    assert (body["date"], body["total_events"]) == (date, 0)


@pytest.mark.parametrize("query, wrong", [
    ("date=2026-01-01&date=2026-01-02", {"date": "repeated"}), ("day=2026-01-01", {"day": "unknown_field"}),
])
def test_bad_queries(user, query, wrong):
    assert_invalid(user.get(f"{PATH}?{query}"), **wrong)
