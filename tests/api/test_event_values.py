# SPDX-License-Identifier: Apache-2.0
"""Numbers and times of events: which are taken, and that they are kept exactly."""
import datetime

import pytest

from env.problems import assert_invalid, assert_problem

UTC = datetime.timezone.utc


def send_value(user, number, path="/analytics/events"):
    """The number goes out as this very text."""
    return user.post(path, data='{"type": "cost", "user_id": "u", "id": "v", "value": %s}' % number)


@pytest.mark.parametrize("number", [
    "0", "-0", "1", "-1", "0.1", "0.10", "-0.0", "1.5e3", "1E+2", "1e-2", "1e308", "-1e308", "1.7976931348623157e308",
    "2.2250738585072014e-308", "5e-324", "0.30000000000000004", "123456789012345678", "9007199254740993",
    "9223372036854775807", "-9223372036854775808", "18446744073709551615", "0.000001",
    "3.141592653589793238462643383279",
    "100000000000000000000.5", "1" + "0" * 17, "0." + "0" * 100 + "1", "0e5", "0.0e-5", "9" * 18,
    "1." + "1" * 126,
])
def test_kept_exactly(stack, user, number):
    answer = send_value(user, number)
    assert answer.status == 201, answer
    assert stack.postgres.value(
        "SELECT value = %s::numeric FROM events WHERE workspace_id = %s", number, user.workspace) is True
    cost = user.get("/analytics/costs").json()["total_cost"]
    assert stack.postgres.value("SELECT %s::numeric = %s::numeric", number, str(cost)) is True


def test_tenths_make_an_exact_sum(user):
    for number in ("0.1", "0.2", "0.3", "-0.6"):
        answer = user.post("/analytics/events", data='{"type": "cost", "user_id": "u", "value": %s}' % number)
        assert answer.status == 201
    assert user.get("/analytics/costs").json()["total_cost"] == 0


@pytest.mark.parametrize("number", [
    "NaN", "nan", "Infinity", "-Infinity", "inf", "+1", "01", "-01", "1.", ".1", "1e", "1e+", "0x10", "1_000", "1,5",
    "--1", "1.0.0", "- 1", "1e5.5", "٣", "1f", "0b1", "",
])
def test_no_json_number(user, number):
    assert_problem(send_value(user, number), 400)


@pytest.mark.parametrize("number", ["18446744073709551616", "-9223372036854775809", "9" * 100, "1" + "0" * 60])
def test_integers_past_64_bits_are_kept_exactly(stack, user, number):
    assert send_value(user, number).status == 201
    assert stack.postgres.value("SELECT value FROM events WHERE workspace_id = %s", user.workspace) == int(number)


@pytest.mark.parametrize("number", ["1e309", "-1e309", "1e999999", "9" * 400, "9" * 1200])
def test_beyond_what_can_be_kept_is_refused_and_not_bent(stack, user, number):
    answer = send_value(user, number)
    assert_invalid(answer, value="out_of_range")
    assert stack.postgres.value("SELECT count(*) FROM events WHERE workspace_id = %s", user.workspace) == 0


@pytest.mark.parametrize("number, code", [
    ("1e-400", "out_of_range"), ("-1e-999", "out_of_range"), ("0." + "0" * 126 + "1", "too_long"),
    ("1." + "1" * 127, "too_long"),
])
def test_too_small_or_too_long(user, number, code):
    assert_invalid(send_value(user, number), value=code)


@pytest.mark.parametrize("value", ['"1"', '"NaN"', "true", "false", "[]", "[1]", "{}", '""'])
def test_value_that_is_no_number(user, value):
    assert_invalid(send_value(user, value), value="type")


def test_null_and_absent(user):
    assert_invalid(send_value(user, "null"), value="type")
    assert_invalid(user.post("/analytics/events", {"type": "x", "user_id": "u"}), value="required")


# ---- times ----

def send_time(user, text):
    return user.post("/analytics/events", {"type": "x", "value": 1, "user_id": "u", "timestamp": text})


def days_ago(days=0, **more):
    return datetime.datetime.now(UTC) - datetime.timedelta(days=days, **more)


@pytest.mark.parametrize("template, expected", [
    ("{}T12:00:00Z", "T12:00:00Z"), ("{}t12:00:00z", "T12:00:00Z"), ("{}T12:00:00.5Z", "T12:00:00.500000Z"),
    ("{}T12:00:00.123456Z", "T12:00:00.123456Z"), ("{}T12:00:00.123456789Z", "T12:00:00.123456Z"),
    ("{}T12:00:00+00:00", "T12:00:00Z"), ("{}T12:00:00-00:00", "T12:00:00Z"), ("{}T12:00:00+05:30", "T06:30:00Z"),
    ("{}T12:00:00-08:00", "T20:00:00Z"), ("{}T23:59:59.999999Z", "T23:59:59.999999Z"), ("{}T00:00:00Z", "T00:00:00Z"),
])
def test_times_come_back_in_utc(user, template, expected):
    day = days_ago(10).strftime("%Y-%m-%d")
    answer = send_time(user, template.format(day))
    assert answer.status == 201, answer
    told = datetime.datetime.fromisoformat(answer.json()["timestamp"].replace("Z", "+00:00"))
    assert answer.json()["timestamp"].endswith("Z")
    assert told == datetime.datetime.fromisoformat((day + expected).replace("Z", "+00:00"))


@pytest.mark.parametrize("text", [
    "", "now", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01T00:00Z", "2026-01-01T00:00:00+0000", "20260101T000000Z",
    "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-32T00:00:00Z", "2026-02-29T00:00:00Z",
    "2026-04-31T00:00:00Z",
    "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:61Z", "2026-01-01T00:00:00.Z",
    "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+00:60", "2026-01-01T00:00:00Zx", " 2026-01-01T00:00:00Z",
    "2026-01-01T00:00:00Z ", "2026-1-1T00:00:00Z", "0000-01-01T00:00:00Z", "+2026-01-01T00:00:00Z",
    "٢٠٢٦-01-01T00:00:00Z",
    "2026-01-01T00:00:00,5Z", "1767225600", "infinity", "2026-01-01T00:00:00\u0000Z",
])
def test_bad_times(user, text):
    assert_invalid(send_time(user, text), timestamp="format")


@pytest.mark.parametrize("value", [1767225600, 1.5, True, [], {}])
def test_times_of_another_type(user, value):
    assert_invalid(send_time(user, value), timestamp="type")


@pytest.mark.parametrize("seconds_past, good", [(-240, True), (-360, False)])
def test_five_minutes_ahead(user, seconds_past, good):
    answer = send_time(user, days_ago(seconds=seconds_past).isoformat())
    if good:
        assert answer.status == 201, answer
    else:
        assert_invalid(answer, timestamp="out_of_range")


@pytest.mark.parametrize("seconds_more, good", [(-60, True), (60, False)])
def test_400_days_back(user, seconds_more, good):
    answer = send_time(user, days_ago(400, seconds=seconds_more).isoformat())
    if good:
        assert answer.status == 201, answer
    else:
        assert_invalid(answer, timestamp="out_of_range")


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_far_times(user, text):
    assert_invalid(send_time(user, text), timestamp="out_of_range")
