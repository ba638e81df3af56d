# SPDX-License-Identifier: Apache-2.0
"""X-Request-ID and traceparent: taken when they are good, made otherwise, echoed, logged."""
import re

import pytest

MADE_ID = re.compile(r"^[0-9a-f]{32}$")
TRACEPARENT = re.compile(r"^00-([0-9a-f]{32})-([0-9a-f]{16})-0[01]$")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
PATHS = ["/health", "/auth/verify", "/auth/nothing", "/nothing", "/login"]


@pytest.mark.parametrize("path", PATHS)
def test_request_id_is_made(client, path):
    made = [client.get(path).headers["X-Request-ID"] for _ in range(3)]
    assert all(MADE_ID.match(id) for id in made)
    assert len(set(made)) == 3


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("id", ["a", "my-request_1.2", "x" * 128, "0", "-", "...", "UPPER"])
def test_good_request_id_is_echoed_once(stack, path, id):
    answer = stack.raw("GET", path, {"X-Request-ID": id})
    assert answer.headers["X-Request-ID"] == id


@pytest.mark.parametrize("id", ["", "x" * 129, "a b", "a,b", "a/b", "a\tb", "é", '"', "<script>", "a;b", "{}",
    "$request_id", "a\x7f"])
def test_bad_request_id_is_replaced(stack, id):
    answer = stack.raw("GET", "/health", {"X-Request-ID": id})
    assert MADE_ID.match(answer.headers["X-Request-ID"])


@pytest.mark.parametrize("path, pool", [("/auth/login", "auth"), ("/analytics/events", "ingest"),
    ("/analytics/metrics/batch", "ingest")])
def test_request_id_is_in_both_logs(stack, user, path, pool):
    id = stack.unique("traced")
    user.post(path, {}, headers={"X-Request-ID": id})
    line = getattr(stack, pool).log_of(id)
    assert (line["pool"], line["route"], line["method"], line["status"]) == (pool, path, "POST", 422)
    assert stack.nginx.log_of(id)["status"] == 422


@pytest.mark.parametrize("path", ["/health", "/auth/verify", "/auth/nothing"])
def test_trace_is_made(client, path):
    made = [TRACEPARENT.match(client.get(path).headers["traceparent"]) for _ in range(3)]
    assert all(made)
    assert len({match[1] for match in made}) == len({match[2] for match in made}) == 3
    assert all(match[1].strip("0") and match[2].strip("0") for match in made)


@pytest.mark.parametrize("given, flags", [
    (f"00-{TRACE}-{SPAN}-00", "00"), (f"00-{TRACE}-{SPAN}-01", "01"), (f"00-{TRACE}-{SPAN}-ff", "01"),
    (f"00-{TRACE}-{SPAN}-02", "00"), (f"01-{TRACE}-{SPAN}-01", "01"),
    (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", "01"),
])
def test_trace_goes_on_with_a_span_of_ours(stack, given, flags):
    answer = stack.raw("GET", "/health", {"traceparent": given})
    version, trace, span, told = answer.headers["traceparent"].split("-")
    assert (version, trace, told) == ("00", TRACE, flags)
    assert span != SPAN


@pytest.mark.parametrize("given", [
    "", "x", f"00-{TRACE}-{SPAN}", f"00-{TRACE}-{SPAN}-", f"00-{TRACE}-{SPAN}-0", f"00-{TRACE}-{SPAN}-01-",
    f"00-{TRACE}-{SPAN}-01-x",
    f"ff-{TRACE}-{SPAN}-01", f"0-{TRACE}-{SPAN}-01", f"00-{TRACE.upper()}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE[:-1]}-{SPAN}-01", f"00-{TRACE}g-{SPAN}-01", f"00_{TRACE}_{SPAN}_01",
    f"00-{TRACE}-{SPAN}-0g", f"01-{TRACE}-{SPAN}-01x", f"cc-{TRACE}-{SPAN}-01.what", f"00-{TRACE}-{SPAN.upper()}-01",
    "-" * 55,
])
def test_bad_trace_starts_a_new_one(stack, given):
    answer = stack.raw("GET", "/health", {"traceparent": given})
    match = TRACEPARENT.match(answer.headers["traceparent"])
    assert match and match[1] != TRACE


def test_trace_is_in_the_log(stack):
    answer = stack.raw("GET", "/health", {"traceparent": f"00-{TRACE}-{SPAN}-01"})
    assert stack.api.log_of(answer.headers["X-Request-ID"])["trace_id"] == TRACE


@pytest.mark.parametrize("name", ["X-Request-ID", "traceparent"])
def test_answer_cannot_be_split(stack, name):
    answer = stack.raw("GET", "/health", {name: "a%0d%0aSet-Cookie: x=1"})
    assert "Set-Cookie" not in answer.headers
