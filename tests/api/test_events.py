# SPDX-License-Identifier: Apache-2.0
"""POST /analytics/events: its fields, their bounds, and what is stored."""
import datetime
import json
import re
import uuid

import pytest

from env.problems import assert_invalid, assert_problem

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$")
UTC = datetime.timezone.utc


def event(**fields):
    fields = {"type": "api_call", "value": 1, "user_id": "customer-7", **fields}
    return {name: value for name, value in fields.items() if value is not ...}


def send(user, **fields):
    return user.post("/analytics/events", event(**fields))


def parse(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def stored(stack, user, id):
    """The row as {column: value}."""
    names = ["occurred_at", "id", "type", "value", "user_id", "metadata", "received_at"]
    rows = stack.postgres.query(
        f"SELECT {', '.join(names)} FROM events WHERE workspace_id = %s AND id = %s", user.workspace, id)
    assert len(rows) == 1
    return dict(zip(names, rows[0]))


def test_answer(user):
    before = datetime.datetime.now(UTC)
    answer = send(user)
    after = datetime.datetime.now(UTC)
    assert answer.status == 201
    body = answer.json()
    assert set(body) == {"status", "id", "timestamp"}
    assert body["status"] == "recorded"
    assert uuid.UUID(body["id"]).version == 7
    assert TIME.match(body["timestamp"])
    assert before <= parse(body["timestamp"]) <= after


def test_everything_is_stored(stack, user):
    now = datetime.datetime.now(UTC).replace(microsecond=123456)
    time = (now - datetime.timedelta(days=3)).isoformat()
    metadata = {"model": "large", "tags": ["a", "b"], "n": 1, "nested": {"null": None, "true": True}}
    answer = send(user, id="evt-1", type="tool_execution", value=2.5, timestamp=time, metadata=metadata)
    assert answer.status == 201, answer
    assert parse(answer.json()["timestamp"]) == parse(time)
    row = stored(stack, user, "evt-1")
    assert (row["type"], float(row["value"]), row["user_id"]) == ("tool_execution", 2.5, "customer-7")
    assert row["occurred_at"] == parse(time)
    assert row["metadata"] == metadata


def test_acknowledged_is_durable_and_counted(stack, user):
    body = user.record(value=7)
    assert stored(stack, user, body["id"])["value"] == 7
    assert user.get("/analytics/metrics").json()["total_metrics"] == 1


def test_below_the_prefix_too(user):
    assert user.post("/api/v1/analytics/events", event()).status == 201


def test_needs_a_token(client):
    assert_problem(client.post("/analytics/events", event()), 401)


def test_goes_to_the_personal_workspace(stack, user):
    user.record(id="mine")
    rows = stack.postgres.query("SELECT workspace_id FROM events WHERE id = 'mine' AND workspace_id = %s",
        user.workspace)
    assert rows == [(user.workspace,)]


@pytest.mark.parametrize("optional", ["metadata", "timestamp", "id"])
def test_null_is_absent(user, optional):
    assert send(user, **{optional: None}).status == 201


# ---- type ----

@pytest.mark.parametrize("type", [
    "api_call", "tool_execution", "cost", "session", "a", "z9", "a_b.c:d-e", "a" * 50, "a-", "a::", "a...",
    "x0123456789",
])
def test_good_types(stack, user, type):
    body = send(user, type=type).json()
    assert body["status"] == "recorded"
    assert stored(stack, user, body["id"])["type"] == type


@pytest.mark.parametrize("type, code", [
    ("A", "format"), ("aB", "format"), ("1a", "format"), ("_a", "format"), (".a", "format"), ("-a", "format"),
    (":a", "format"), ("a b", "format"), (" a", "format"), ("a ", "format"), ("a\n", "format"), ("a/b", "format"),
    ("é", "format"), ("aé", "format"), ("a\u0430", "format"), ("a" * 51, "format"), ("a\0", "nul_character"),
    ("", "too_short"), (1, "type"), (None, "type"), (["a"], "type"), (True, "type"), (..., "required"),
])
def test_bad_types(user, type, code):
    assert_invalid(send(user, type=type), type=code)


# ---- user_id ----

@pytest.mark.parametrize("user_id", [
    "u", "x" * 255, "é" * 255, "🙂" * 255, "a/b", "..", " ", "a\tb\nc", "\u200b", "null", "0", "{}", '"', "\\", "%00",
    "name@example.org", "'; DROP TABLE events; --", "\ufeff", "\uffff", "\U0010ffff",
])
def test_good_user_ids(stack, user, user_id):
    answer = send(user, user_id=user_id)
    assert answer.status == 201, answer
    assert stored(stack, user, answer.json()["id"])["user_id"] == user_id


@pytest.mark.parametrize("user_id, code", [
    ("", "too_short"), ("x" * 256, "too_long"), ("🙂" * 256, "too_long"), ("a\0b", "nul_character"), (7, "type"),
    (None, "type"), ({}, "type"), (False, "type"), (..., "required"),
])
def test_bad_user_ids(user, user_id, code):
    assert_invalid(send(user, user_id=user_id), user_id=code)


# ---- id ----

@pytest.mark.parametrize("id", ["1", "x" * 128, "é" * 128, "🙂" * 128, "a b", "a/b?c#d", "\n", "ID", "id"])
def test_good_ids(user, id):
    answer = send(user, id=id)
    assert answer.status == 201, answer
    assert answer.json()["id"] == id


@pytest.mark.parametrize("id, code", [
    ("", "too_short"), ("x" * 129, "too_long"), ("🙂" * 129, "too_long"), ("a\0b", "nul_character"), (1, "type"),
    ([], "type"), (True, "type"),
])
def test_bad_ids(user, id, code):
    assert_invalid(send(user, id=id), id=code)


# ---- metadata ----

def metadata_of(size):
    """An object of exactly this many bytes as compact JSON."""
    value = {"k": "x" * (size - len('{"k":""}'))}
    assert len(json.dumps(value, separators=(",", ":"))) == size
    return value


@pytest.mark.parametrize("size, good", [(2, True), (16 * 1024, True), (16 * 1024 + 1, False), (30 * 1024, False)])
def test_metadata_size(stack, user, size, good):
    metadata = metadata_of(size) if size > 2 else {}
    answer = send(user, metadata=metadata)
    if good:
        assert answer.status == 201, answer
        assert stored(stack, user, answer.json()["id"])["metadata"] == metadata
    else:
        assert_invalid(answer, metadata="too_long")


def test_metadata_size_counts_neither_blanks_nor_escapes(user):
    """What counts is the compact text: 16 KiB of it may have come in more bytes."""
    text = json.dumps({**event(), "metadata": {"k": "é" * 5000}}, ensure_ascii=True, indent=4)
    assert 16 * 1024 < len(text) < 32 * 1024
    answer = user.post("/analytics/events", data=text)
    assert answer.status == 201, answer


def test_metadata_size_counts_bytes(user):
    assert send(user, metadata={"k": "é" * 8188}).status == 201
    assert_invalid(send(user, metadata={"k": "é" * 8189}), metadata="too_long")


@pytest.mark.parametrize("metadata", ["text", 1, 0.5, True, [], [1], ""])
def test_metadata_must_be_an_object(user, metadata):
    assert_invalid(send(user, metadata=metadata), metadata="type")


@pytest.mark.parametrize("metadata", [{"k": "a\0b"}, {"k": [{"x": "\0"}]}, {"k": {"k": {"k": ["", "\0"]}}}])
def test_metadata_with_nul(user, metadata):
    assert_invalid(send(user, metadata=metadata), metadata="nul_character")


@pytest.mark.parametrize("metadata", [
    {"": "empty name"}, {"é": "ü", "李": "🙂"}, {"a b": "\u2028\u2029"}, {"quote\"": "back\\slash / </script>"},
    {"control": "\x01\x1f\x7f\t\n"}, {"big": 12345678901234567890}, {"text": "\\u0000"}, {"$1": "'; --"},
    {"deep": [[[[[[[[[[{"x": 1}]]]]]]]]]]}, {"__proto__": {"x": 1}},
])
def test_metadata_is_kept_faithfully(stack, user, metadata):
    answer = send(user, metadata=metadata)
    assert answer.status == 201, answer
    assert stored(stack, user, answer.json()["id"])["metadata"] == metadata


@pytest.mark.parametrize("number", ["0.1", "1e308", "-0.25", "123456789.123456789", "1E-7", "18446744073709551615"])
def test_numbers_in_metadata_are_decimals(stack, user, number):
    text = json.dumps(event(id="n")).replace("}", ', "metadata": {"n": %s}}' % number)
    assert user.post("/analytics/events", data=text).status == 201
    same = stack.postgres.value(
        "SELECT (metadata->>'n')::numeric = %s::numeric FROM events WHERE workspace_id = %s AND id = 'n'",
        number, user.workspace)
    assert same is True


# ---- the whole ----

def test_all_wrong_fields_at_once(user):
    body = {"type": "X", "value": "1", "metadata": [], "timestamp": "now", "id": "", "extra": 1, "ts": 2}
    assert_invalid(user.post("/analytics/events", body), type="format", value="type", user_id="required",
                   metadata="type", timestamp="format", id="too_short", extra="unknown_field", ts="unknown_field")


@pytest.mark.parametrize("body", ["null", '"x"', "1", "true"])
def test_body_that_is_no_object(user, body):
    assert_invalid(user.post("/analytics/events", data=body), body="type")


@pytest.mark.parametrize("size, status", [(32 * 1024, 201), (32 * 1024 + 1, 413)])
def test_body_size(user, size, status):
    answer = user.post("/analytics/events", data=json.dumps(event()).ljust(size))
    assert answer.status == status, answer


def test_body_in_chunks(user):
    def pieces():
        for character in json.dumps(event(id="chunked")):
            yield character.encode()

    answer = user.client.session.post(
        user.stack.url + "/analytics/events", data=pieces(),
        headers={"Authorization": f"Bearer {user.token}", "Content-Type": "application/json"})
    assert answer.status_code == 201, answer.text


def test_invalid_event_leaves_nothing(stack, user):
    assert_invalid(send(user, id="bad", value=None), value="type")
    assert stack.postgres.value("SELECT count(*) FROM event_ids WHERE workspace_id = %s", user.workspace) == 0
    assert send(user, id="bad").status == 201
