# SPDX-License-Identifier: Apache-2.0
"""CloudEvents 1.0 over HTTP: structured, binary and batch, as the protocol binding and the JSON format have them."""
import base64
import datetime
import hashlib
import json
import urllib.parse

import pytest

from env.problems import assert_invalid, assert_problem

PATH = "/analytics/events"
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
UTC = datetime.timezone.utc


def cloud_event(**attributes):
    attributes = {"specversion": "1.0", "id": "1", "source": "/tests", "type": "api_call", "subject": "customer-7", **attributes}
    return {name: value for name, value in attributes.items() if value is not ...}


def key(source, id):
    digest = hashlib.sha256(source.encode() + b"\0" + id.encode()).digest()
    return "ce:" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def encode(value):
    """As section 3.1.3.2 of the HTTP binding has it: all but printable ASCII, and the quote and the percent sign."""
    plain = "".join(map(chr, range(0x21, 0x7f))).replace('"', "").replace("%", "")
    return urllib.parse.quote(value, safe=plain)


def structured(user, event, content_type=STRUCTURED, **more):
    return user.post(PATH, data=json.dumps(event), headers={"Content-Type": content_type, **more})


def binary(user, event, **headers):
    event = dict(event)
    body = json.dumps(event.pop("data")) if "data" in event else ""
    all_headers = {"Content-Type": event.pop("datacontenttype", "application/json")}
    all_headers.update({f"ce-{name}": encode(value) for name, value in event.items()})
    return user.post(PATH, data=body, headers={**all_headers, **headers})


def batch(user, *events):
    return user.post(PATH, data=json.dumps(events), headers={"Content-Type": BATCH})


def in_batch(user, event):
    """As the only event of a batch, with an answer as if it had come alone."""
    return batch(user, event)


SINGLE = {"structured": structured, "binary": binary}


@pytest.fixture(params=SINGLE)
def single(request):
    """A mode for one event."""
    return SINGLE[request.param]


def told(answer):
    """{field: code} of an event that was not valid, sent alone or as the only one of a batch."""
    if answer.status == 200:
        body = answer.json()
        assert (body["accepted"], body["duplicates"], len(body["rejected"])) == (0, 0, 1), body
        errors = body["rejected"][0]["errors"]
    else:
        errors = assert_problem(answer, 422)["errors"]
    return {error["field"]: error["code"] for error in errors}


def row(stack, user):
    """The only event, as {column: value}."""
    names = ["id", "type", "value", "user_id", "metadata", "occurred_at"]
    rows = stack.postgres.query(f"SELECT {', '.join(names)} FROM events WHERE workspace_id = %s", user.workspace)
    assert len(rows) == 1, rows
    return dict(zip(names, rows[0]))


def total(user):
    return user.get("/analytics/metrics").json()["total_metrics"]


# ---- what becomes of an event ----

@pytest.mark.parametrize("send", [structured, binary, in_batch])
def test_everything_is_stored(stack, user, send):
    time = datetime.datetime.now(UTC).replace(microsecond=123456) - datetime.timedelta(days=3)
    data = {"value": 2.5, "model": "large", "nested": {"é": [1, None, "🙂"]}}
    event = cloud_event(id="ü-1", source="https://example.org/a b?c=%41#d", type="cost", subject="Kundin 7 €",
                        time=time.isoformat(), dataschema="https://example.org/schema", datacontenttype="application/json",
                        data=data, traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", comexample1="x")
    answer = send(user, event)
    id = key(event["source"], event["id"])
    if send is in_batch:
        assert answer.json() == {"accepted": 1, "duplicates": 0, "rejected": []}
    else:
        assert answer.status == 201, answer
        assert answer.json() == {"status": "recorded", "id": id, "timestamp": time.isoformat().replace("+00:00", "Z")}
    found = row(stack, user)
    assert (found["id"], found["type"], float(found["value"]), found["user_id"]) == (id, "cost", 2.5, "Kundin 7 €")
    assert found["metadata"] == data
    assert found["occurred_at"] == time


def test_the_least_there_can_be(stack, user, single):
    before = datetime.datetime.now(UTC)
    assert single(user, cloud_event()).status == 201
    found = row(stack, user)
    assert (found["value"], found["metadata"], found["user_id"]) == (1, None, "customer-7")
    assert before <= found["occurred_at"] <= datetime.datetime.now(UTC)


@pytest.mark.parametrize("data, value", [
    ({}, 1), ({"value": 0}, 0), ({"value": -7}, -7), ({"value": 0.25}, 0.25), ({"value": "5"}, 1), ({"value": None}, 1),
    ({"value": True}, 1), ({"value": [5]}, 1), ({"value": {"value": 5}}, 1), ({"Value": 5}, 1), ({"a": {"value": 5}}, 1),
])
def test_value(stack, user, single, data, value):
    assert single(user, cloud_event(data=data)).status == 201
    found = row(stack, user)
    assert found["value"] == value
    assert found["metadata"] == data


def test_value_is_the_decimal_that_was_sent(user):
    for n, value in enumerate(("0.1", "0.2", "123456789012345678901234567890.5")):
        data = json.dumps(cloud_event(id=str(n), type="cost", data={"value": 7})).replace("7}", value + "}")
        assert user.post(PATH, data=data, headers={"Content-Type": STRUCTURED}).status == 201
    assert "123456789012345678901234567890.8" in user.get("/analytics/costs").text


@pytest.mark.parametrize("value, code", [("1e400", "out_of_range"), ("1e-400", "out_of_range"), ("1" * 129, "too_long")])
def test_values_that_are_none(user, value, code):
    data = json.dumps(cloud_event(data={"value": 7})).replace("7}", value + "}")
    answer = user.post(PATH, data=data, headers={"Content-Type": STRUCTURED})
    assert told(answer)["data.value"] == code


def test_null_is_absent(stack, user):
    event = cloud_event(time=None, datacontenttype=None, dataschema=None, data=None, data_base64=None, myextension=None)
    assert structured(user, event).status == 201
    assert row(stack, user)["metadata"] is None


# ---- the key ----

MODES = {"structured": structured, "binary": binary, "batch": in_batch}


@pytest.mark.parametrize("first", MODES)
@pytest.mark.parametrize("second", MODES)
def test_source_and_id_count_once_across_modes(user, first, second):
    event = cloud_event(id="é 1", source="/a%20b", data={"value": 3})
    assert MODES[first](user, event).status in (200, 201)
    again = MODES[second](user, cloud_event(id="é 1", source="/a%20b", type="cost", subject="other"))
    assert again.status == 200
    body = again.json()
    if second == "batch":
        assert body == {"accepted": 0, "duplicates": 1, "rejected": []}
    else:
        assert (body["status"], body["id"]) == ("duplicate", key("/a%20b", "é 1"))
    assert total(user) == 1


def test_the_key_is_an_id_for_our_own_form_as_well(user):
    id = structured(user, cloud_event()).json()["id"]
    assert user.post(PATH, {"type": "x", "value": 1, "user_id": "u", "id": id}).json()["status"] == "duplicate"


@pytest.mark.parametrize("one, two", [
    (("/a", "bc"), ("/ab", "c")), (("/a", "1"), ("/a", "2")), (("/a", "1"), ("/b", "1")),
    (("a:b", "c"), ("a", "b:c")), (("a b", "c"), ("a", "b c")), (("a", "b"), ("b", "a")), (("a", "A"), ("a", "a")),
])
def test_pairs_that_only_look_alike(user, one, two):
    assert [structured(user, cloud_event(source=source, id=id)).status for source, id in (one, two)] == [201, 201]
    assert total(user) == 2


def test_a_key_of_long_parts(user, single):
    """They may be as long as an event, or a header, allows."""
    length = 2000 if single is binary else 15000
    event = cloud_event(source="/" + "s" * length, id="i" * length)
    answer = single(user, event)
    assert answer.status == 201, answer
    assert answer.json()["id"] == key(event["source"], event["id"])
    assert len(answer.json()["id"]) == 46
    assert single(user, {**event, "id": event["id"][:-1] + "j"}).status == 201


def test_another_tenant_may_use_the_same_pair(user, other):
    assert [structured(one, cloud_event()).status for one in (user, other)] == [201, 201]


# ---- what is wrong with an event ----

@pytest.mark.parametrize("send", [structured, binary, in_batch])
@pytest.mark.parametrize("attributes, wrong", [
    ({"specversion": "0.3"}, {"specversion": "format"}),
    ({"specversion": "1.0.2"}, {"specversion": "format"}),
    ({"specversion": "1"}, {"specversion": "format"}),
    ({"id": ...}, {"id": "required"}),
    ({"source": ...}, {"source": "required"}),
    ({"type": ...}, {"type": "required"}),
    ({"subject": ...}, {"subject": "required"}),
    ({"type": "com.example.Object.Created"}, {"type": "format"}),
    ({"type": "Api_call"}, {"type": "format"}),
    ({"type": "com/example"}, {"type": "format"}),
    ({"type": "a" * 51}, {"type": "format"}),
    ({"subject": "x" * 256}, {"subject": "too_long"}),
    ({"subject": "a\tb"}, {"subject": "control_character"}),
    ({"id": "a\x7fb"}, {"id": "control_character"}),
    ({"source": "a\nb"}, {"source": "control_character"}),
    ({"time": "yesterday"}, {"time": "format"}),
    ({"time": "2026-01-01"}, {"time": "format"}),
    ({"time": "2001-01-01T00:00:00Z"}, {"time": "out_of_range"}),
    ({"time": "2901-01-01T00:00:00Z"}, {"time": "out_of_range"}),
    ({"data": [1]}, {"data": "type"}),
    ({"data": "text"}, {"data": "type"}),
    ({"data": 5}, {"data": "type"}),
    ({"data": {"k": "x" * 16384}}, {"data": "too_long"}),
    ({"data": {"k": "a\0"}}, {"data": "nul_character"}),
    ({"id": ..., "type": "X", "subject": ..., "time": "now", "data": 1},
     {"id": "required", "type": "format", "subject": "required", "time": "format", "data": "type"}),
])
def test_wrong_in_every_mode(user, send, attributes, wrong):
    assert told(send(user, cloud_event(**attributes))) == wrong
    assert total(user) == 0


@pytest.mark.parametrize("attributes, wrong", [
    ({"specversion": ...}, {"specversion": "required"}),
    ({"specversion": 1.0}, {"specversion": "type"}),
    ({"specversion": ""}, {"specversion": "too_short"}),
    ({"id": ""}, {"id": "too_short"}),
    ({"id": 7}, {"id": "type"}),
    ({"id": "a\0b"}, {"id": "nul_character"}),
    ({"source": ""}, {"source": "too_short"}),
    ({"source": "a\0"}, {"source": "nul_character"}),
    ({"type": ""}, {"type": "too_short"}),
    ({"subject": ""}, {"subject": "too_short"}),
    ({"subject": None}, {"subject": "type"}),
    ({"time": 1700000000}, {"time": "type"}),
    ({"datacontenttype": "text/xml", "data": {}}, {"datacontenttype": "format"}),
    ({"datacontenttype": "application/jsonx"}, {"datacontenttype": "format"}),
    ({"datacontenttype": "json"}, {"datacontenttype": "format"}),
    ({"datacontenttype": ""}, {"datacontenttype": "too_short"}),
    ({"dataschema": ""}, {"dataschema": "too_short"}),
    ({"data_base64": "eyJ2YWx1ZSI6NX0="}, {"data_base64": "format"}),
    ({"data_base64": ""}, {"data_base64": "format"}),
    ({"data_base64": {}}, {"data_base64": "type"}),
    ({"userId": "u"}, {"userId": "unknown_field"}),
    ({"my_extension": "u"}, {"my_extension": "unknown_field"}),
    ({"ü": "u"}, {"ü": "unknown_field"}),
])
@pytest.mark.parametrize("send", [structured, in_batch])
def test_wrong_in_json(user, send, attributes, wrong):
    assert told(send(user, cloud_event(**attributes))) == wrong
    assert total(user) == 0


def test_messages_say_what_to_do(user):
    answer = structured(user, cloud_event(specversion="0.3", type="com.example.Created", data_base64="AA=="))
    messages = {error["field"]: error["message"] for error in answer.json()["errors"]}
    assert "1.0" in messages["specversion"]
    assert "lower-case" in messages["type"]
    assert "JSON" in messages["data_base64"]


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "application/vnd.x+json",
    "Application/JSON", "text/json", "application/problem+JSON;a=b"])
def test_content_types_of_data_that_is_json(user, single, content_type):
    assert single(user, cloud_event(datacontenttype=content_type, data={"value": 2})).status == 201
    assert total(user) == 1


def test_extensions_of_any_kind_are_ignored(stack, user):
    event = cloud_event(traceparent="x", tracestate="y", sequence="7", partitionkey="k", n=5, flag=True, x="x" * 5000,
                        value=9, metadata="m", timestamp="t", userid="w")
    assert structured(user, event).status == 201
    assert (row(stack, user)["value"], row(stack, user)["metadata"]) == (1, None)


# ---- structured ----

@pytest.mark.parametrize("content_type", [STRUCTURED, STRUCTURED.upper(), STRUCTURED + "; charset=UTF-8", STRUCTURED + ";x"])
def test_structured_content_types(user, content_type):
    assert structured(user, cloud_event(), content_type).status == 201


@pytest.mark.parametrize("data", ["", "{", "{}x", "nope", '{"id":"a\tb"}', "[" * 40])
def test_structured_that_is_malformed(user, data):
    assert_problem(user.post(PATH, data=data, headers={"Content-Type": STRUCTURED}), 400)


@pytest.mark.parametrize("data", ["[]", "null", "7", '"x"', "[{}]"])
def test_structured_that_is_no_object(user, data):
    assert_invalid(user.post(PATH, data=data, headers={"Content-Type": STRUCTURED}), body="type")


@pytest.mark.parametrize("size, status", [(32 * 1024, 201), (32 * 1024 + 1, 413)])
def test_structured_size(user, size, status):
    data = json.dumps(cloud_event()).ljust(size)
    assert user.post(PATH, data=data, headers={"Content-Type": STRUCTURED}).status == status


def test_headers_beside_a_structured_event_do_not_count(user):
    headers = {"ce-specversion": "0.3", "ce-id": "other", "ce-source": "/other"}
    assert structured(user, cloud_event(), **headers).json()["id"] == key("/tests", "1")


# ---- batch ----

def test_batch(stack, user):
    events = [cloud_event(id=str(n), data={"value": n}) for n in range(100)]
    assert batch(user, *events).json() == {"accepted": 100, "duplicates": 0, "rejected": []}
    assert batch(user, *events, cloud_event(id="100")).json() == {"accepted": 1, "duplicates": 100, "rejected": []}
    assert stack.postgres.value("SELECT sum(value) FROM events WHERE workspace_id = %s", user.workspace) == 4951


def test_a_bad_one_in_a_batch_is_rejected_alone(user):
    large = cloud_event(id="large", x="x" * 32768)
    own_form = {"type": "api_call", "value": 1, "user_id": "u"}
    events = [cloud_event(), cloud_event(id="2", subject=...), cloud_event(id="3"), large, own_form, 7, cloud_event(id="4")]
    body = batch(user, *events).json()
    assert (body["accepted"], body["duplicates"]) == (3, 0)
    wrong = {item["index"]: {error["field"]: error["code"] for error in item["errors"]} for item in body["rejected"]}
    assert wrong == {
        1: {"subject": "required"}, 3: {"event": "too_long"}, 5: {"event": "type"},
        4: {"specversion": "required", "id": "required", "source": "required", "subject": "required", "user_id": "unknown_field"},
    }
    assert total(user) == 3


@pytest.mark.parametrize("count, status", [(0, 422), (10000, 200), (10001, 422)])
def test_batch_counts(user, count, status):
    answer = batch(user, *[cloud_event(id=str(n)) for n in range(count)])
    if status == 200:
        assert answer.json() == {"accepted": count, "duplicates": 0, "rejected": []}
    else:
        assert_invalid(answer, body="too_long" if count else "too_short")
    assert total(user) == (count if status == 200 else 0)


@pytest.mark.parametrize("data, status", [("{}", 422), ("null", 422), ("", 400), ("[", 400), ("[{},]", 400)])
def test_batches_that_are_none(user, data, status):
    assert_problem(user.post(PATH, data=data, headers={"Content-Type": BATCH}), status)


# ---- binary ----

def raw_binary(stack, user, body=b"", **headers):
    """With headers as they stand here, in bytes that no client tidies up."""
    all_headers = {"Authorization": f"Bearer {user.token}", "Content-Type": "application/json", "ce-specversion": "1.0",
                   "ce-id": "1", "ce-source": "/tests", "ce-type": "api_call", "ce-subject": "customer-7"}
    all_headers.update({"ce-" + name: value for name, value in headers.items()})
    return stack.raw("POST", PATH, {k: v for k, v in all_headers.items() if v is not None}, body)


@pytest.mark.parametrize("header, subject", [
    ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
    ("Euro%20%e2%82%ac", "Euro €"),
    ("%41%42c", "ABc"),
    ("100%25", "100%"),
    ("%2520", "%20"),
    ("a+b", "a+b"),
    ("a b", "a b"),
    ('"a b"', "a b"),
    ('"a \\"b\\" \\\\ c"', 'a "b" \\ c'),
    ('x"y z"w', "xy zw"),
    ('"%C3%A9"', "é"),
    ("a\\b", "a\\b"),
    ("%22", '"'),
    ("é", "é"),
])
def test_header_values_are_decoded_once(stack, user, header, subject):
    answer = raw_binary(stack, user, subject=header)
    assert answer.status == 201, answer
    assert row(stack, user)["user_id"] == subject


@pytest.mark.parametrize("header", ["%C0%A0", "%", "50%", "%4", "%zz", "%00", "a%00b", "%ff", "%ED%A0%80", "%E2%82", '"open',
    'a"', '"a\\"', "\udcff\udcfe"])
@pytest.mark.parametrize("name", ["subject", "id", "source", "type"])
def test_header_values_that_cannot_be_decoded(stack, user, name, header):
    assert_invalid(raw_binary(stack, user, **{name: header}), **{name: "format"})
    assert total(user) == 0


def test_all_broken_headers_are_told(stack, user):
    assert_invalid(raw_binary(stack, user, id="%", source="%ff", subject='"'), id="format", source="format", subject="format")


@pytest.mark.parametrize("name", ["id", "source", "type", "subject"])
def test_an_empty_header_is_none(stack, user, name):
    assert_invalid(raw_binary(stack, user, **{name: ""}), **{name: "required"})


def test_header_names_have_no_case(stack, user):
    headers = {"AUTHORIZATION": f"Bearer {user.token}", "CE-SpecVersion": "1.0", "Ce-Id": "1", "CE-SOURCE": "/tests",
               "cE-tYPE": "api_call", "CE-Subject": "u", "content-TYPE": "Application/JSON"}
    answer = stack.raw("POST", PATH, headers, b'{"value": 4}')
    assert answer.status == 201, answer
    assert row(stack, user)["value"] == 4


def test_extensions_in_headers_are_not_looked_at(stack, user):
    answer = raw_binary(stack, user, traceparent="%zz", value="9", sequence='"', userid="\xff")
    assert answer.status == 201, answer


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/xml", "application/x-ndjson", "application/json"])
def test_without_a_body_the_content_type_does_not_count(stack, user, content_type):
    answer = binary(user, cloud_event(), **{"Content-Type": content_type})
    assert answer.status == 201, answer
    assert row(stack, user)["metadata"] is None


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/xml", "application/octet-stream", "text/jsonx",
    "application/x-ndjson", "application/+json", "+json", "json", "/json", "application/"])
def test_data_that_is_not_json(user, content_type):
    answer = binary(user, cloud_event(data={"value": 1}), **{"Content-Type": content_type})
    assert "JSON" in assert_problem(answer, 415)["detail"]
    assert total(user) == 0


@pytest.mark.parametrize("body", ["{", "nope", "{}{}", " ", "\ufeff{}", "[" * 40])
def test_data_that_is_malformed(user, body):
    headers = {f"ce-{name}": value for name, value in cloud_event().items()}
    answer = user.post(PATH, data=body, headers={**headers, "Content-Type": "application/json"})
    assert "byte" in assert_problem(answer, 400)["detail"]


def test_data_that_is_null(stack, user):
    assert binary(user, cloud_event(data=None)).status == 201
    assert row(stack, user)["metadata"] is None


@pytest.mark.parametrize("size, status", [(32 * 1024, 201), (32 * 1024 + 1, 413)])
def test_binary_size(user, size, status):
    headers = {f"ce-{name}": value for name, value in cloud_event().items()}
    answer = user.post(PATH, data='{"value": 1}'.ljust(size), headers={**headers, "Content-Type": "application/json"})
    assert answer.status == status, answer


def test_without_the_version_it_is_our_own_form(user):
    headers = {f"ce-{name}": value for name, value in cloud_event(specversion=...).items()}
    assert_invalid(user.post(PATH, data='{"value": 1}', headers=headers), type="required", user_id="required")


def test_modes_need_a_token(client):
    for answer in (structured(client, cloud_event()), binary(client, cloud_event()), batch(client, cloud_event())):
        assert_problem(answer, 401)
