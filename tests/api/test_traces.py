# SPDX-License-Identifier: Apache-2.0
"""Spans of requests by OTLP/HTTP, to a collector of the test's, read by OpenTelemetry's own schema."""
import contextlib
import json
import pathlib
import subprocess
import threading
import time

import pytest

from env import clients
from env.collector import Collector, attributes
from env.wait import BUILD, wait_for

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


@pytest.fixture(scope="module")
def collector():
    with contextlib.closing(Collector()) as server:
        server.close = server.server_close
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def traced(stack, collector, method, path, trace, **more):
    answer = stack.client.request(method, path, headers={"traceparent": f"00-{trace}-{SPAN}-01", **more.pop("headers", {})}, **more)
    wait_for(lambda: any(span["kind"] == 2 for span in collector.of(trace)), 20, "the spans")
    return answer, collector.of(trace)


def trace_of(stack):
    return stack.unique("").encode().hex()[-32:].rjust(32, "1")


@pytest.fixture(scope="module")
def stack(make_stack, collector):
    return make_stack(trace_endpoint=collector.url, trace_sample=0, trace_follow_clients="yes")


def test_a_request_and_what_it_asked(stack, collector):
    user = stack.new_user()
    trace = trace_of(stack)
    answer, spans = traced(stack, collector, "GET", "/users/me", trace, token=user.token)
    assert answer.status == 200
    [server] = [span for span in spans if span["kind"] == 2]
    assert server["name"] == "GET /users/me" and server["parentSpanId"] == SPAN
    assert answer.headers["traceparent"] == f"00-{trace}-{server['spanId']}-01"
    told = attributes(server)
    assert (told["http.request.method"], told["http.route"], told["http.response.status_code"]) == ("GET", "/users/me", "200")
    assert told["tallygate.request_id"] == answer.headers["X-Request-ID"]
    statements = [span for span in spans if span["kind"] == 3]
    assert statements and {span["parentSpanId"] for span in statements} == {server["spanId"]}
    assert all(attributes(span)["db.system.name"] == "postgresql" for span in statements)
    begin, end = int(server["startTimeUnixNano"]), int(server["endTimeUnixNano"])
    slack = 5_000_000  # the clock of the day may be set meanwhile
    assert begin < end and abs(end / 1e9 - time.time()) < 60
    assert all(begin - slack <= int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"]) <= end + slack for span in statements)
    assert server["status"] == {}


def test_an_event_waits_for_its_commit(stack, collector):
    user = stack.new_user()
    answer, spans = traced(stack, collector, "POST", "/analytics/events", trace_of(stack), token=user.token,
                           json_body={"type": "secret.type", "value": 4711, "user_id": "secret-user", "metadata": {"secret": "word"}})
    assert answer.status == 201
    assert [span["name"] for span in spans if span["kind"] == 1] == ["wait for the commit"]
    # What was sent is nobody's business there.
    assert not [word for word in ("secret", "4711", user.token) if word in json.dumps(collector.bodies)]


def test_a_job_belongs_to_the_request_that_wanted_it(stack, collector):
    admin = stack.new_user()
    assert stack.ctl("user", "role", admin.email, "admin").returncode == 0
    wanted, quiet = trace_of(stack), trace_of(stack)
    admin.login()
    _, spans = traced(stack, collector, "POST", "/admin/jobs", wanted, token=admin.token, json_body={"type": "partitions.make"})
    [server] = [span for span in spans if span["kind"] == 2]
    answer = stack.client.post("/admin/jobs", {"type": "nothing"}, token=admin.token, headers={"traceparent": f"00-{quiet}-{SPAN}-00"})
    assert answer.status == 201
    log = f"{stack.dir}/log/jobd.log"
    with open(log, "ab") as lines:
        process = subprocess.Popen([str(BUILD / "tallygate-jobd"), "--config", str(stack.config), "--metrics", f"{stack.dir}/run/jobd.metrics"],
                                   stderr=lines, stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: [span for span in collector.of(wanted) if span["kind"] == 5], 30, "the job's span")
        wait_for(lambda: stack.postgres.value("SELECT count(*) FROM jobs WHERE type IN ('partitions.make', 'nothing')") == 0, 30, "both to be done")
        process.terminate()
        assert process.wait(30) == 0, pathlib.Path(log).read_text()
    finally:
        process.kill()
        process.wait(30)
    [job] = [span for span in collector.of(wanted) if span["kind"] == 5]
    assert (job["name"], job["parentSpanId"], job["status"]) == ("process partitions.make", server["spanId"], {})
    told = attributes(job)
    assert (told["messaging.destination.name"], told["messaging.operation.type"], told["tallygate.job_attempt"]) == ("partitions.make", "process", "1")
    assert int(told["messaging.message.id"]) > 0
    assert not collector.of(quiet)
    # Statements of the job are below it, and what nobody wished for is in no trace (the share is 0).
    assert {span["kind"] for span in collector.spans() if span["parentSpanId"] == job["spanId"]} == {3}
    assert not [span for span in collector.spans() if span["kind"] == 5 and span["traceId"] != wanted]


def test_what_a_collector_understands(stack, collector):
    """All that we send is known to the schema, and comes back as it was."""
    user = stack.new_user()
    traced(stack, collector, "POST", "/analytics/events", trace_of(stack), token=user.token, json_body={"type": "x", "value": 1, "user_id": "u"})
    traced(stack, collector, "GET", "/auth/nothing", trace_of(stack))
    sent = list(collector.bodies)
    read = clients.run(stack, "otlp.js", {"bodies": sent})

    def plain(value):
        """Without what is empty, which the schema leaves out."""
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items() if one not in ("", [], {}) and plain(one) != {}}
        return [plain(one) for one in value] if isinstance(value, list) else value

    assert plain(read) == plain(sent)
    [resource] = {json.dumps(attributes(body["resourceSpans"][0]["resource"])["service.name"]) for body in sent}
    assert resource == '"tallygate"'


@pytest.mark.parametrize("path, status, failed", [("/auth/nothing", 404, False), ("/auth/verify", 401, False)])
def test_an_answer_that_is_refused_is_no_fault(stack, collector, path, status, failed):
    answer, spans = traced(stack, collector, "GET", path, trace_of(stack))
    [server] = [span for span in spans if span["kind"] == 2]
    assert answer.status == status and (server["status"].get("code") == 2) == failed
    assert server["name"] == ("GET" if status == 404 else f"GET {path}")


def test_who_does_not_wish_is_not_traced(stack, collector):
    quiet, loud = trace_of(stack), trace_of(stack)
    answer = stack.client.get("/health", headers={"traceparent": f"00-{quiet}-{SPAN}-00"})
    assert answer.headers["traceparent"].endswith("-00")
    traced(stack, collector, "GET", "/health", loud)
    assert collector.of(quiet) == []


def test_wishes_do_not_count_and_the_share_does(make_stack, collector):
    stack = make_stack(trace_endpoint=collector.url, trace_sample=500000)
    told = {}
    for n in range(200):
        trace = f"{n:016x}{(n + 1) * 0x9E3779B97F4A7C15 % 2 ** 64:016x}"
        answer = stack.client.get("/health", headers={"traceparent": f"00-{trace}-{SPAN}-01"})
        told[trace] = answer.headers["traceparent"].endswith("-01")
    assert 50 < sum(told.values()) < 150
    wait_for(lambda: all(collector.of(trace) for trace, sampled in told.items() if sampled), 20, "those that were chosen")
    assert not [trace for trace, sampled in told.items() if collector.of(trace) and not sampled]
    # The id decides, so every host decides alike.
    again = {trace: stack.client.get("/health", headers={"traceparent": f"00-{trace}-{SPAN}-00"}).headers["traceparent"].endswith("-01")
             for trace in told}
    assert again == told


def dropped(stack):
    text = stack.ctl("metrics", "show", "--sockets", f"{stack.dir}/run").stdout
    return sum(int(line.split()[-1]) for line in text.splitlines() if line.startswith('trace_spans_total') and 'dropped' in line)


@pytest.mark.parametrize("fault", ["away", "hangs", "refuses"])
def test_a_collector_that_is_no_help_holds_nobody_up(make_stack, collector, fault):
    url = "http://127.0.0.1:1/v1/traces" if fault == "away" else collector.url
    stack = make_stack(trace_endpoint=url, trace_sample=1000000, api_workers=1)
    if fault == "hangs":
        collector.hang.clear()
    if fault == "refuses":
        collector.statuses += [400] * 1000
    try:
        for _ in range(300):
            assert stack.client.get("/health").status == 200
        if fault == "refuses":
            wait_for(lambda: dropped(stack) > 0, 20, "what is dropped to be counted")
            wait_for(lambda: "refuses them" in stack.api.log_text, 20, "a line that tells")
        stack.api.stop()  # whoever ends does not wait for it either: stop() waits for 20 s at most
        stack.up()
        assert stack.client.get("/health").status == 200
    finally:
        collector.hang.set()
        collector.statuses.clear()


def test_a_collector_that_is_busy_gets_them_again(make_stack, collector):
    stack = make_stack(trace_endpoint=collector.url, trace_sample=0, trace_follow_clients="yes")
    collector.statuses.append(503)
    trace = trace_of(stack)
    _, spans = traced(stack, collector, "GET", "/health", trace)
    assert len([span for span in spans if span["kind"] == 2]) == 1
