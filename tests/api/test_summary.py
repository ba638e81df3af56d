# SPDX-License-Identifier: Apache-2.0
"""GET /analytics/summary, compared with a model in plain Python."""
import datetime
from decimal import Decimal

import pytest

from env.problems import assert_invalid
from model import DAY, UTC, Event, Model, day_start, parse_time, summary, time_text

PATH = "/analytics/summary"
EMPTY_CHANGE = {"previous": 0, "difference": 0, "percent": None}


def today():
    return datetime.datetime.now(UTC).date()


def ask(user, start, days):
    answer = user.get(f"{PATH}?start={start}&end={start + (days - 1) * DAY}")
    assert answer.status == 200, answer
    return answer.json()


def compare(model, start, days):
    assert ask(model.user, start, days) == summary(model, start, days)


def test_of_nothing(user):
    date = today() - DAY
    assert ask(user, date, 1) == {
        "days": 1, "period_start": f"{date}T00:00:00Z", "period_end": f"{date + DAY}T00:00:00Z",
        "total_events": 0, "total_value": 0, "active_users": 0, "first_event_at": None, "last_event_at": None,
        "change": {"total_events": EMPTY_CHANGE, "total_value": EMPTY_CHANGE, "active_users": EMPTY_CHANGE}, "by_type": [],
    }


def test_as_the_model_says(stack):
    models = [Model(stack.new_user()).add_mixture(500, days=30, seed=n) for n in range(3)]
    first = today() - 31 * DAY
    for model in models:
        for days in (1, 2, 7, 15, 40):
            for after in range(0, 31, 5):
                compare(model, first + after * DAY, days)


def test_thirty_days_are_the_default(user):
    model = Model(user).add_mixture(100, days=70)
    body = user.get(PATH).json()
    assert body["days"] == 30
    assert body == summary(model, parse_time(body["period_start"]).date(), 30)


def test_late_events(user):
    model = Model(user).add_mixture(100, days=12, seed=5)
    start = today() - 7 * DAY
    for seed in (6, 7):
        compare(model, start, 5)
        model.add_mixture(30, days=12, seed=seed)
    # Before what was first and after what was last, in the period and in the one before.
    for time in (day_start(start), day_start(start + 5 * DAY) - datetime.timedelta(microseconds=1),
                 day_start(start - 5 * DAY), day_start(start) - datetime.timedelta(microseconds=1)):
        model.send([Event("late", 1, f"late {time}", time)])
        compare(model, start, 5)


@pytest.mark.parametrize("before, now, difference, percent", [
    (["10"], ["15"], 5, 50), (["15"], ["10"], -5, Decimal("-33.33")), ([], ["5"], 5, None), (["5"], [], -5, -100),
    (["-10"], ["5"], 15, 150), (["0.3"], ["0.1"], Decimal("-0.2"), Decimal("-66.67")), (["1", "-1"], ["3"], 3, None),
    (["3"], ["12345678901234567890.123"], Decimal("12345678901234567887.123"), Decimal("411522630041152262904.10")),
    (["1e-300"], ["0"], Decimal("-1e-300"), -100),
])
def test_change_of_the_value(user, before, now, difference, percent):
    date = today() - 2 * DAY
    model = Model(user)
    model.send([Event("x", Decimal(value), "u", day_start(date - DAY)) for value in before])
    model.send([Event("x", Decimal(value), "u", day_start(date)) for value in now])
    body = ask(user, date, 1)
    assert body["change"]["total_value"] == {"previous": sum(map(Decimal, before)), "difference": difference,
                                             "percent": percent}
    assert body == summary(model, date, 1)


def test_first_and_last_event(user):
    date = today() - 3 * DAY
    last = day_start(date + 2 * DAY) - datetime.timedelta(microseconds=1)
    Model(user).send([Event("x", 1, "u", day_start(date)), Event("x", 1, "u", last),
                      Event("x", 1, "u", last + datetime.timedelta(microseconds=1)),
                      Event("x", 1, "u", day_start(date) - datetime.timedelta(microseconds=1))])
    body = ask(user, date, 2)
    assert (body["first_event_at"], body["last_event_at"]) == (time_text(day_start(date)), time_text(last))
    assert body["total_events"] == 2


def test_first_and_last_event_of_another(user, other):
    """Their times do not show through, earlier or later."""
    date = today() - 3 * DAY
    for tenant, hours in ((user, [10, 11]), (other, [9, 12])):
        Model(tenant).send([Event("x", 1, "u", day_start(date) + datetime.timedelta(hours=hour)) for hour in hours])
    body = ask(user, date, 1)
    assert (body["first_event_at"], body["last_event_at"]) == (f"{date}T10:00:00Z", f"{date}T11:00:00Z")


def test_a_thousand_types_at_the_most(user):
    date = today() - 2 * DAY
    model = Model(user).send([Event(f"t{n:04}", 1, "u", day_start(date)) for n in range(1003)])
    model.send([Event("t1002", 1, "u", day_start(date))])
    body = ask(user, date, 1)
    assert body["by_type"] == summary(model, date, 1)["by_type"][:1000]
    assert body["by_type"][0]["type"] == "t1002"
    assert body["total_events"] == 1004


def test_no_other_parameters(user):
    for name in ("type", "limit", "group_by", "timezone", "date"):
        assert_invalid(user.get(f"{PATH}?{name}=1"), **{name: "unknown_field"})
