# SPDX-License-Identifier: Apache-2.0
"""GET /analytics/events/by-type: time series by type, in UTC and in zones that change their clocks."""
import datetime
import zoneinfo

import pytest

from env.problems import assert_invalid
from model import DAY, HOUR, UTC, Event, Model, by_type, day_start, parse_time

PATH = "/analytics/events/by-type"
# One of a kind: changes at one o'clock UTC, at two o'clock, none, midnight skipped, midnight twice, the ends of the world.
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "America/Santiago", "Asia/Beirut", "Africa/Cairo",
         "America/Havana", "Atlantic/Azores", "Africa/Casablanca", "Pacific/Auckland", "Pacific/Kiritimati",
         "Pacific/Pago_Pago", "Etc/GMT+12", "Etc/UTC"]
CHANGING = ["Europe/Berlin", "America/New_York", "America/Santiago", "Asia/Beirut", "Africa/Cairo", "America/Havana",
            "Atlantic/Azores", "Pacific/Auckland"]


def today():
    return datetime.datetime.now(UTC).date()


def ask(user, start, days, **params):
    params = {name: value for name, value in params.items() if value is not None}
    answer = user.get(PATH, params={"start": start, "end": start + (days - 1) * DAY, **params})
    assert answer.status == 200, answer
    return answer.json()


def compare(model, start, days, **params):
    body = ask(model.user, start, days, **params)
    assert body == by_type(model.events, start, days, **params), (start, days, params)
    return body


def clock_changes(zone):
    """The local dates within a year, all hours around them past, on which a zone's offset from UTC changes."""
    zone = zoneinfo.ZoneInfo(zone)
    hours = [day_start(today() - 4 * DAY) - n * HOUR for n in range(385 * 24)]
    return [hour.astimezone(zone).date() for hour in hours
            if hour.astimezone(zone).utcoffset() != (hour - HOUR).astimezone(zone).utcoffset()]


@pytest.fixture(scope="module")
def year(stack):
    """Events over more than a year."""
    model = Model(stack.new_user()).add_mixture(1000, days=395, seed=1)
    # And one in each hour around each change of a clock.
    hours = {day_start(date) + n * HOUR for zone in CHANGING for date in clock_changes(zone) for n in range(-30, 54)}
    return model.send([Event("tick", 1, "u", hour + 30 * HOUR / 60) for hour in sorted(hours)])


@pytest.fixture(scope="module")
def weeks(stack):
    """Tenants with events of some weeks."""
    return [Model(stack.new_user()).add_mixture(500, days=30, seed=n) for n in range(3)]


# ---- against the model ----

@pytest.mark.parametrize("interval", ["hour", "day", "week", "month"])
def test_as_the_model_says(weeks, interval):
    for model in weeks:
        for ago, days in ((29, 31), (25, 1), (24, 20), (10, 7), (60, 10)):
            for type in (None, "cost", "nothing.like.that"):
                compare(model, today() - ago * DAY, days, interval=interval, type=type)


@pytest.mark.parametrize("zone", ZONES)
def test_in_a_zone(year, zone):
    for interval in ("day", "week", "month"):
        compare(year, today() - 380 * DAY, 380, interval=interval, timezone=zone)
        compare(year, today() - 100 * DAY, 45, interval=interval, timezone=zone, type="cost")
    compare(year, today() - 40 * DAY, 31, interval="hour", timezone=zone)


@pytest.mark.parametrize("zone", CHANGING)
def test_over_a_change_of_the_clock(year, zone):
    """Each period that begins or ends near it: no hour is lost, counted twice or in two days."""
    changes = clock_changes(zone)
    assert len(changes) >= 2
    lengths = set()
    for date in changes:
        for before in (0, 1, 2):
            for days in (1, 2, 3):
                start = date - before * DAY
                hours = compare(year, start, days, interval="hour", timezone=zone, type="tick")
                compare(year, start, days, interval="day", timezone=zone, type="tick")
                compare(year, start, days, interval="week", timezone=zone)
                compare(year, start, days, interval="month", timezone=zone)
                if days == 1:
                    lengths.add(len(hours["times"]))
    assert lengths == {23, 24, 25}


def test_a_day_of_25_hours(year):
    """By hand: Berlin's clocks went back on 2025-10-26, or do so a year later."""
    date = next(date for date in clock_changes("Europe/Berlin") if date.month == 10)
    body = ask(year.user, date, 1, interval="hour", timezone="Europe/Berlin", type="tick")
    assert [body["times"][0], body["times"][-1]] == [f"{date - DAY}T22:00:00Z", f"{date}T22:00:00Z"]
    assert body["series"][0]["events"] == [1] * 25
    body = ask(year.user, date, 1, timezone="Europe/Berlin", type="tick")
    assert (body["times"], body["series"][0]["events"]) == ([f"{date - DAY}T22:00:00Z"], [25])


def test_late_events(user):
    model = Model(user).add_mixture(200, days=20, seed=5)
    start = today() - 18 * DAY
    for seed in (6, 7, 8):
        for interval in ("hour", "day", "week", "month"):
            for zone in ("UTC", "America/New_York"):
                compare(model, start, 15, interval=interval, timezone=zone)
        model.add_mixture(40, days=20, seed=seed)


# ---- the axis ----

@pytest.mark.parametrize("zone", ZONES)
def test_no_gaps(user, zone):
    """With nothing to count, all the times are there, each once."""
    for interval in ("day", "week", "month"):
        body = ask(user, today() - 399 * DAY, 400, interval=interval, timezone=zone)
        assert body == by_type([], today() - 399 * DAY, 400, interval=interval, timezone=zone)
        times = [parse_time(text) for text in body["times"]]
        steps = {later - earlier for earlier, later in zip(times, times[1:])}
        least, most = {"day": (23, 25), "week": (167, 169), "month": (28 * 24 - 1, 31 * 24 + 1)}[interval]
        assert all(least * HOUR <= step <= most * HOUR for step in steps)
        assert body["series"] == []
    body = ask(user, today() - 30 * DAY, 31, interval="hour", timezone=zone)
    times = [parse_time(text) for text in body["times"]]
    assert {later - earlier for earlier, later in zip(times, times[1:])} == {HOUR}


def test_a_day_that_a_zone_left_out(user):
    """Samoa went from the 29th to the 31st."""
    body = ask(user, datetime.date(2011, 12, 29), 3, timezone="Pacific/Apia")
    assert body["times"] == ["2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"]
    body = ask(user, datetime.date(2011, 12, 29), 3, timezone="Pacific/Apia", interval="hour")
    assert len(body["times"]) == len(set(body["times"])) == 48


def test_defaults(user):
    user.record("cost", 2)
    body = user.get(PATH).json()
    assert set(body) == {"interval", "timezone", "start", "days", "times", "series"}
    assert (body["interval"], body["timezone"], body["days"], len(body["times"])) == ("day", "UTC", 30, 30)
    assert body["start"] == body["times"][0][:10]
    assert body["series"] == [{"type": "cost", "total_events": 1, "total_value": 2, "events": [0] * 29 + [1],
                               "values": [0] * 29 + [2]}] or body["series"][0]["events"][-2] == 1


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Auckland", "Etc/GMT+12", "Asia/Tokyo",
                                  "America/Los_Angeles"])
def test_today_is_that_of_the_zone(user, zone):
    """Where it is tomorrow already, what happens now happens there tomorrow."""
    def there():
        return datetime.datetime.now(zoneinfo.ZoneInfo(zone)).date()

    user.record()
    before = there()
    for days in (1, 7):
        body = user.get(PATH, params={"timezone": zone, "days": days}).json()
        if there() == before:
            assert body["start"] == str(before - (days - 1) * DAY)
            assert body["series"][0]["events"] == [0] * (days - 1) + [1]
    body = user.get(PATH, params={"timezone": zone, "start": before - 2 * DAY}).json()
    assert body["days"] == 3 or there() > before
    assert body["series"][0]["total_events"] == 1
    answer = user.get(PATH, params={"timezone": zone, "start": before + DAY})
    if there() == before:
        assert_invalid(answer, start="out_of_range")


# ---- limit ----

@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize("limit", [1, 2, 4, 5, 6, 100])
def test_the_rest_is_one_series(weeks, limit, zone):
    for interval in ("hour", "day", "week", "month"):
        body = compare(weeks[0], today() - 29 * DAY, 30, interval=interval, limit=limit, timezone=zone)
        types = [series["type"] for series in body["series"]]
        assert len(types) == min(limit + 1, 5)
        assert types.count(None) == (1 if limit < 5 else 0)
        assert None not in types[:limit]


def test_fifty_are_the_default(user):
    date = today() - 2 * DAY
    Model(user).send([Event(f"t{n:02}", n, "u", day_start(date)) for n in range(52)])
    series = ask(user, date, 1)["series"]
    assert [s["type"] for s in series] == [f"t{n:02}" for n in range(50)] + [None]
    assert (series[-1]["total_events"], series[-1]["total_value"]) == (2, 50 + 51)
    assert len(ask(user, date, 1, limit=100)["series"]) == 52


# ---- parameters ----

@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Kathmandu", "Australia/Adelaide", "America/St_Johns", "Pacific/Chatham",
                                  "Asia/Tehran"])
def test_zones_with_parts_of_hours(user, zone):
    for interval in ("hour", "day", "week", "month"):
        assert_invalid(user.get(PATH, params={"timezone": zone, "interval": interval, "days": 7}), timezone="unsupported")


def test_a_zone_with_half_hours_in_winter_only(user):
    """Lord Howe's clocks change by half an hour, in the night to a Sunday."""
    def status(start, days):
        return user.get(PATH, params={"timezone": "Australia/Lord_Howe", "start": start, "end": start + (days - 1) * DAY})

    spring = next(date for date in clock_changes("Australia/Lord_Howe") if date.month == 10)
    assert status(spring + DAY, 3).status == 200, "an offset of eleven hours"
    for start, days in [(spring, 1), (spring, 3), (spring - DAY, 1), (spring - DAY, 5), (spring - 20 * DAY, 3)]:
        assert_invalid(status(start, days), timezone="unsupported")
    autumn = next(date for date in clock_changes("Australia/Lord_Howe") if date.month == 4)
    assert status(autumn - 3 * DAY, 3).status == 200
    for start, days in [(autumn - DAY, 2), (autumn, 1), (autumn + DAY, 1)]:
        assert_invalid(status(start, days), timezone="unsupported")


def test_before_zones_had_hours(user):
    """Local mean time: 53 minutes and 28 seconds."""
    answer = user.get(PATH, params={"timezone": "Europe/Berlin", "start": "1850-01-01", "end": "1850-01-02"})
    assert_invalid(answer, timezone="unsupported")


@pytest.mark.parametrize("zone", [
    "Europe/Berlim", "Nowhere/Land", "A/", "A/B", "Etc/Nothing", "Europe/Berlin/Mitte", "Europe/", "Zulu/Time",
    "Europe/Berlin2", "Nowhere/Land3", "Nowhere/Land+3", "Nowhere/Land-3", "Etc/GMT+13", "Etc/GMT-15", "Etc/GMT+99",
    "Etc/GMT+1x", "Etc/GMT+01", "Etc/GMT1", "Etc/GMT+", "EST+5/EDT", "Etc/GMT-0/X", "X/" + "y" * 62,
])
def test_unknown_zones(user, zone):
    """In part they do not even look like one; to PostgreSQL some of them would be a rule."""
    assert_invalid(user.get(PATH, params={"timezone": zone}), timezone="format" if set(zone) & set("0123456789+") else "unknown")


@pytest.mark.parametrize("zone", ["Right/Europe/Berlin", "RIGHT/UTC", "Posix/Europe/Berlin", "posix/UTC", "utc", "Z", "America", "GMT", "CET", "EST5EDT", "+01:00", "01:00", "Europe Berlin", "europe/Berlin",
                                  "../etc/passwd", "/etc/localtime", "posix/Europe/Berlin", "Europe/../Europe/Berlin",
                                  "Europe/Berlin\n", "<+01>-1/X", "Ευρώπη/Βερολίνο"])
def test_what_does_not_look_like_a_zone(user, zone):
    assert_invalid(user.get(PATH, params={"timezone": zone}), timezone="format")


@pytest.mark.parametrize("zone", ["Etc/GMT+12", "Etc/GMT-14", "Etc/GMT", "Etc/GMT0", "Etc/GMT-1", "America/Port-au-Prince",
                                  "America/Argentina/Buenos_Aires", "Africa/Porto-Novo"])
def test_odd_but_good_zones(user, zone):
    assert user.get(PATH, params={"timezone": zone}).json()["timezone"] == zone


def test_hours_of_31_days_at_the_most(user):
    assert len(user.get(f"{PATH}?interval=hour&days=31").json()["times"]) == 31 * 24
    problem = assert_invalid(user.get(f"{PATH}?interval=hour&days=32"), interval="too_fine")
    assert "31 days" in problem["errors"][0]["message"]
    assert_invalid(user.get(f"{PATH}?interval=hour&start=2026-01-01&end=2026-02-01"), interval="too_fine")
    assert_invalid(user.get(f"{PATH}?interval=hour&days=400&timezone=Europe/Berlin"), interval="too_fine")


@pytest.mark.parametrize("params, wrong", [
    ({"interval": ""}, {"interval": "too_short"}), ({"interval": "year"}, {"interval": "format"}),
    ({"interval": "Day"}, {"interval": "format"}), ({"interval": "minute"}, {"interval": "format"}),
    ({"timezone": ""}, {"timezone": "too_short"}), ({"timezone": "A/" + "b" * 63}, {"timezone": "too_long"}),
    ({"type": ""}, {"type": "too_short"}), ({"type": "Call"}, {"type": "format"}), ({"type": "x" * 51}, {"type": "format"}),
    ({"limit": "0"}, {"limit": "out_of_range"}), ({"limit": "101"}, {"limit": "out_of_range"}),
    ({"limit": "x"}, {"limit": "type"}), ({"group_by": "type"}, {"group_by": "unknown_field"}),
    ({"tz": "UTC"}, {"tz": "unknown_field"}),
    ({"interval": "x", "timezone": "x", "type": "X", "limit": "0", "days": "0"},
     {"interval": "format", "timezone": "format", "type": "format", "limit": "out_of_range", "days": "out_of_range"}),
    ({"interval": ["day", "day"]}, {"interval": "repeated"}), ({"timezone": ["UTC", "UTC"]}, {"timezone": "repeated"}),
    ({"type": ["a", "b"]}, {"type": "repeated"}), ({"limit": [1, 2]}, {"limit": "repeated"}),
])
def test_bad_parameters(user, params, wrong):
    assert_invalid(user.get(PATH, params=params), **wrong)
