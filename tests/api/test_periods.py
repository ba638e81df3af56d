# SPDX-License-Identifier: Apache-2.0
"""What all figures have in common: how a period is named, `fields`, and whose figures they are."""
import datetime

import pytest

from env.problems import assert_invalid, assert_problem
from model import DAY, UTC, Event, Model, day_start, parse_time

PATHS = ["/analytics/metrics", "/analytics/summary", "/analytics/events/by-type", "/analytics/query",
         "/analytics/usage/u", "/analytics/costs"]
BOUNDED = [path for path in PATHS if path != "/analytics/events/by-type"]  # these tell both ends


def today():
    return datetime.datetime.now(UTC).date()


def total(body):
    """The number of `cost` events, wherever an answer has it."""
    if "series" in body:
        return sum(series["total_events"] for series in body["series"])
    if "measure" in body:
        return body["items"][0]["value"]
    return body.get("events", body.get("total_events", body.get("total_metrics", body.get("total_cost"))))


@pytest.fixture(scope="module")
def costs(stack):
    """One event of `cost`, with the value 1, at noon of each of ten days, the last of them yesterday."""
    model = Model(stack.new_user())
    model.today = today()
    noon = day_start(model.today) + datetime.timedelta(hours=12)
    return model.send([Event("cost", 1, "u", noon - n * DAY) for n in range(1, 11)])


# ---- by dates ----

@pytest.mark.parametrize("path", PATHS)
def test_both_days_are_included(costs, path):
    for first, last, expected in [(10, 1, 10), (10, 10, 1), (1, 1, 1), (5, 3, 3), (12, 10, 1), (20, 11, 0)]:
        start, end = costs.today - first * DAY, costs.today - last * DAY
        body = costs.user.get(f"{path}?start={start}&end={end}").json()
        assert total(body) == expected, (first, last)
        if path in BOUNDED:
            assert parse_time(body["period_start"]) == day_start(start)
            assert parse_time(body["period_end"]) == day_start(end + DAY)
        if "days" in body:
            assert body["days"] == first - last + 1


@pytest.mark.parametrize("path", PATHS)
def test_without_an_end_it_reaches_to_today(costs, path):
    start = costs.today - 4 * DAY
    body = costs.user.get(f"{path}?start={start}").json()
    assert total(body) == 4
    if "days" in body:
        assert body["days"] >= 5


@pytest.mark.parametrize("path", PATHS)
def test_days_end_today(costs, path):
    body = costs.user.get(f"{path}?days=4").json()
    assert total(body) == 3 or today() > costs.today


@pytest.mark.parametrize("path", PATHS)
def test_an_end_that_is_to_come(costs, path):
    end = costs.today + 30 * DAY
    body = costs.user.get(f"{path}?start={costs.today - 2 * DAY}&end={end}").json()
    assert total(body) == 2


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("start, end", [
    ("2024-02-29", "2024-02-29"), ("0001-01-02", "0001-01-02"), ("0001-01-02", "0002-02-05"),
    ("1969-12-31", "1970-01-01"), ("9999-12-30", "9999-12-30"), ("9998-12-01", "9999-12-30"),
])
def test_days_without_events(costs, path, start, end):
    answer = costs.user.get(f"{path}?start={start}&end={end}")
    assert answer.status == 200, answer
    assert total(answer.json()) == 0
    assert "period_start" not in answer.json() or answer.json()["period_start"] == f"{start}T00:00:00Z"


@pytest.mark.parametrize("path", PATHS)
def test_400_days_are_the_most(costs, path):
    end = costs.today - DAY
    assert costs.user.get(f"{path}?start={end - 399 * DAY}&end={end}").status == 200
    assert_invalid(costs.user.get(f"{path}?start={end - 400 * DAY}&end={end}"), start="out_of_range")
    assert_invalid(costs.user.get(f"{path}?start=0001-01-01&end=9999-12-31"), start="out_of_range")
    assert_invalid(costs.user.get(f"{path}?start={costs.today - 401 * DAY}"), start="out_of_range")


# ---- what is no period ----

@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("query, wrong", [
    ("days=7&start=2026-01-01", {"days": "conflict"}),
    ("days=7&end=2026-01-01", {"days": "conflict"}),
    ("days=7&start=2026-01-01&end=2026-01-07", {"days": "conflict"}),
    ("end=2026-01-01", {"start": "required"}),
    ("start=2026-01-02&end=2026-01-01", {"end": "out_of_range"}),
    ("start=9999-12-31", {"start": "out_of_range"}),
    # The first moment after it, or its beginning in another zone, could not be written as a time.
    ("start=9999-12-31&end=9999-12-31", {"end": "out_of_range"}),
    ("start=0001-01-01&end=0001-01-03", {"start": "out_of_range"}),
    ("days=0", {"days": "out_of_range"}), ("days=401", {"days": "out_of_range"}), ("days=", {"days": "type"}),
    ("days=x", {"days": "type"}), ("days=1.5", {"days": "type"}),
    ("days=1&days=1", {"days": "repeated"}),
    ("start=2026-01-01&start=2026-01-01", {"start": "repeated"}),
    ("start=2026-01-01&end=2026-01-01&end=2026-01-01", {"end": "repeated"}),
    ("from=2026-01-01", {"from": "unknown_field"}), ("Start=2026-01-01", {"Start": "unknown_field"}),
    ("period_start=2026-01-01", {"period_start": "unknown_field"}), ("x=", {"x": "unknown_field"}),
    ("start=x&end=y&days=z&w=1", {"start": "format", "end": "format", "days": "type", "w": "unknown_field"}),
])
def test_bad_periods(user, path, query, wrong):
    assert_invalid(user.get(f"{path}?{query}"), **wrong)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("date", [
    "", "today", "2026-02-30", "2025-02-29", "2026-13-01", "2026-00-01", "2026-01-00", "2026-1-1", "20260101", "0000-01-01",
    "2026-01-01T00:00:00Z", "01-01-2026", "%202026-01-01", "2026-01-01%20", "-2026-01-01", "2026/01/01", "12026-01-01",
    "%D9%A2026-01-01", "infinity", "-infinity", "epoch", "now",
])
def test_bad_dates(user, path, date):
    raw = {"Authorization": f"Bearer {user.token}"}
    assert_invalid(user.stack.raw("GET", f"{path}?start={date}", raw), start="format")
    assert_invalid(user.stack.raw("GET", f"{path}?start=2026-01-01&end={date}", raw), end="format")


# ---- fields ----

SOME = {"/analytics/metrics": "total_cost,days", "/analytics/usage/u": "user_id,days",
        "/analytics/costs": "total_cost,items.events", "/analytics/query": "items.value,measure",
        "/analytics/summary": "by_type.events,change.total_value.percent", "/analytics/reports/daily": "by_hour.hour,date",
        "/analytics/events/by-type": "series.total_events,times"}


def pick(value, paths):
    """What `fields` leaves of an answer."""
    if isinstance(value, list):
        return [pick(item, paths) for item in value]
    kept = {}
    for name, member in value.items():
        below = [rest for head, _, rest in (path.partition(".") for path in paths) if head == name]
        if below:
            kept[name] = member if "" in below else pick(member, below)
    return kept


@pytest.mark.parametrize("path", SOME)
def test_fields(costs, path):
    whole = costs.user.get(path).json()
    some = costs.user.get(f"{path}?fields={SOME[path]}").json()
    assert some == pick(whole, SOME[path].split(","))
    assert some and some != whole
    assert_invalid(costs.user.get(f"{path}?fields=nothing_like_that"), fields="unknown_field")
    assert_invalid(costs.user.get(f"{path}?fields=days&fields=days"), fields="repeated")
    for wrong in (",", "a..b", "a.b.c.d.e", "*"):
        assert_invalid(costs.user.get(f"{path}?fields={wrong}"), fields="format")
    assert_invalid(costs.user.get(f"{path}?fields="), fields="too_short")


@pytest.mark.parametrize("path", PATHS)
def test_numbers_are_written_alike_with_fields(user, path):
    """Past 64 bits, past a double's digits, and with zeros at the end."""
    for value in ("12345678901234567890", "0.10", "-0.300", "12345678901234567890.123"):
        answer = user.post("/analytics/events", data='{"type": "cost", "user_id": "u", "value": %s}' % value)
        assert answer.status == 201, answer
    path += {"/analytics/query": "?measure=sum&", "/analytics/events/by-type": "?days=1&"}.get(path, "?")
    whole = user.get(path).body
    names = ",".join(user.get(path).json())
    assert user.get(f"{path}fields={names}").body == whole


# ---- whose figures ----

@pytest.mark.parametrize("path", SOME)
def test_needs_a_token(client, path):
    assert_problem(client.get(path), 401)


@pytest.mark.parametrize("path", SOME)
def test_others_see_nothing_of_it(costs, user, path):
    """The answer is that to somebody who recorded nothing, whoever asked before."""
    end = costs.today - DAY
    period = f"date={end}" if path.endswith("daily") else f"start={end - 20 * DAY}&end={end}"
    nothing = user.get(f"{path}?{period}").json()
    assert costs.user.get(f"{path}?{period}").json() != nothing
    assert user.get(f"{path}?{period}").json() == nothing
    costs.user.record("cost", 1, "u", timestamp=f"{end}T13:00:00Z")
    assert user.get(f"{path}?{period}").json() == nothing


@pytest.mark.parametrize("path", SOME)
def test_below_the_prefix_too(costs, path):
    assert costs.user.get("/api/v1" + path).json() == costs.user.get(path).json()
