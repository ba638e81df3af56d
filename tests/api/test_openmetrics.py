# SPDX-License-Identifier: Apache-2.0
"""What the pools count, read by the parser of Prometheus' own client."""
import collections
import os
import pathlib
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from env.servers import process_children
from env.wait import BUILD, TOP, wait_for

EVENT = {"type": "x", "value": 1, "user_id": "u"}


@pytest.fixture
def stack(make_stack):
    return make_stack()


def text_of(stack):
    done = stack.ctl("metrics", "show", "--sockets", f"{stack.dir}/run")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.endswith("# EOF\n")
    return done.stdout


def samples(stack):
    """{(name, (label, value)…): number}"""
    found = {}
    for family in text_string_to_metric_families(text_of(stack)):
        for sample in family.samples:
            key = (sample.name, *sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def value(found, name, **labels):
    return found.get((name, *sorted(labels.items())), 0)


def answered(found):
    """{(method, route, status): requests}"""
    counts = collections.Counter()
    for (name, *labels), number in found.items():
        if name == "http_requests_total":
            labels = dict(labels)
            counts[labels["method"], labels["route"], labels["status_code"]] += int(number)
    return counts


def test_requests_are_counted_to_the_last(stack):
    user = stack.new_user()
    wait_for(lambda: answered(samples(stack))["POST", "/auth/register", "201"] == 1, what="the registration")
    before = answered(samples(stack))
    for _ in range(20):
        user.record()
    for _ in range(7):
        assert user.get("/analytics/metrics").status == 200
    for n in range(5):
        assert stack.client.get(f"/auth/nothing-{n}").status == 404
    assert stack.client.get("/auth/verify").status == 401
    assert user.post("/analytics/events", {"type": 1}).status == 422
    assert stack.client.request("PATCH", "/auth/login").status == 405
    expected = {
        ("POST", "/analytics/events", "201"): 20, ("GET", "/analytics/metrics", "200"): 7, ("other", "none", "404"): 5,
        ("GET", "/auth/verify", "401"): 1, ("POST", "/analytics/events", "422"): 1, ("other", "none", "405"): 1}
    # A request is counted when its answer is out, so the client may be first.
    wait_for(lambda: sum((answered(samples(stack)) - before).values()) >= sum(expected.values()), what="all of them")
    found = samples(stack)
    assert answered(found) - before == expected
    # Each request is in the histogram as well, and took some time.
    labels = {"method": "POST", "route": "/analytics/events", "status_code": "201", "service": "ingest"}
    assert value(found, "http_request_duration_seconds_count", **labels) == value(found, "http_requests_total", **labels) == 20
    assert value(found, "http_request_duration_seconds_bucket", le="+Inf", **labels) == 20
    assert 0 < value(found, "http_request_duration_seconds_sum", **labels) < 20
    assert value(found, "events_recorded_total", service="ingest") == 20
    assert value(found, "ingest_batch_events_sum", service="ingest") == 20
    assert value(found, "ingest_commit_seconds_count", service="ingest") == value(found, "ingest_batch_events_count", service="ingest")
    assert value(found, "ingest_queue_events", service="ingest") == value(found, "active_connections", service="ingest") == 0


def test_labels_are_bounded(stack):
    user = stack.new_user()
    stack.client.get("/auth/nothing")
    user.get("/analytics/usage/me")
    series = len(samples(stack))
    for n in range(100):
        stack.client.get(f"/auth/nothing-{n}")
        stack.client.request(f"M{n}", "/auth/nothing")
        user.get(f"/analytics/usage/u{n}")
    # One more status at the most, of what nginx lets through of the unknown methods.
    assert len(samples(stack)) <= series + 16


def test_counts_outlive_workers_masters_and_reloads(make_stack):
    stack = make_stack(ingest_workers=2)
    user = stack.new_user()
    count = 0

    def record(many):
        nonlocal count
        for _ in range(many):
            user.record()
        count += many
        # A request is counted when its answer is out, so the client may be first.
        wait_for(lambda: answered(samples(stack))["POST", "/analytics/events", "201"] == count, what=f"{count} requests")
        found = samples(stack)
        assert value(found, "events_recorded_total", service="ingest") == count
        assert answered(found)["POST", "/analytics/events", "201"] == count
        return found

    record(10)
    for replaced in (1, 2, 3):
        victims = process_children(stack.ingest.pid)
        os.kill(victims[0], signal.SIGKILL)
        wait_for(lambda: value(samples(stack), "workers_replaced_total", service="ingest") == replaced, what="another worker")
        wait_for(lambda: value(samples(stack), "workers_ready", service="ingest") == 2, what="two workers")
        record(10)
    before = set(process_children(stack.ingest.pid))
    stack.ingest.signal(signal.SIGHUP)
    wait_for(lambda: not before & set(process_children(stack.ingest.pid)), what="new workers")
    record(10)
    stack.ingest.stop(signal.SIGKILL)
    stack.up()
    found = record(10)
    assert value(found, "workers_replaced_total", service="ingest") == 3
    wait_for(lambda: value(samples(stack), "workers_ready", service="ingest") == 2, what="only the living")


def used_s(pid):
    """Processor time of a process, by the kernel's word."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_processor_time_is_of_all_workers_also_of_the_dead(stack):
    user = stack.new_user()

    def counted():
        return value(samples(stack), "workers_cpu_seconds_total", service="auth")

    for _ in range(5):
        user.login()
    workers = process_children(stack.auth.pid)
    # Workers tell it four times a second, and the kernel counts in hundredths.
    wait_for(lambda: abs(counted() - sum(used_s(pid) for pid in workers)) < 0.05, what="it to agree with the kernel")
    before = counted()
    assert before > 0
    os.kill(workers[0], signal.SIGKILL)
    wait_for(lambda: set(process_children(stack.auth.pid)) - set(workers), what="another worker")
    assert counted() >= before
    for _ in range(5):
        user.login()
    wait_for(lambda: counted() > before, what="it to grow")


def test_a_pool_that_stopped_is_told_of(stack):
    stack.api.stop()
    found = samples(stack)
    assert value(found, "workers_ready", service="api") == 0
    assert value(found, "workers_ready", service="ingest") >= 1
    done = stack.ctl("status", "--sockets", f"{stack.dir}/run")
    assert done.returncode == 1
    states = {line.split()[0]: line.split()[1] for line in done.stdout.splitlines()[1:]}
    assert states == {"auth": "serves", "ingest": "serves", "api": "stopped"}
    stack.up()
    assert stack.ctl("status", "--sockets", f"{stack.dir}/run").returncode == 0
    done = stack.ctl("--json", "status", "--sockets", "/nowhere")
    assert done.returncode == 1 and done.stdout.count("was never started") == 3
    assert stack.ctl("metrics", "show", "--sockets", "/nowhere").stdout.endswith("# EOF\n")


def test_logins_and_limits(make_stack):
    stack = make_stack(rate_user_per_hour=5, login_delays="yes")
    user = stack.new_user()
    user.login()
    for _ in range(7):
        stack.client.post("/auth/login", {"email": user.email, "password": "wrong"})
    for _ in range(8):
        user.get("/users/me")
    wait_for(lambda: value(samples(stack), "active_connections", service="api") == 0, what="the last answer")
    found = samples(stack)
    results = {result: value(found, "logins_total", service="auth", result=result) for result in ("opened", "refused", "delayed", "code_required")}
    assert results == {"opened": 1, "refused": 5, "delayed": 2, "code_required": 0}
    assert value(found, "rate_limited_requests_total", service="api") == 3


def test_each_metric_is_in_the_page_and_the_other_way_round(stack):
    stack.new_user().record()
    endings = {"counter": "_total", "info": "_info", "gauge": "", "histogram": ""}
    shown = {name + endings[kind] for name, kind in re.findall(r"(?m)^# TYPE (\S+) (\S+)$", text_of(stack))}
    page = set(re.findall(r"(?m)^\.It Ic (\S+)", (TOP / "man" / "tallygate-metrics.7").read_text()))
    assert shown == page


# ---- for a scraper ----

def serve(stack):
    process = subprocess.Popen([str(BUILD / "tallygatectl"), "--config", str(stack.config), "metrics", "serve", "--sockets", f"{stack.dir}/run",
                                "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True)
    port = int(re.fullmatch(r"serving /metrics at port (\d+)\n", process.stderr.readline())[1])
    return process, f"http://127.0.0.1:{port}"


@pytest.fixture
def scraped(stack):
    process, url = serve(stack)
    yield url
    process.terminate()
    assert process.wait(30) == 0
    process.stderr.close()


def test_a_scraper_gets_the_same(stack, scraped):
    stack.new_user()
    with urllib.request.urlopen(scraped + "/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        text = answer.read().decode()
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"http_requests", "tallygate_build", "workers_ready"} <= names
    for path, method, status in (("/", "GET", 404), ("/metrics", "POST", 405), ("/metrics/x", "GET", 404)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(scraped + path, method=method), timeout=10)
        assert refused.value.code == status
        refused.value.close()


def scrape(url):
    with urllib.request.urlopen(url + "/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {(sample.name, *sorted(sample.labels.items())): sample.value for family in text_string_to_metric_families(text) for sample in family.samples}


@pytest.mark.parametrize("legacy, status, outcome", [("redirect", 308, "redirect"), ("gone", 410, "gone"), ("proxy", 503, "proxy")])
def test_requests_of_old_paths_are_counted(make_stack, legacy, status, outcome):
    """nginx tells of each, whatever becomes of it; and of no other."""
    limits = {"legacy": legacy, "legacy_count": "yes", "legacy_server": "127.0.0.1:1"}
    stack = make_stack(limits=limits)
    process, url = serve(stack)
    try:
        asked = {"/register": 1, "/usage/{user_id}": 3, "/metrics/batch": 2}
        for path in ["/register?x=1", "/usage/ada", "/usage/a%2Fb%20c%22%0a", "/usage/x/y?z", "/metrics/batch", "/metrics/batch?"]:
            assert stack.raw("GET", path).status == status, path
        for path in ("/usage/", "/registers", "/analytics/metrics", "/health", "/nothing"):
            stack.raw("GET", path)

        def told():
            return {dict(key[1:])["route"]: number for key, number in scrape(url).items()
                    if key[0] == "legacy_requests_total" and dict(key[1:])["outcome"] == outcome}

        wait_for(lambda: sum(told().values()) >= sum(asked.values()), 20, "all of them")
        assert told() == asked
        assert {dict(key[1:])["outcome"] for key in scrape(url) if key[0] == "legacy_requests_total"} == {outcome}
        # What anybody else with that group could send makes no series of its own.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as forger:
            for line in ["", "x", ": ", ": /a", '<1>x: /a"} 1', "<1>x: /" + "a" * 60 + " 308", "<1>x: /ok y", "<1>x: ok 308"]:
                forger.sendto(line.encode(), f"{stack.dir}/run/legacy.sock")
            for n in range(40):
                forger.sendto(f"<1>x: /{'abcdefghij'[n % 10] * (n // 10 + 1)} 308".encode(), f"{stack.dir}/run/legacy.sock")
        stack.raw("GET", "/register")
        wait_for(lambda: told()["/register"] == 2, 20, "one that comes afterwards")
        assert len({dict(key[1:])["route"] for key in scrape(url) if key[0] == "legacy_requests_total"}) <= 16
    finally:
        process.terminate()
        assert process.wait(30) == 0
        process.stderr.close()


def test_clients_that_say_nothing_keep_no_scraper_out(scraped):
    host, port = scraped.removeprefix("http://").split(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(10)]
    with urllib.request.urlopen(scraped + "/metrics", timeout=10) as answer:
        assert answer.status == 200
    for connection in silent:
        connection.close()


@pytest.mark.parametrize("listen, code", [("9464", 2), ("localhost:9464", 2), ("127.0.0.1:x", 2), ("127.0.0.1:70000", 2), ("", 2), ("[::1:1", 2),
                                          ("192.0.2.1:9464", 1)])
def test_where_it_cannot_listen(stack, listen, code):
    done = stack.ctl("metrics", "serve", "--listen", listen)
    assert done.returncode == code and done.stderr.startswith("tallygatectl: "), done
