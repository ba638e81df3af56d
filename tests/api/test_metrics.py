# SPDX-License-Identifier: Apache-2.0
"""GET /analytics/metrics and /analytics/usage/{user_id}, compared with a model of what was sent."""
import datetime
from decimal import Decimal
from urllib.parse import quote

import pytest

from env.problems import assert_invalid, assert_problem
from model import DAY, UTC, Event, Model, overview, parse_time, usage

PATH = "/analytics/metrics"


def check_period(body, days):
    start, end = parse_time(body["period_start"]), parse_time(body["period_end"])
    now = datetime.datetime.now(UTC)
    assert body["days"] == days
    assert end - start == days * DAY
    assert start.time() == end.time() == datetime.time()
    # Today is in it; a moment's grace at midnight.
    assert start <= now and end >= now - datetime.timedelta(minutes=1)
    assert body["period_start"].endswith("Z") and body["period_end"].endswith("Z")


def noon(days_ago):
    today = datetime.datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    return today - days_ago * DAY


# ---- overview ----

NOTHING = {"total_metrics": 0, "active_users": 0, "api_calls": 0, "tool_executions": 0, "sessions": 0,
           "avg_session_duration": 0, "total_cost": 0, "cost_per_user": 0, "avg_api_calls_per_user": 0,
           "peak_usage_hour": None}


def test_of_nothing(user):
    answer = user.get(PATH)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "private, no-cache"
    body = answer.json()
    check_period(body, 30)
    assert {k: body[k] for k in NOTHING} == NOTHING
    assert set(body) == {*NOTHING, "days", "period_start", "period_end"}


@pytest.mark.parametrize("days", [1, 2, 7, 19, 20, 30, 400])
def test_as_the_model_says(user, days):
    model = Model(user).add_random(400, seed=days)
    body = user.get(f"{PATH}?days={days}").json()
    check_period(body, days)
    expected = overview(model.in_period_of(body))
    assert {k: body[k] for k in expected} == expected
    assert expected["total_metrics"] > 0


def test_below_the_prefix_too(user):
    user.record()
    assert user.get("/api/v1" + PATH).json() == user.get(PATH).json()


def test_value_of_a_call_does_not_multiply_it(user):
    user.record("api_call", 5)
    user.record("tool_execution", 0)
    body = user.get(PATH).json()
    assert (body["api_calls"], body["tool_executions"]) == (1, 1)


def test_averages(user):
    for value, person in [(10, "a"), (20, "a"), (40, "b")]:
        user.record("session", value, person)
        user.record("api_call", 1, person)
    user.record("cost", 1, "c")
    body = user.get(PATH).json()
    assert body["avg_session_duration"] == Decimal("23.333333")
    assert body["avg_api_calls_per_user"] == 1
    assert body["cost_per_user"] == Decimal("0.333333")
    assert body["active_users"] == 3


def test_averages_with_many_digits(user):
    model = Model(user)
    now = datetime.datetime.now(UTC)
    for type in ("session", "cost"):
        model.send([Event(type, Decimal(value), person, now - datetime.timedelta(minutes=1)) for value, person in
                    [("12345678901234567890.123", "a"), ("1", "b"), ("0.000000999999999999999999999999999999", "c")]])
    body = user.get(PATH + "?days=2").json()
    assert {k: body[k] for k in overview(model.events)} == overview(model.events)
    body = user.get("/analytics/usage/a?days=2").json()
    assert {k: body[k] for k in usage(model.events, "a")} == usage(model.events, "a")


def test_peak_hour_is_the_one_with_most_events_over_all_days(user):
    day = noon(3)
    times = [(3, 2), (5, 1), (7, 2)]
    events = [Event("x", 1, "u", day.replace(hour=hour, minute=n)) for hour, count in times for n in range(count)]
    events += [Event("x", 1, "u", (day - DAY).replace(hour=5, minute=n)) for n in range(2)]
    Model(user).send(events)
    assert user.get(PATH).json()["peak_usage_hour"] == 5


def test_first_and_last_moment_of_a_day(user):
    first = noon(2).replace(hour=0)
    Model(user).send([Event("x", 1, "in", first), Event("x", 1, "out", first - datetime.timedelta(microseconds=1))])
    body = user.get(f"{PATH}?days=3").json()
    if parse_time(body["period_start"]) == first:  # it is not yet past midnight since
        assert (body["total_metrics"], body["active_users"]) == (1, 1)
    assert user.get(f"{PATH}?days=10").json()["total_metrics"] == 2


def test_offset_decides_the_day(user):
    """The evening of one place is the next day in UTC."""
    day = noon(3).date()
    user.record(timestamp=f"{day}T23:30:00-02:00")
    assert user.get(f"/analytics/reports/daily?date={day + DAY}").json()["total_events"] == 1
    assert user.get(f"/analytics/reports/daily?date={day}").json()["total_events"] == 0


def test_counts_at_once_what_was_acknowledged(user):
    for n in range(1, 30):
        user.record()
        assert user.get(PATH).json()["total_metrics"] == n


QUERIES = [
    ("days=0", {"days": "out_of_range"}), ("days=401", {"days": "out_of_range"}), ("days=-1", {"days": "out_of_range"}),
    ("days=abc", {"days": "type"}), ("days=", {"days": "type"}), ("days", {"days": "type"}),
    ("days=1.5", {"days": "type"}),
    ("days=1e2", {"days": "type"}), ("days=+7", {"days": "type"}), ("days=%207", {"days": "type"}),
    ("days=7%20", {"days": "type"}), ("days=99999999999999999999", {"days": "type"}), ("days=0x7", {"days": "type"}),
    ("days=%D9%A7", {"days": "type"}), ("days=1&days=2", {"days": "repeated"}), ("day=7", {"day": "unknown_field"}),
    ("Days=7", {"Days": "unknown_field"}), ("days=0&x=1", {"days": "out_of_range", "x": "unknown_field"}),
]


@pytest.mark.parametrize("path", [PATH, "/analytics/usage/u"])
@pytest.mark.parametrize("query, wrong", QUERIES)
def test_bad_queries(user, path, query, wrong):
    assert_invalid(user.stack.raw("GET", f"{path}?{query}", {"Authorization": f"Bearer {user.token}"}), **wrong)


@pytest.mark.parametrize("path", [PATH, "/analytics/usage/u", "/analytics/costs", "/analytics/reports/daily"])
def test_needs_a_token(client, path):
    assert_problem(client.get(path), 401)


@pytest.mark.parametrize("path", [PATH, "/analytics/usage/u"])
@pytest.mark.parametrize("query, days", [("days=1", 1), ("days=400", 400), ("days=%31", 1), ("days=7&", 7),
    ("&days=7", 7)])
def test_good_queries(user, path, query, days):
    check_period(user.get(f"{path}?{query}").json(), days)


# ---- one user's usage ----

def test_usage_of_nothing(user):
    body = user.get("/analytics/usage/nobody").json()
    check_period(body, 7)
    assert set(body) == {"user_id", "days", "api_calls", "tool_executions", "total_cost", "sessions",
                         "avg_session_duration", "period_start", "period_end"}
    assert body["user_id"] == "nobody"
    assert [body[k] for k in ("api_calls", "tool_executions", "total_cost", "sessions",
        "avg_session_duration")] == [0] * 5


@pytest.mark.parametrize("days", [1, 7, 30])
def test_usage_as_the_model_says(user, days):
    model = Model(user).add_random(300, seed=days)
    for person in {event.user_id for event in model.events}:
        body = user.get(f"/analytics/usage/{person}?days={days}").json()
        expected = usage(model.in_period_of(body), person)
        assert {k: body[k] for k in expected} == expected
        check_period(body, days)


IDS = ["u", "a b", "a+b", "a/b", "/", "//", "a%b", "%2F", "a?b", "a#b", "a&b=c", "ü", "李", "🙂", "x" * 255, "🙂" * 255,
       "name@example.org", "a;b", "a:b", '"', "'", "\\", "<>", "{}", "|", "^", "`", "~", "\n", "\t", " ", "-", "..a",
       "metrics", "\u200b", "C:\\dir"]


@pytest.mark.parametrize("user_id", IDS)
def test_any_user_id_can_be_asked_for(user, user_id):
    user.record("api_call", 1, user_id)
    user.record("api_call", 1, user_id + "x" if len(user_id) < 255 else "x")
    for prefix in ("", "/api/v1"):
        answer = user.stack.raw("GET", f"{prefix}/analytics/usage/{quote(user_id, safe='')}",
                                {"Authorization": f"Bearer {user.token}"})
        assert answer.status == 200, answer
        assert (answer.json()["user_id"], answer.json()["api_calls"]) == (user_id, 1)


# nginx takes ".." for a step up even when it is encoded, and refuses what would lead out of the root.
@pytest.mark.parametrize("user_id", [".", "..", "a/../b", "./a", "a/..", "../..", "../../x"])
def test_user_id_that_looks_like_a_path(user, user_id):
    """Encoded it is one segment (RFC 3986 section 2.2), whatever it would mean to a file system."""
    user.record("api_call", 1, user_id)
    encoded = "".join(f"%{byte:02X}" for byte in user_id.encode())
    answer = user.stack.raw("GET", f"/analytics/usage/{encoded}", {"Authorization": f"Bearer {user.token}"})
    assert answer.status == 200, answer
    assert (answer.json()["user_id"], answer.json()["api_calls"]) == (user_id, 1)


def test_a_user_id_that_leads_out_of_the_root_is_refused_by_nginx(user):
    """nginx resolves dot segments, encoded ones too, and answers for what would lie above the root."""
    answer = user.stack.raw("GET", "/analytics/usage/..%2F..%2F..%2Fx", {"Authorization": f"Bearer {user.token}"})
    assert_problem(answer, 400)


@pytest.mark.parametrize("user_id", ["x" * 256, "ü" * 256, "🙂" * 256])
def test_user_id_one_past_the_bound(user, user_id):
    assert_invalid(user.get(f"/analytics/usage/{quote(user_id)}"), user_id="too_long")


def test_user_ids_in_another_case_are_others(user):
    user.record("api_call", 1, "Ada")
    assert user.get("/analytics/usage/ada").json()["api_calls"] == 0
