# SPDX-License-Identifier: Apache-2.0
"""JSON at the door: RFC 8259, no more and no less, through HTTP.

The text stands where `metadata` would, so what is accepted must come out of the database the same.
"""
import json

import pytest

from env.problems import assert_problem

PATH = "/analytics/events"


def send(user, metadata):
    """`metadata` is text (str) or bytes."""
    metadata = metadata if isinstance(metadata, bytes) else metadata.encode("utf-8", "surrogatepass")
    return user.post(PATH, data=b'{"type": "x", "value": 1, "user_id": "u", "metadata": {"k": ' + metadata + b"}}")


ACCEPTED = [
    "null", "true", "false", "0", "-0", "1", "-1", "10", "0.5", "-0.5", "1e5", "1E5", "1e+5", "1e-5", "1.5e10", "0e0",
    "0.0",
    "123456789012345678", '""', '"a"', '"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\u0041"', '"\\u00e9"', '"é"',
    '"\\ud83d\\ude00"', '"😀"',
    '"\\uD834\\uDD1E"', '"\x7f"', '"\u2028\u2029"', '"\ufeff"', '"\uffff"', '"\\uffff"', '"\U0010ffff"',
    '"\\udbff\\udfff"',
    '"/"', '"\'"', "[]", "{}", "[[]]", "[{}]", '{"":0}', '{"a":{"b":[1,2,{"c":null}]}}', " [ 1 , 2 ] ",
    "\t\n\r 1 \t\n\r",
    '{"a":1,"b":2}', "[1,2,3]", "[null,true,false]", '"\\u000a"', '"\\u001f"', '"' + "x" * 5000 + '"',
    "[" + ",".join("1" * 2000) + "]",
]

REFUSED = [
    # words
    "", "nul", "nulll", "NULL", "True", "TRUE", "False", "undefined", "none", "NaN", "nan", "-NaN", "Infinity",
    "-Infinity", "inf",
    "tru", "truefalse", "true false",
    # numbers
    "+1", "01", "-01", "00", "-", "--1", "1.", ".5", "-.5", "1.e5", "1e", "1e+", "1E-", "1ee5", "1e5.5", "0x1F", "0b1",
    "0o7", "1_0",
    "1,0", "1 0", "- 1", "1a", "2.", "-1.", "0.e1", "0e", "0e+", "1.2.3", "１", "1\u00a0",
    # strings
    '"', '"a', 'a"', "'a'", '"a" "b"', '"\\x41"', '"\\a"', '"\\\'"', '"\\', '"\\"', '"\\u"', '"\\u1"', '"\\u12"',
    '"\\u123"', '"\\u123g"',
    '"\\U0041"', '"\\u 041"', '"\\ud800"', '"\\udc00"', '"\\ud800\\ud800"', '"\\ud800x"', '"\\ud800\\n"',
    '"\\ud800\\u0041"', '"\\0"',
    '"\t"', '"\n"', '"\r"', '"\x01"', '"\x1f"', '"a\nb"', "`a`", '"\\v"',
    # lists
    "[", "]", "[1", "[1,", "[1,]", "[,1]", "[,]", "[1,,2]", "[1 2]", "[1;2]", "[1}", "(1)", "[1]]", "[[1]", '["a"',
    "[1:2]", "[\v1]",
    # objects
    "{", "}", "{]", '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":1,}', '{,"a":1}', '{"a" 1}', '{"a"=1}', '{"a":1 "b":2}',
    '{"a":1;"b":2}',
    "{a:1}", "{'a':1}", "{1:1}", '{null:1}', '{"a"}', '{"a":}', '{:1}', '{"a"::1}', '{"a":1,,"b":2}', '{"a":1}}',
    '{"a":1,"b"}',
    # what others allow
    "/* c */ 1", "1 // c", "1 # c", "1 /* c */", "<!-- -->", "\ufeff1", "1\ufeff", "\u00a01", "\u20281", "\f1", "\x0b1",
    "\x001", "1\x00",
    # encodings
    b'"\xff"', b'"\x80"', b'"\xc3"', b'"\xc3\x28"', b'"\xc0\x80"', b'"\xc0\xaf"', b'"\xe2\x82"', b'"\xed\xa0\x80"',
    b'"\xf4\x90\x80\x80"',
    b'"\xf8\x88\x80\x80\x80"', b'"\xf0\x9f\x98"', b"\xff", b"\xfe\xff1", b'"\xe9"', b'{"\xff":1}', b'"\xe0\x80\xaf"',
]


@pytest.mark.parametrize("text", ACCEPTED, ids=ascii)
def test_accepted(stack, user, text):
    answer = send(user, text)
    assert answer.status == 201, answer
    stored = stack.postgres.value("SELECT metadata FROM events WHERE workspace_id = %s", user.workspace)
    assert stored == {"k": json.loads(text)}


@pytest.mark.parametrize("text", REFUSED, ids=ascii)
def test_refused(stack, user, text):
    problem = assert_problem(send(user, text), 400)
    assert "JSON" in problem["detail"]
    assert stack.postgres.value("SELECT count(*) FROM events WHERE workspace_id = %s", user.workspace) == 0


@pytest.mark.parametrize("tail", ["x", "{}", ",", "}", "]", "null", "\x00", "\x00\x00", " 1", '"', "\ufeff", "//",
    "\x0c"])
def test_nothing_may_follow(user, tail):
    answer = user.post(PATH, data='{"type": "x", "value": 1, "user_id": "u"}' + tail)
    assert_problem(answer, 400)


@pytest.mark.parametrize("blank", [" ", "\n", "\r\n", "\t", " \t\r\n " * 20])
def test_blanks_may_stand_around(user, blank):
    assert user.post(PATH, data=blank + '{"type": "x", "value": 1, "user_id": "u"}' + blank).status == 201


@pytest.mark.parametrize("data", [b"\xef\xbb\xbf{}", "{}".encode("utf-16"), "{}".encode("utf-16-le"),
    "{}".encode("utf-32")])
def test_only_utf8_without_a_mark(user, data):
    assert_problem(user.post(PATH, data=data), 400)


@pytest.mark.parametrize("length", [1, 5, 10, 20, 30, 41])
def test_cut_short(user, length):
    whole = '{"type": "x", "value": 1, "user_id": "u" }'
    assert_problem(user.post(PATH, data=whole[:length]), 400)


def test_offset_of_the_fault_is_told(user):
    problem = assert_problem(user.post(PATH, data='{"type": "x", nope}'), 400)
    assert "byte 14" in problem["detail"]


# ---- depth: the body is one level, metadata the second ----

@pytest.mark.parametrize("open, close", [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("depth, good", [(31, True), (32, True), (33, False), (40, False), (3000, False)])
def test_depth(user, open, close, depth, good):
    inner = depth - 2
    answer = send(user, open * inner + "1" + close * inner)
    if good:
        assert answer.status == 201, answer
    else:
        assert "deep" in assert_problem(answer, 400)["detail"]


@pytest.mark.parametrize("depth, reason", [(32, "must be an object"), (33, "deep"), (3000, "deep")])
def test_depth_of_lists_alone(user, depth, reason):
    """The outermost one is a list of events, of which each is judged by itself."""
    answer = user.post(PATH, data="[" * (1 + depth) + "]" * (1 + depth))
    assert answer.status == 200, answer
    assert reason in answer.json()["rejected"][0]["errors"][0]["message"]


@pytest.mark.parametrize("data", ["[" * 30000, '{"a":' * 6000, "[{" * 10000])
def test_bombs_of_brackets(user, data):
    assert_problem(user.post(PATH, data=data), 400)


# ---- names ----

def test_name_with_nul(user):
    assert_problem(send(user, '{"a\\u0000b": 1}'), 400)


def test_of_a_repeated_name_the_last_value_counts(user):
    data = '{"type": "a", "type": "b", "value": 1, "value": 2, "user_id": "u", "id": "x"}'
    assert user.post(PATH, data=data).status == 201
    rows = user.stack.postgres.query("SELECT type, value FROM events WHERE workspace_id = %s", user.workspace)
    assert rows == [("b", 2)]


def test_escaped_names_are_the_names(user):
    data = '{"\\u0074ype": "x", "val\\u0075e": 1, "user_id": "u"}'
    assert user.post(PATH, data=data).status == 201


@pytest.mark.parametrize("path", ["/auth/register", "/auth/login"])
@pytest.mark.parametrize("text", ["{", "{'a':1}", '{"a":NaN}', "", '{"a":1,}', '{"a":"\n"}', "[" * 33])
def test_other_routes_have_the_same_door(client, path, text):
    assert_problem(client.post(path, data=text), 400)
