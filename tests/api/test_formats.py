# SPDX-License-Identifier: Apache-2.0
"""Many events in one request: as a JSON array, as NDJSON, and as the list that metrics/batch takes.

What is wrong with one event is that event's alone, in each of the forms.
"""
import json

import pytest

from env.problems import assert_invalid, assert_problem

EVENTS = "/analytics/events"
BATCH = "/analytics/metrics/batch"
NDJSON = {"Content-Type": "application/x-ndjson"}
KIB32 = 32 * 1024


def event(**fields):
    fields = {"type": "cost", "value": 1, "user_id": "u", **fields}
    return {name: value for name, value in fields.items() if value is not ...}


def as_array(user, texts):
    return user.post(EVENTS, data=b"[" + b",".join(texts) + b"]")


def as_lines(user, texts):
    return user.post(EVENTS, data=b"\n".join(texts) + b"\n", headers=NDJSON)


def as_batch(user, texts):
    return user.post(BATCH, data=b'{"events":[' + b",".join(texts) + b"]}")


FORMS = {"array": as_array, "ndjson": as_lines, "batch": as_batch}


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


def send(user, form, *events):
    """Events are objects, or text (str or bytes) that stands in the place of one."""
    texts = [e if isinstance(e, (str, bytes)) else json.dumps(e, ensure_ascii=False) for e in events]
    return FORMS[form](user, [t if isinstance(t, bytes) else t.encode("utf-8", "surrogatepass") for t in texts])


def result(answer):
    """accepted, duplicates, and of the rejected {index: {field: code}}."""
    assert answer.status == 200, answer
    assert answer.media_type == "application/json"
    body = answer.json()
    assert list(body) == ["accepted", "duplicates", "rejected"]
    for item in body["rejected"]:
        assert list(item) == ["index", "errors"]
        assert item["errors"] and all(list(error) == ["field", "code", "message"] for error in item["errors"])
    indexes = [item["index"] for item in body["rejected"]]
    assert indexes == sorted(set(indexes))
    return body["accepted"], body["duplicates"], {
        item["index"]: {error["field"]: error["code"] for error in item["errors"]} for item in body["rejected"]}


def of_size(size, **fields):
    """The text of an event that has exactly this many bytes, blanks among them."""
    text = json.dumps(event(**fields))
    return text[:-1] + " " * (size - len(text)) + "}"


# ---- good ones ----

def test_all_forms_record_the_same(stack, user):
    """Each kind of field, in each form, comes out of the database as it went in."""
    for form in FORMS:
        events = [
            event(id=f"{form}-0"),
            event(id=f"{form}-1", type="x.y:z-1", value=0.1, user_id="é🙂", metadata={"k": [1, None, {"ü": "\n"}]}),
            event(id=f"{form}-2", value=-2.5e3, metadata={}, timestamp=None),
        ]
        assert result(send(user, form, *events)) == (3, 0, {})
        rows = stack.postgres.query(
            "SELECT type, value::text, user_id, metadata FROM events WHERE workspace_id = %s AND id LIKE %s ORDER BY id",
            user.workspace, form + "-%")
        assert rows == [("cost", "1", "u", None), ("x.y:z-1", "0.1", "é🙂", {"k": [1, None, {"ü": "\n"}]}),
                        ("cost", "-2500.0", "u", {})]
    assert user.get("/analytics/metrics").json()["total_metrics"] == 3 * len(FORMS)


def test_without_ids_each_counts(user, form):
    assert result(send(user, form, *[event()] * 5)) == (5, 0, {})
    assert result(send(user, form, *[event()] * 5)) == (5, 0, {})
    assert user.get("/analytics/metrics").json()["total_metrics"] == 10


@pytest.mark.parametrize("count", [1, 2, 10000])
def test_counts(user, form, count):
    assert result(send(user, form, *[event(user_id=f"u{n % 7}") for n in range(count)])) == (count, 0, {})
    assert user.get("/analytics/metrics").json()["total_metrics"] == count


def test_one_more_than_may_come(user, form):
    answer = send(user, form, *[event()] * 10001)
    assert_invalid(answer, **{"events" if form == "batch" else "body": "too_long"})
    assert user.get("/analytics/metrics").json()["total_metrics"] == 0


def test_none(user, form):
    assert_invalid(send(user, form), **{"events" if form == "batch" else "body": "too_short"})


def test_a_token_is_needed(client, form):
    assert_problem(send(client, form, event()), 401)


def test_below_the_prefix_too(user):
    answer = user.post("/api/v1" + EVENTS, data=json.dumps(event()) + "\n", headers=NDJSON)
    assert result(answer) == (1, 0, {})
    assert result(user.post("/api/v1" + EVENTS, [event()])) == (1, 0, {})


# ---- one bad one among good ones ----

BAD = {
    "type": (event(type="Call"), {"type": "format"}),
    "value": (event(value="free"), {"value": "type"}),
    "long value": (json.dumps(event()).replace("1", "1" * 129), {"value": "too_long"}),
    "huge value": (json.dumps(event()).replace("1", "1e400"), {"value": "out_of_range"}),
    "missing": (event(user_id=...), {"user_id": "required"}),
    "several": ({"more": 1}, {"type": "required", "value": "required", "user_id": "required", "more": "unknown_field"}),
    "old": (event(timestamp="2001-01-01T00:00:00Z"), {"timestamp": "out_of_range"}),
    "early": (event(timestamp="2901-01-01T00:00:00Z"), {"timestamp": "out_of_range"}),
    "no time": (event(timestamp="noon"), {"timestamp": "format"}),
    "empty id": (event(id=""), {"id": "too_short"}),
    "long id": (event(id="é" * 129), {"id": "too_long"}),
    "nul": (event(user_id="a\0"), {"user_id": "nul_character"}),
    "metadata": (event(metadata={"k": "x" * 16384}), {"metadata": "too_long"}),
    "large": (of_size(KIB32 + 1), {"event": "too_long"}),
    "very large": (of_size(2_000_000), {"event": "too_long"}),
    "large and deep": ('{"a":' + "[" * 20000 + "]" * 20000 + "}", {"event": "too_long"}),
    "number": ("7", {"event": "type"}),
    "null": ("null", {"event": "type"}),
    "text": ('"x"', {"event": "type"}),
    "list": (json.dumps([event()]), {"event": "type"}),
    "deep": ('{"a":' + "[" * 32 + "]" * 32 + "}", {"event": "format"}),
    "very deep": ("[" * 3000 + "]" * 3000, {"event": "format"}),
    "half a pair": ('{"type":"\\ud800"}', {"event": "format"}),
    "other half": ('{"type":"\\udc00\\ud83d"}', {"event": "format"}),
    "nul in a name": ('{"a\\u0000b":1}', {"event": "format"}),
}
# Only lines are told apart before they are read; these spoil a list as a whole.
BAD_LINES = {
    "cut": '{"type":"cost","value":1,"user_id"',
    "not JSON": "nope",
    "comma": json.dumps(event()) + ",",
    "two": json.dumps(event()) + json.dumps(event()),
    "quotes": "{'type':'cost'}",
    "constant": '{"type":"cost","value":NaN,"user_id":"u"}',
    "bracket": "[",
    "tail": json.dumps(event()) + "}",
    "tab": '{"type":"co\tst"}',
    "utf-8": b'{"type":"\xff"}',
    "nul": b'{"type":"cost","value":1,"user_id":"u"}\0',
    "mark": "\ufeff" + json.dumps(event()),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_one_is_rejected_alone(user, form, name):
    bad, wrong = BAD[name]
    assert result(send(user, form, event(id="a"), bad, event(id="b"), event(id="a"))) == (2, 1, {1: wrong})
    assert user.get("/analytics/metrics").json()["total_metrics"] == 2


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_malformed_line_is_rejected_alone(user, name):
    answer = send(user, "ndjson", event(), BAD_LINES[name], event(), BAD_LINES[name])
    assert result(answer) == (2, 0, {1: {"event": "format"}, 3: {"event": "format"}})
    assert all("at byte " in item["errors"][0]["message"] for item in answer.json()["rejected"])
    assert user.get("/analytics/metrics").json()["total_metrics"] == 2


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_malformed_list_is_refused_as_a_whole(user, name):
    answer = send(user, "array", event(), BAD_LINES[name], event())
    assert "at byte " in assert_problem(answer, 400)["detail"]
    assert user.get("/analytics/metrics").json()["total_metrics"] == 0


@pytest.mark.parametrize("data", ["[", "[{}", "[{},", "[{},]", "[,{}]", "[{},,{}]", "[{} {}]", "[{}]]", "[{}] x", "[{}][{}]",
    "[{}};", "[nope]", "[{]", "[\f]", "[\"\t\"]"])
def test_malformed_lists(user, data):
    assert "at byte " in assert_problem(user.post(EVENTS, data=data), 400)["detail"]


@pytest.mark.parametrize("data", ["[{}]", " [ {} ] ", "\r\n\t[\n{}\n]\n"])
def test_an_array_is_known_by_its_bracket(user, data):
    assert result(user.post(EVENTS, data=data))[2].keys() == {0}


def test_all_bad(user, form):
    accepted, duplicates, rejected = result(send(user, form, *[event(value=None)] * 10000))
    assert (accepted, duplicates) == (0, 0)
    assert rejected == {n: {"value": "type"} for n in range(10000)}


def test_good_bad_and_duplicate_add_up(user, form):
    user.record(id="old")
    kinds = [lambda n: event(id=f"n{n}"), lambda n: event(id="old"), lambda n: event(value="x"), lambda n: "7"]
    accepted, duplicates, rejected = result(send(user, form, *[kinds[n % 4](n) for n in range(4000)]))
    assert (accepted, duplicates) == (1000, 1000)
    assert sorted(rejected) == [n for n in range(4000) if n % 4 > 1]
    assert user.get("/analytics/metrics").json()["total_metrics"] == 1001


def test_what_only_the_database_refuses_stands_in_its_place(make_stack):
    """It is found last and told in the order of the request."""
    stack = make_stack()
    stack.postgres.query("ALTER TABLE events ADD CHECK (user_id <> 'nobody')")
    for form in FORMS:
        user = stack.new_user()
        events = [event(type="X"), event(user_id="nobody"), event(), event(value=None), event(user_id="nobody")]
        accepted, duplicates, rejected = result(send(user, form, *events))
        assert (accepted, duplicates) == (1, 0)
        assert rejected == {0: {"type": "format"}, 1: {"event": "refused"}, 3: {"value": "type"}, 4: {"event": "refused"}}
        assert user.get("/analytics/metrics").json()["total_metrics"] == 1
    assert_invalid(user.post(EVENTS, event(user_id="nobody")), body="refused")


def test_further_errors_are_told_of_the_first_hundreds(user, form):
    """Each event's first error is always there."""
    _, _, rejected = result(send(user, form, *["{}"] * 10000))
    assert sorted(rejected) == list(range(10000))
    assert [len(rejected[n]) for n in (0, 499, 500, 9999)] == [3, 3, 1, 1]
    assert set(rejected[9999]) == {"type"}


# ---- sizes ----

def test_an_event_of_the_largest_size(user, form):
    assert result(send(user, form, of_size(KIB32), event())) == (2, 0, {})


@pytest.mark.parametrize("size, status", [(KIB32, 201), (KIB32 + 1, 413)])
def test_one_event_alone(user, size, status):
    answer = user.post(EVENTS, data=of_size(size))
    assert answer.status == status, answer


@pytest.mark.parametrize("form", ["array", "ndjson"])
@pytest.mark.parametrize("size, status", [(5 * 1024 * 1024, 200), (5 * 1024 * 1024 + 1, 413)])
def test_body(user, form, size, status):
    data = {"array": json.dumps([event()]).ljust(size), "ndjson": ("\n" + json.dumps(event())).rjust(size)}[form]
    assert len(data) == size
    answer = user.post(EVENTS, data=data, headers=NDJSON if form == "ndjson" else None)
    assert answer.status == status, answer


def test_a_body_of_the_largest_events(user, form):
    texts = [of_size(KIB32, id=f"{n}", metadata={"k": "x" * 16000}) for n in range(159)]
    assert result(send(user, form, *texts)) == (159, 0, {})


# ---- lines ----

def lines(user, data):
    return result(user.post(EVENTS, data=data, headers=NDJSON))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n", "\n \t\r\n", " \n", "\t\r\n"])
def test_ends_of_lines(user, end):
    text = json.dumps(event())
    assert lines(user, end.join([text, "{", text]) + end) == (2, 0, {1: {"event": "format"}})


@pytest.mark.parametrize("before", ["", "\n", "\r\n", "\n\n \n", "  "])
def test_the_last_line_needs_no_end(user, before):
    assert lines(user, before + json.dumps(event())) == (1, 0, {})


def test_lines_are_counted_without_the_blank_ones(user):
    data = "\n\n{}\n \n" + json.dumps(event()) + "\r\n\r\n\t\nx\n\n"
    accepted, _, rejected = lines(user, data)
    assert (accepted, sorted(rejected)) == (1, [0, 2])


@pytest.mark.parametrize("data", ["", "\n", "\r\n", " ", "\n\n\n", " \n\t\n\r\n"])
def test_nothing_but_blanks(user, data):
    assert_invalid(user.post(EVENTS, data=data, headers=NDJSON), body="too_short")


def test_an_event_over_several_lines_is_none(user):
    data = json.dumps(event(), indent=1)
    accepted, _, rejected = lines(user, data)
    assert accepted == 0
    assert len(rejected) == len(data.split("\n"))


def test_a_carriage_return_alone_parts_nothing(user):
    text = json.dumps(event())
    assert lines(user, text + "\r" + text)[2] == {0: {"event": "format"}}


def test_ten_thousand_blank_lines_are_no_events(user):
    assert lines(user, "\n" * 1_000_000 + json.dumps(event()) + "\n" * 1_000_000) == (1, 0, {})


# ---- ids and media types ----

@pytest.mark.parametrize("first", FORMS)
@pytest.mark.parametrize("second", FORMS)
def test_an_id_counts_once_across_forms(user, first, second):
    assert result(send(user, first, event(id="a"), event(id="b"))) == (2, 0, {})
    assert result(send(user, second, event(id="b"), event(id="c"), event(id="c"))) == (1, 2, {})
    assert user.post(EVENTS, event(id="a")).status == 200
    assert user.get("/analytics/costs").json()["total_cost"] == 3


def test_ids_that_are_made_are_uuids_and_differ(stack, user, form):
    assert result(send(user, form, *[event()] * 1000)) == (1000, 0, {})
    rows = stack.postgres.query("SELECT id FROM events WHERE workspace_id = %s", user.workspace)
    assert len({id for id, in rows}) == 1000
    assert all(len(id) == 36 and id[14] == "7" for id, in rows)


@pytest.mark.parametrize("media_type", ["application/x-ndjson", "Application/X-NDJSON", "application/x-ndjson; charset=utf-8",
    "application/x-ndjson;x=y"])
def test_media_types_that_are_ndjson(user, media_type):
    answer = user.post(EVENTS, data=json.dumps(event()), headers={"Content-Type": media_type})
    assert result(answer) == (1, 0, {})


@pytest.mark.parametrize("media_type", ["application/ndjson", "application/x-ndjsonx", "application/json-seq", "text/plain",
    "application/cloudevents", "application/cloudevents+xml", "application/cloudevents+jsonx",
    "application/cloudevents-batch", "application/cloudevents+avro", None])
def test_415_lists_what_is_taken(user, media_type):
    answer = user.post(EVENTS, data=json.dumps(event()), headers={"Content-Type": media_type})
    detail = assert_problem(answer, 415)["detail"]
    for taken in ("application/json", "application/x-ndjson", "application/cloudevents+json",
                  "application/cloudevents-batch+json", "ce-"):
        assert taken in detail


@pytest.mark.parametrize("media_type", ["application/x-ndjson", "application/cloudevents+json"])
def test_the_batch_route_takes_json_alone(user, media_type):
    answer = user.post(BATCH, {"events": [event()]}, headers={"Content-Type": media_type})
    assert "application/json." in assert_problem(answer, 415)["detail"]


def test_no_encoding_in_any_form(user):
    for media_type in ("application/json", "application/x-ndjson", "application/cloudevents+json"):
        answer = user.post(EVENTS, data="{}", headers={"Content-Type": media_type, "Content-Encoding": "gzip"})
        assert "Content-Encoding" in assert_problem(answer, 415)["detail"]
    answer = user.post(EVENTS, data=json.dumps(event()), headers={**NDJSON, "Content-Encoding": "identity"})
    assert result(answer) == (1, 0, {})
