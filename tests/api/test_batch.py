# SPDX-License-Identifier: Apache-2.0
"""POST /analytics/metrics/batch"""
import json

import pytest

from env.problems import assert_invalid, assert_problem

PATH = "/analytics/metrics/batch"


def event(**fields):
    fields = {"type": "cost", "value": 1, "user_id": "u", **fields}
    return {name: value for name, value in fields.items() if value is not ...}


def send(user, *events, path=PATH):
    return user.post(path, {"events": list(events)})


def accepted(answer):
    assert answer.status == 200, answer
    assert set(answer.json()) == {"accepted", "duplicates", "rejected"}
    return answer.json()["accepted"]


@pytest.mark.parametrize("count", [1, 2, 1000, 9999, 10000])
def test_sizes(user, count):
    answer = send(user, *[event(user_id=f"u{n}") for n in range(count)])
    assert answer.json() == {"accepted": count, "duplicates": 0, "rejected": []}
    assert user.get("/analytics/metrics").json()["total_metrics"] == count


def test_one_past_the_bound(user):
    assert_invalid(send(user, *[event()] * 10001), events="too_long")
    assert user.get("/analytics/metrics").json()["total_metrics"] == 0


def test_empty(user):
    assert_invalid(send(user), events="too_short")


def test_below_the_prefix_too(user):
    assert accepted(send(user, event(), path="/api/v1" + PATH)) == 1


def test_needs_a_token(client):
    assert_problem(client.post(PATH, {"events": [event()]}), 401)


BAD = {
    "type": (event(type="Call"), {"type": "format"}),
    "value": (event(value="free"), {"value": "type"}),
    "missing": (event(user_id=...), {"user_id": "required"}),
    "unknown": (event(extra=1), {"extra": "unknown_field"}),
    "time": (event(timestamp="yesterday"), {"timestamp": "format"}),
    "old": (event(timestamp="2001-01-01T00:00:00Z"), {"timestamp": "out_of_range"}),
    "metadata": (event(metadata={"k": "x" * 16384}), {"metadata": "too_long"}),
    "nul": (event(user_id="a\0"), {"user_id": "nul_character"}),
    "several": ({}, {"type": "required", "value": "required", "user_id": "required"}),
    "tiny": (event(id=""), {"id": "too_short"}),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_event_does_not_spoil_the_rest(user, name):
    bad, wrong = BAD[name]
    answer = send(user, event(), bad, event(), bad)
    assert accepted(answer) == 2
    rejected = answer.json()["rejected"]
    assert [item["index"] for item in rejected] == [1, 3]
    for item in rejected:
        assert set(item) == {"index", "errors"}
        assert {error["field"]: error["code"] for error in item["errors"]} == wrong
        assert all(set(error) == {"field", "code", "message"} for error in item["errors"])
    assert user.get("/analytics/metrics").json()["total_metrics"] == 2


@pytest.mark.parametrize("bad", [None, 1, "text", [], True, [event()]])
def test_what_is_no_object(user, bad):
    answer = send(user, event(), bad, event())
    assert accepted(answer) == 2
    assert [item["index"] for item in answer.json()["rejected"]] == [1]


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 400, "1e-400"])
def test_number_out_of_range_does_not_spoil_the_rest(user, number):
    """It is valid JSON (RFC 8259 section 6), so it is just one event that is not."""
    data = '{"events": [%s, {"type": "cost", "user_id": "u", "value": %s}, %s]}' % (
        json.dumps(event()), number, json.dumps(event()))
    answer = user.post(PATH, data=data)
    assert accepted(answer) == 2
    assert [item["index"] for item in answer.json()["rejected"]] == [1]


def test_what_only_the_database_refuses_does_not_spoil_the_rest(user):
    """More digits behind the point than PostgreSQL's numeric has, in a place that we do not judge."""
    data = '{"events": [%s, {"type": "cost", "user_id": "u", "value": 1, "metadata": {"n": 1e-20000}}, %s]}' % (
        json.dumps(event()), json.dumps(event()))
    answer = user.post(PATH, data=data)
    assert accepted(answer) == 2
    assert [item["index"] for item in answer.json()["rejected"]] == [1]
    assert user.get("/analytics/metrics").json()["total_metrics"] == 2


def test_all_bad(user):
    answer = send(user, *[event(value=None)] * 10000)
    assert accepted(answer) == 0
    assert [item["index"] for item in answer.json()["rejected"]] == list(range(10000))
    assert all(item["errors"][0]["field"] == "value" for item in answer.json()["rejected"])
    assert user.get("/analytics/metrics").json()["total_metrics"] == 0


def test_good_bad_and_duplicate_add_up(user):
    user.record(id="old")
    events = [event(id=f"n{n}") if n % 3 == 0 else event(id="old") if n % 3 == 1 else event(value="x") for n in range(300)]
    body = send(user, *events).json()
    assert (body["accepted"], body["duplicates"], len(body["rejected"])) == (100, 100, 100)
    assert [item["index"] for item in body["rejected"]] == list(range(2, 300, 3))


def test_each_event_is_stored_as_it_was_sent(stack, user):
    events = [event(id=f"e{n}", type=f"t{n % 5}", value=n / 4, user_id=f"ü{n % 7}",
        metadata={"n": n}) for n in range(200)]
    assert accepted(send(user, *events)) == 200
    rows = stack.postgres.query(
        "SELECT id, type, value, user_id, metadata FROM events WHERE workspace_id = %s", user.workspace)
    expected = {(e["id"], e["type"], float(e["value"]), e["user_id"], e["metadata"]["n"]) for e in events}
    assert {(i, t, float(v), u, m["n"]) for i, t, v, u, m in rows} == expected


@pytest.mark.parametrize("body, wrong", [
    ({}, {"events": "required"}),
    ({"events": None}, {"events": "type"}),
    ({"events": {}}, {"events": "type"}),
    ({"events": "x"}, {"events": "type"}),
    ({"events": 1}, {"events": "type"}),
    ({"events": [event()], "more": 1}, {"more": "unknown_field"}),
    ({"events": [event()], "more": [[]], "Events": {}}, {"more": "unknown_field", "Events": "unknown_field"}),
    ({"event": [event()]}, {"event": "unknown_field", "events": "required"}),
])
def test_wrong_bodies(user, body, wrong):
    assert_invalid(user.post(PATH, body), **wrong)


@pytest.mark.parametrize("data, count", [
    ('{"events": [], "events": [%s]}', 1),
    ('{"events": [%s, %s], "\\u0065vents": [%s]}', 1),
    (' {\n"events"\t: [ %s , %s ] } ', 2),
])
def test_of_a_repeated_name_the_last_value_counts(user, data, count):
    answer = user.post(PATH, data=data.replace("%s", json.dumps(event())))
    assert accepted(answer) == count


@pytest.mark.parametrize("data", ['{"events": [{}]', '{"events": [{},]}', '{"events": [{}]} x', '{"events": [{}], }',
    '{"events": [{}]]', '{"a\\ud800": 1, "events": [{}]}', '{"events": [{"type": nope}]}', '{"events": [{"type": "\t"}]}',
    '{"events\\u0000": 1, "events": [{}]}', '{"events": [{}], "\\u0000events": []}'])
def test_a_malformed_whole(user, data):
    assert "byte" in assert_problem(user.post(PATH, data=data), 400)["detail"]


@pytest.mark.parametrize("data", ["[]", "null", "1"])
def test_body_that_is_no_object(user, data):
    assert_invalid(user.post(PATH, data=data), body="type")


@pytest.mark.parametrize("size, status", [(5 * 1024 * 1024, 200), (5 * 1024 * 1024 + 1, 413)])
def test_body_size(user, size, status):
    answer = user.post(PATH, data=json.dumps({"events": [event()]}).ljust(size))
    assert answer.status == status, answer


def test_10000_events_of_the_largest_kind_are_more_than_a_body_holds(user):
    """So the limit on the body is what protects; as many as fit go through."""
    events = [event(id=f"{n}", metadata={"k": "x" * 16000}) for n in range(300)]
    assert accepted(send(user, *events)) == 300


@pytest.mark.parametrize("body", ["[]", "[1]", '[{"events": []}]', '["events", [{}]]', "[[[]]]", "7", '"x"', "null"])
def test_what_is_no_object(user, body):
    assert_invalid(user.post("/analytics/metrics/batch", data=body), body="type")


@pytest.mark.parametrize("body, byte", [("[1", 2), ("[1,]", 3), ('[1 2]', 3)])
def test_a_broken_list(user, body, byte):
    problem = assert_problem(user.post("/analytics/metrics/batch", data=body), 400)
    assert f"at byte {byte}," in problem["detail"]
