# SPDX-License-Identifier: Apache-2.0
"""Raw events in pages: GET /analytics/events/date-range and /analytics/users/{user_id}/events."""
import base64
import datetime
import json
import threading
import urllib.parse
from decimal import Decimal

import pytest

from env.problems import assert_invalid, assert_problem
from env.wait import TOP
from model import DAY, UTC, parse_time
from raw_events import (
    ODD_TEXTS, Row, as_item, format_time, generate, insert, newest_first, random_rows, walk, without_receipt)

PATH = "/analytics/events/date-range"
MEMBERS = {"id", "type", "value", "user_id", "metadata", "timestamp", "received_at"}


def of_user(user_id):
    return f"/analytics/users/{urllib.parse.quote(user_id, safe='')}/events"


def noon(days_ago=0):
    now = datetime.datetime.now(UTC)
    return now.replace(hour=12, minute=0, second=0, microsecond=0) - days_ago * DAY


def days_ago(days):
    return (datetime.datetime.now(UTC) - days * DAY).date()


# ---- what an answer is ----

@pytest.mark.parametrize("path", [PATH, of_user("u")])
def test_of_nothing(user, path):
    answer = user.get(path)
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert answer.media_type == "application/json"
    body = answer.json()
    assert body == {"items": [], "next_cursor": None, "period_start": f"{days_ago(6)}T00:00:00Z",
                    "period_end": f"{days_ago(-1)}T00:00:00Z"}


@pytest.mark.parametrize("path", [PATH, of_user("u")])
def test_as_recorded(user, path):
    metadata = {"a": [1, 2.50, {"b": None}], "text": "quote\" back\\slash \n\t\u0001\u007f é李🙂", "": "",
        "big": 12345678901234567890}
    time = noon(20).strftime("%Y-%m-%dT%H:%M:%S+02:00")
    sent = user.record("page.view", 1.25, "u", id="evt-1", metadata=metadata, timestamp=time)
    body = user.get(path, params={"days": 400}).json()
    assert user.get("/api/v1" + path, params={"days": 400}).json() == body
    item = body["items"][0]
    assert set(item) == MEMBERS
    assert item["timestamp"] == sent["timestamp"]
    received = parse_time(item.pop("received_at"))
    assert abs(received - datetime.datetime.now(UTC)) < datetime.timedelta(minutes=5)
    assert item == {"id": "evt-1", "type": "page.view", "value": Decimal("1.25"), "user_id": "u", "metadata": metadata,
                    "timestamp": format_time(noon(20) - datetime.timedelta(hours=2))}


def test_event_is_there_once_it_is_acknowledged(user):
    for n in range(10):
        user.record(id=f"{n}")
        assert user.get(PATH, params={"limit": 1}).json()["items"][0]["id"] == f"{n}"


@pytest.mark.parametrize("value", [
    "0", "-0", "0.1", "1.50", "100", "1e2", "-12.5e-3", "12345678901234567890.123456789", "0.10000000000000000001",
    "1e308",
    "5e-324", "-1.7976931348623157e308", "9007199254740993",
])
def test_values_are_exact(user, value):
    answer = user.post("/analytics/events", data='{"type": "x", "user_id": "u", "value": %s}' % value)
    assert answer.status == 201, answer
    answer = user.get(PATH)
    told = json.loads(answer.text, parse_float=Decimal, parse_int=Decimal)["items"][0]["value"]
    assert told == Decimal(value)
    assert "E" not in answer.text.partition('"value":')[2].partition(",")[0], "digits, whatever the reader"


def test_metadata_is_null_where_none_was_sent(user):
    user.record()
    assert user.get(PATH).json()["items"][0]["metadata"] is None


# ---- order and pages ----

@pytest.mark.parametrize("limit", [1, 7, 100, 1000])
def test_walks_over_random_events(user, limit):
    rows = insert(user.stack.postgres, user.workspace, random_rows(90 if limit == 1 else 700, seed=limit))
    items, pages = walk(user, PATH, {"days": 30, "limit": limit})
    assert without_receipt(items) == [as_item(row) for row in newest_first(rows)]
    assert pages == max(1, -(-len(rows) // limit))
    for user_id in sorted({row.user_id for row in rows})[:10]:
        mine = [as_item(row) for row in newest_first(rows) if row.user_id == user_id]
        assert without_receipt(walk(user, of_user(user_id), {"days": 30, "limit": limit})[0]) == mine
        assert without_receipt(walk(user, PATH, {"days": 30, "limit": limit, "user_id": user_id})[0]) == mine


@pytest.mark.parametrize("limit", [1, 3, 50])
@pytest.mark.parametrize("path", [PATH, of_user("u")])
def test_many_events_at_one_time(user, path, limit):
    """Only the id parts them, byte by byte."""
    rows = [Row(noon(1), text, "x", Decimal(n), "u", None) for n, text in enumerate(ODD_TEXTS)]
    insert(user.stack.postgres, user.workspace, rows)
    items, _ = walk(user, path, {"limit": limit})
    assert without_receipt(items) == [as_item(row) for row in newest_first(rows)]


def test_longest_ids_fit_into_cursors(user):
    rows = [Row(noon(1), "🙂" * 127 + str(n), "x", Decimal(n), "u", None) for n in range(5)]
    insert(user.stack.postgres, user.workspace, rows)
    items, pages = walk(user, PATH, {"limit": 1})
    assert [item["id"] for item in items] == [row.id for row in newest_first(rows)]
    assert pages == 5


def test_default_page_has_100(user):
    generate(user.stack.postgres, user.workspace, 101, days=1)
    body = user.get(PATH).json()
    assert len(body["items"]) == 100
    assert body["next_cursor"]


@pytest.mark.parametrize("path", [PATH, of_user("u")])
def test_walk_while_events_arrive(stack, user, path):
    """What was there is told once, whatever comes before, between and after it meanwhile."""
    before = [Row(noon(1) + datetime.timedelta(milliseconds=n // 3), f"old-{n}", "x", Decimal(n), "u", None)
              for n in range(600)]
    insert(stack.postgres, user.workspace, before)
    over = threading.Event()
    sent = set()

    def record():
        client = stack.new_client(user.token)
        number = 0
        while not over.is_set() and number < 20000:
            batch = []
            for _ in range(20):
                number += 1
                time = noon(1) + datetime.timedelta(milliseconds=number % 230, microseconds=number % 7)
                batch.append({"id": f"new-{number}", "type": "x", "value": 1, "user_id": "u",
                              "timestamp": format_time(time)})
            answer = client.post("/analytics/metrics/batch", {"events": batch})
            assert answer.json()["accepted"] == 20, answer
            sent.update(event["id"] for event in batch)
        client.close()

    thread = threading.Thread(target=record)
    thread.start()
    try:
        for _ in range(5):
            items, _ = walk(user, path, {"days": 3, "limit": 17})
            ids = [item["id"] for item in items]
            assert len(ids) == len(set(ids))
            assert {row.id for row in before} <= set(ids)
            keys = [(parse_time(item["timestamp"]), item["id"].encode()) for item in items]
            assert keys == sorted(keys, reverse=True)
    finally:
        over.set()
        thread.join()
    assert sent, "nothing came meanwhile"
    items, _ = walk(user, path, {"days": 3, "limit": 1000})
    assert {item["id"] for item in items} == sent | {row.id for row in before}


# ---- the period ----

SECOND = datetime.timedelta(seconds=1)
TICK = datetime.timedelta(microseconds=1)


@pytest.fixture
def around_midnight(user):
    """One event on each side of each bound that a test names."""
    midnight = noon(3).replace(hour=0)
    times = [midnight - TICK, midnight, midnight + TICK, midnight + DAY / 2, midnight + DAY - TICK, midnight + DAY]
    rows = [Row(time, f"{n}", "x", Decimal(1), "u", None) for n, time in enumerate(times)]
    insert(user.stack.postgres, user.workspace, rows)
    user.midnight = midnight
    return user


@pytest.mark.parametrize("path", [PATH, of_user("u")])
@pytest.mark.parametrize("start, end, ids", [
    ("date", "date", "1234"), ("date", None, "12345"), ("time", "time+day", "1234"), ("time", "time+day+tick", "12345"),
    ("time+tick", "time+day", "234"), ("time-tick", "time+tick", "01"), ("time", "time+tick", "1"),
    ("zone", "date", "1234"),
])
def test_bounds(around_midnight, path, start, end, ids):
    user = around_midnight
    shifts = {"tick": TICK, "day": DAY}

    def text(word):
        if word in (None, "date"):
            return word and user.midnight.date().isoformat()
        if word == "zone":
            return (user.midnight + datetime.timedelta(hours=5, minutes=30)).strftime("%Y-%m-%dT%H:%M:%S+05:30")
        time = user.midnight
        for part in word.replace("-", "+-").split("+")[1:]:
            time += -shifts[part[1:]] if part[0] == "-" else shifts[part]
        return format_time(time)

    params = {name: value for name, value in (("start", text(start)), ("end", text(end))) if value}
    body = user.get(path, params=params).json()
    assert "".join(item["id"] for item in body["items"]) == ids[::-1]
    if end == "date":
        assert body["period_end"] == format_time(user.midnight + DAY)
    if end is None:
        assert body["period_end"] == f"{days_ago(-1)}T00:00:00Z"
    if start != "time+tick" and start != "time-tick":
        assert body["period_start"] == format_time(user.midnight)


@pytest.mark.parametrize("query, days", [({}, 7), ({"days": 1}, 1), ({"days": 400}, 400)])
def test_days(user, query, days):
    body = user.get(PATH, params=query).json()
    assert body["period_start"] == f"{days_ago(days - 1)}T00:00:00Z"
    assert body["period_end"] == f"{days_ago(-1)}T00:00:00Z"


def test_longest_span(user):
    assert user.get(PATH, params={"start": "2026-01-01", "end": "2027-02-04"}).status == 200
    assert_invalid(user.get(PATH, params={"start": "2026-01-01", "end": "2027-02-05"}), start="out_of_range")
    assert user.get(PATH, params={"start": "0001-01-01", "end": "0001-01-02"}).status == 200
    assert user.get(PATH, params={"start": "9999-12-29", "end": "9999-12-30"}).status == 200


BAD = [
    ("days=0", {"days": "out_of_range"}), ("days=401", {"days": "out_of_range"}), ("days=x", {"days": "type"}),
    ("days=7&start=2026-01-01", {"days": "conflict"}), ("days=7&end=2026-01-01", {"days": "conflict"}),
    ("end=2026-01-01", {"start": "required"}), ("start=2026-01-02&end=2026-01-01", {"end": "out_of_range"}),
    ("start=2026-01-01T00:00:00Z&end=2026-01-01T00:00:00Z", {"end": "out_of_range"}),
    ("start=9998-01-01", {"start": "out_of_range"}),
    ("start=2025-01-01&end=2026-06-01", {"start": "out_of_range"}), ("start=2020-01-01", {"start": "out_of_range"}),
    ("start=9999-12-30&end=9999-12-31", {"end": "out_of_range"}),
    ("start=0001-01-01T00:00:00%2B01:00&end=0001-02-01", {"start": "out_of_range"}),
    ("start=yesterday", {"start": "format"}), ("start=2026-02-30", {"start": "format"}),
    ("start=2026-01-01T00:00:00", {"start": "format"}),
    ("start=2026-01-01&end=2026-1-2", {"end": "format"}), ("start=", {"start": "format"}),
    ("start=1767225600", {"start": "format"}),
    ("start=2026-01-01&start=2026-01-01", {"start": "repeated"}),
    ("type=", {"type": "too_short"}), ("type=A", {"type": "format"}), ("type=1x", {"type": "format"}),
    ("type=" + "a" * 51, {"type": "format"}),
    ("type=a&type=b", {"type": "repeated"}),
    ("metadata.=1", {"metadata.": "unknown_field"}), ("metadata=1", {"metadata": "unknown_field"}),
    ("Metadata.a=1", {"Metadata.a": "unknown_field"}),
    ("metadata.a=1&metadata.a=2", {"metadata.a": "repeated"}),
    ("metadata." + "k" * 65 + "=1", {"metadata": "too_long"}),
    ("metadata.a=" + "v" * 257, {"metadata.a": "too_long"}),
    ("&".join(f"metadata.k{n}=1" for n in range(6)), {"metadata": "too_long"}),
    ("offset=1", {"offset": "unknown_field"}), ("value=1", {"value": "unknown_field"}),
]
BAD_PAGES = [
    ("limit=0", {"limit": "out_of_range"}), ("limit=1001", {"limit": "out_of_range"}), ("limit=x", {"limit": "type"}),
    ("limit=-1", {"limit": "out_of_range"}), ("cursor=", {"cursor": "too_short"}),
    ("limit=1&limit=2", {"limit": "repeated"}),
    ("days=0&limit=0&type=A&metadata.a=" + "v" * 257 + "&y=",
    {"days": "out_of_range", "limit": "out_of_range", "type": "format",
    "metadata.a": "too_long", "y": "unknown_field"}),
    ("end=2026-01-01&metadata." + "k" * 65 + "=1", {"start": "required", "metadata": "too_long"}),
]


@pytest.mark.parametrize("path", [PATH, of_user("u")])
@pytest.mark.parametrize("query, wrong", BAD + BAD_PAGES)
def test_bad_queries(user, path, query, wrong):
    assert_invalid(user.get(f"{path}?{query}"), **wrong)


def test_user_is_no_parameter_where_it_is_in_the_path(user):
    assert_invalid(user.get(of_user("u") + "?user_id=u"), user_id="unknown_field")
    assert_invalid(user.get(PATH + "?user_id="), user_id="too_short")
    assert_invalid(user.get(PATH, params={"user_id": "x" * 256}), user_id="too_long")
    assert_invalid(user.get(of_user("x" * 256)), user_id="too_long")


@pytest.mark.parametrize("path", [PATH, of_user("u")])
def test_needs_a_token(client, path):
    assert_problem(client.get(path), 401)


# ---- filters ----

@pytest.fixture
def filtered(user):
    members = [None, {}, {"status": 200}, {"status": "200"}, {"status": 200.0}, {"status": 404, "region": "eu"},
               {"status": 200, "region": "eu"}, {"status": None}, {"status": True}, {"status": [1, 2]},
               {"status": {"a": 1}},
               {"status": ""}, {"nested": {"status": 200}}, {"a.b": "dotted"}, {"Status": 200}]
    user.rows = [
        Row(noon(1) + n * SECOND, f"{n}", "cost" if n % 2 else "api_call", Decimal(n), f"user-{n % 3}", metadata)
        for n, metadata in enumerate(members)]
    insert(user.stack.postgres, user.workspace, user.rows)
    return user


@pytest.mark.parametrize("params, matches", [
    ({"type": "cost"}, lambda r: r.type == "cost"),
    ({"user_id": "user-1"}, lambda r: r.user_id == "user-1"),
    ({"user_id": "user-1", "type": "cost"}, lambda r: r.user_id == "user-1" and r.type == "cost"),
    ({"user_id": "nobody"}, lambda r: False),
    ({"metadata.status": "200"}, lambda r: r.id in {"2", "3", "6"}),
    ({"metadata.status": "200.0"}, lambda r: r.id == "4"),
    ({"metadata.status": "200", "metadata.region": "eu"}, lambda r: r.id == "6"),
    ({"metadata.status": "200", "type": "api_call"}, lambda r: r.id in {"2", "6"}),
    ({"metadata.status": "null"}, lambda r: False),
    ({"metadata.status": "true"}, lambda r: r.id == "8"),
    ({"metadata.status": "[1, 2]"}, lambda r: r.id == "9"),
    ({"metadata.status": '{"a": 1}'}, lambda r: r.id == "10"),
    ({"metadata.status": ""}, lambda r: r.id == "11"),
    ({"metadata.a.b": "dotted"}, lambda r: r.id == "13"),
    ({"metadata.a": "dotted"}, lambda r: False),
    ({"metadata.Status": "200"}, lambda r: r.id == "14"),
    ({f"metadata.k{n}": "1" for n in range(5)}, lambda r: False),
])
def test_filters(filtered, params, matches):
    expected = [as_item(row) for row in newest_first(filtered.rows) if matches(row)]
    for limit in (1, 100):
        assert without_receipt(walk(filtered, PATH, {**params, "limit": limit})[0]) == expected
    if "user_id" in params:
        path = of_user(params["user_id"])
        rest = {name: value for name, value in params.items() if name != "user_id"}
        assert without_receipt(walk(filtered, path, rest)[0]) == expected


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_any_text_as_member_value_and_user(user, text):
    key = text[:64]
    rows = [Row(noon(1), "yes", "x", Decimal(1), text, {key: text, "other": 1}),
            Row(noon(1), "no", "x", Decimal(1), text + "!", {key: text + "!"})]
    insert(user.stack.postgres, user.workspace, rows)
    expected = [as_item(rows[0])]
    assert without_receipt(user.get(PATH, params={f"metadata.{key}": text}).json()["items"]) == expected
    assert without_receipt(user.get(PATH, params={"user_id": text}).json()["items"]) == expected
    if text not in ("\\.", ":", "/*"):
        assert without_receipt(user.get(of_user(text)).json()["items"]) == expected


def test_longest_filters(user):
    key, value = "🙂" * 64, "李" * 256
    user.record(metadata={key: value}, user_id="é" * 255, type="a" * 50)
    params = {f"metadata.{key}": value, "user_id": "é" * 255, "type": "a" * 50}
    assert len(user.get(PATH, params=params).json()["items"]) == 1


# ---- pages that end before they are full ----

@pytest.fixture(scope="module")
def crowd(stack):
    """50,000 events of two users, one in 5,000 of which is rare."""
    user = stack.new_user()
    generate(stack.postgres, user.workspace, 50000, days=5, type="'x'",
             user="CASE WHEN n %% 2500 = 0 THEN 'seldom' ELSE 'often' END",
             metadata="jsonb_build_object('rare', n %% 5000 = 0, 'n', n)")
    return user


@pytest.mark.parametrize("path, params", [
    (PATH, {"metadata.rare": "true"}), (of_user("seldom"), {"metadata.rare": "true"}),
    (PATH, {"metadata.rare": "true", "user_id": "seldom"}),
])
@pytest.mark.parametrize("limit", [1, 3, 4, 100])
def test_a_filter_that_few_pass(crowd, path, params, limit):
    items, pages = walk(crowd, path, {**params, "days": 10, "limit": limit})
    assert [item["metadata"]["n"] for item in items] == list(range(5000, 50001, 5000))
    assert pages <= -(-10 // limit) + 3


def test_a_filter_that_none_pass(crowd):
    """Each page looks at 20,000 events at the most, and says where to go on."""
    cursor, seen = {}, []
    while cursor is not None:
        body = crowd.get(PATH, params={"type": "other", "days": 10, **cursor}).json()
        assert body["items"] == []
        seen.append(body["next_cursor"])
        cursor = {"cursor": body["next_cursor"]} if body["next_cursor"] else None
    assert len(seen) == 3
    assert seen[-1] is None


def test_a_page_that_ends_with_what_may_be_looked_at(crowd):
    """The 20,000th event is the last of a page both ways."""
    first = crowd.get(PATH, params={"metadata.n": "20000", "days": 10}).json()
    assert [item["metadata"]["n"] for item in first["items"]] == [20000]
    assert first["next_cursor"]
    again = crowd.get(PATH, params={"metadata.n": "20000", "days": 10, "cursor": first["next_cursor"]}).json()
    assert again["items"] == []


def test_a_page_of_exactly_all_events_has_no_cursor(user):
    generate(user.stack.postgres, user.workspace, 100, days=1)
    body = user.get(PATH, params={"limit": 100}).json()
    assert (len(body["items"]), body["next_cursor"]) == (100, None)


def test_metadata_that_grows(stack, user):
    """Numbers of five characters that are 300 digits when they are read: pages end early, or memory would fill."""
    metadata = '{"n": [%s]}' % ",".join(["1e300"] * 2700)
    for start in range(0, 120, 20):
        batch = ['{"type": "x", "value": 1, "user_id": "u", "id": "%03d", "metadata": %s}' % (n, metadata)
                 for n in range(start, start + 20)]
        answer = user.post("/analytics/metrics/batch", data='{"events": [%s]}' % ",".join(batch))
        assert answer.json()["accepted"] == 20, answer
    answer = user.get(PATH, params={"limit": 1000})
    assert answer.status == 200
    assert 8_000_000 < len(answer.body) < 10_000_000
    items, pages = walk(user, PATH, {"limit": 1000})
    assert sorted(item["id"] for item in items) == [f"{n:03}" for n in range(120)]
    assert all(item["metadata"] == {"n": [10 ** 300] * 2700} for item in items)
    assert pages > 5


# ---- cursors ----

def encode(text):
    return base64.urlsafe_b64encode(text if isinstance(text, bytes) else text.encode()).rstrip(b"=").decode()


def microseconds(time):
    return int(time.timestamp()) * 1000000 + time.microsecond


@pytest.mark.parametrize("cursor", [
    "x", "!!!", "a b", "====", encode("x"), encode(":u"), encode("abc:u"), encode("1"), encode("1:"), encode("-1:u"),
    encode("-:u"),
    encode("1.5:u"), encode("1e5:u"), encode("NaN:u"), encode(b"1:\xff"), encode(b"1:a\0b"), encode("1 OR 1=1:u"),
    encode("+1:u"),
    encode("0x1:u"), encode("1" * 19 + ":u"), encode("9" * 18 + ":u"), encode("253402300800000000:u"),
    encode("1:" + "x" * 513), "A" * 2000,
    encode("1767225600000000:u") + "=",
])
@pytest.mark.parametrize("path", [PATH, of_user("u")])
def test_cursors_that_are_none(user, path, cursor):
    problem = assert_problem(user.get(path, params={"cursor": cursor}), 422)
    assert [error["field"] for error in problem["errors"]] == ["cursor"]


def test_cursor_goes_with_its_period(user):
    rows = [Row(noon(n), f"{n}", "x", Decimal(1), "u", None) for n in range(1, 6)]
    insert(user.stack.postgres, user.workspace, rows)
    cursor = user.get(PATH, params={"limit": 2}).json()["next_cursor"]
    ids = [item["id"] for item in user.get(PATH, params={"days": 30, "cursor": cursor}).json()["items"]]
    assert ids == ["3", "4", "5"], "it is a place, whatever was asked"
    earlier = {"start": days_ago(5).isoformat(), "end": days_ago(4).isoformat(), "cursor": cursor}
    assert_invalid(user.get(PATH, params=earlier), cursor="format")


def test_cursor_from_before_the_period_ends_the_list(user):
    """A walk through the last days that goes on past midnight."""
    user.record()
    body = user.get(PATH, params={"days": 1, "cursor": encode(f"{microseconds(noon(3))}:x")}).json()
    assert (body["items"], body["next_cursor"]) == ([], None)


def test_cursor_tells_no_text_to_postgresql(user):
    """It is data there, whatever it holds."""
    user.record(id="a")
    for text in ODD_TEXTS:
        cursor = encode(f"{microseconds(datetime.datetime.now(UTC) + SECOND)}:{text}")
        answer = user.get(PATH, params={"cursor": cursor})
        assert [item["id"] for item in answer.json()["items"]] == ["a"]


# ---- other tenants ----

def test_tenants_with_the_same_ids_and_users(user, other):
    rows = random_rows(300, seed=5)
    insert(user.stack.postgres, user.workspace, rows)
    theirs = [row._replace(value=row.value + 100000) for row in rows]
    insert(user.stack.postgres, other.workspace, theirs)
    for path in (PATH, of_user("it's")):
        for person, own in ((user, rows), (other, theirs)):
            items, _ = walk(person, path, {"days": 30, "limit": 50})
            expected = [row for row in newest_first(own) if path == PATH or row.user_id == "it's"]
            assert without_receipt(items) == [as_item(row) for row in expected]


def test_cursor_of_another_tenant_gives_nothing_of_theirs(user, other):
    for n in range(4):
        other.record("x", n, "secret", id=f"secret-{n}")
    for path in (PATH, of_user("secret")):
        cursor = other.get(path, params={"limit": 1}).json()["next_cursor"]
        user.record("x", 1, "secret", timestamp=format_time(noon(1)), id=f"mine at {path}")
        mine = user.get(path, params={"cursor": cursor, "days": 30}).json()["items"]
        assert mine and all(item["id"].startswith("mine") for item in mine)


# ---- the statements ----

@pytest.mark.parametrize("all_users, one_user", [("listing", "listing_user"), ("export_end", "export_end_user")])
def test_statements_of_all_and_of_one_differ_in_the_user_alone(all_users, one_user):
    """Two, because one plan for both could not use the user's index for the one alone."""
    def lines(name):
        text = (TOP / "sql" / "queries" / f"{name}.sql").read_text()
        return [line for line in text.splitlines() if not line.startswith("--")]

    def without_user(line):
        return line.replace(" AND user_id = $10", "").replace(" AND user_id = $6", "")

    assert lines(all_users) == [without_user(line) for line in lines(one_user)]
    assert lines(all_users) != lines(one_user)


# ---- fields ----

@pytest.mark.parametrize("path", [PATH, of_user("u")])
def test_fields(user, path):
    for n in range(3):
        user.record(id=f"e{n}", value=1.5, metadata={"n": n})
    whole = user.get(path).json()
    answer = user.get(f"{path}?fields=items.id,items.metadata,next_cursor&limit=2")
    assert answer.json() == {"items": [{"id": item["id"], "metadata": item["metadata"]} for item in whole["items"][:2]],
                             "next_cursor": answer.json()["next_cursor"]}
    assert answer.json()["next_cursor"]
    assert_invalid(user.get(f"{path}?fields=items.colour"), fields="unknown_field")


def test_fields_of_what_nests_to_the_limit(user):
    """A list holds an event two levels deeper than it was sent."""
    deep = None
    for _ in range(30):
        deep = [deep]
    user.record(metadata={"deep": deep})
    assert user.get(PATH).json()["items"][0]["metadata"] == {"deep": deep}
    assert user.get(PATH + "?fields=items.metadata.deep").json() == {"items": [{"metadata": {"deep": deep}}]}


def test_fields_of_very_many_values(user):
    """More than a request may hold, for no tree of the answer is built."""
    events = [{"id": str(n), "type": "t", "value": 1, "user_id": "u", "metadata": {"a": [1] * 8000}} for n in range(70)]
    assert user.post("/analytics/metrics/batch", {"events": events}).json()["accepted"] == 70
    body = user.get(PATH + "?limit=1000&fields=items.id,next_cursor").json()
    assert sorted(item["id"] for item in body["items"]) == sorted(str(n) for n in range(70))
    assert body["next_cursor"] is None and set(body) == {"items", "next_cursor"}


def test_etag(user):
    user.record()
    first = user.get(PATH)
    same = user.get(PATH, headers={"If-None-Match": first.headers["ETag"]})
    assert (same.status, same.text) == (304, "")
    user.record()
    assert user.get(PATH, headers={"If-None-Match": first.headers["ETag"]}).status == 200
