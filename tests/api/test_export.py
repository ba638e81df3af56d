# SPDX-License-Identifier: Apache-2.0
"""GET /analytics/export: what is in the file, and that one that is cut never looks complete."""
import concurrent.futures
import contextlib
import csv
import datetime
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import time
from decimal import Decimal
from pathlib import Path

import pytest

from env.http import tls_context
from env.problems import assert_invalid, assert_problem
from env.servers import process_alive
from env.wait import PATIENCE, wait_for
from model import DAY, UTC
from raw_events import (
    ODD_TEXTS, Row, as_item, format_time, generate, insert, newest_first, random_rows, walk, without_receipt)
from test_listing import BAD, days_ago, noon

PATH = "/analytics/export"
COLUMNS = ["id", "type", "value", "user_id", "metadata", "timestamp", "received_at"]
MIB = 1024 * 1024


def read_ndjson(answer):
    assert answer.status == 200, answer
    text = answer.body.decode("utf-8")
    assert text == "" or text.endswith("\n")
    return [json.loads(line, parse_float=Decimal) for line in text.split("\n")[:-1]]


def read_csv(answer):
    """Rows as dicts, by a reader that is strict."""
    assert answer.status == 200, answer
    text = answer.body.decode("utf-8")
    assert text.endswith("\r\n")
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert rows[0] == COLUMNS
    assert all(len(row) == len(COLUMNS) for row in rows)
    return [dict(zip(COLUMNS, row)) for row in rows[1:]]


def guarded(text):
    return "'" + text if text[0] in "'=+-@\t\r\n＝＋－＠﹦﹢﹣﹫" else text


def oldest_first(rows):
    return newest_first(rows)[::-1]


# ---- what an answer is ----

@pytest.mark.parametrize("format, content_type", [
    ("csv", "text/csv; charset=utf-8; header=present"), ("ndjson", "application/x-ndjson"),
])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("events", [0, 3])
def test_headers(user, format, content_type, method, events):
    for n in range(events):
        user.record(id=f"{n}")
    answer = user.request(method, PATH, params={"format": format, "start": "2026-11-01", "end": "2026-11-21"})
    assert answer.status == 200
    assert answer.headers["Content-Type"] == content_type
    assert answer.headers["Content-Disposition"] == f'attachment; filename="events_2026-11-01_2026-11-21.{format}"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Content-Length" not in answer.headers
    assert answer.headers["X-Request-ID"] and answer.headers["traceparent"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    if method == "HEAD":
        assert answer.body == b""


@pytest.mark.parametrize("query, name", [
    ("days=1", "events_{0}_{0}"), ("days=3", "events_{2}_{0}"), ("", "events_{6}_{0}"), ("start={3}", "events_{3}_{0}"),
    ("start={3}T12:00:00Z&end={1}T00:00:00Z", "events_{3}_{2}"),
    ("start={3}T12:00:00Z&end={1}T00:00:00.000001Z", "events_{3}_{1}"),
])
def test_file_name_tells_first_and_last_day(user, query, name):
    days = [days_ago(n) for n in range(7)]
    answer = user.request("HEAD", f"{PATH}?format=csv&{query.format(*days)}")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name.format(*days)}.csv"'


def test_of_nothing(user):
    assert user.get(PATH, params={"format": "ndjson"}).body == b""
    assert user.get(PATH, params={"format": "csv"}).body == (",".join(COLUMNS) + "\r\n").encode()


def test_below_the_prefix_too(user):
    user.record(id="1")
    for format in ("csv", "ndjson"):
        params = {"format": format}
        assert user.get("/api/v1" + PATH, params=params).body == user.get(PATH, params=params).body != b""


def test_over_http2(stack, user):
    user.record(id="1")
    done = stack.curl(PATH + "?format=ndjson", "--http2", "-H", f"Authorization: Bearer {user.token}")
    assert done.returncode == 0
    assert done.stdout.startswith("HTTP/2 200") and '"id":"1"' in done.stdout


# ---- what is in it ----

@pytest.mark.parametrize("seed", [1, 2])
def test_random_events(user, seed):
    rows = insert(user.stack.postgres, user.workspace, random_rows(900, seed=seed))
    expected = [as_item(row) for row in oldest_first(rows)]
    lines = read_ndjson(user.get(PATH, params={"format": "ndjson", "days": 30}))
    assert without_receipt(lines) == expected
    listed, _ = walk(user, "/analytics/events/date-range", {"days": 30, "limit": 1000})
    assert lines == listed[::-1], "just as a list has them"
    table = read_csv(user.get(PATH, params={"format": "csv", "days": 30}))
    for cells, item, line in zip(table, expected, lines):
        assert (cells["id"], cells["user_id"]) == (guarded(item["id"]), guarded(item["user_id"]))
        assert (cells["type"], Decimal(cells["value"])) == (item["type"], item["value"])
        assert (cells["metadata"] == "") == (item["metadata"] is None)
        assert cells["metadata"] == "" or json.loads(cells["metadata"], parse_float=Decimal) == item["metadata"]
        assert (cells["timestamp"], cells["received_at"]) == (item["timestamp"], line["received_at"])
    assert len(table) == len(expected)


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_any_text(user, text):
    """As id, user, and name and value of a member: through the API into the table, and out again."""
    metadata = {text: [text, {"deep": text}]}
    user.record("x", 1, text, id=text, metadata=metadata)
    answer = user.get(PATH, params={"format": "ndjson"})
    assert answer.body.count(b"\n") == 1, "one line an event, whatever is in it"
    item = read_ndjson(answer)[0]
    assert (item["id"], item["user_id"], item["metadata"]) == (text, text, metadata)
    cells = read_csv(user.get(PATH, params={"format": "csv"}))[0]
    assert (cells["id"], cells["user_id"], json.loads(cells["metadata"])) == (guarded(text), guarded(text), metadata)


def test_every_control_character(user):
    text = "".join(map(chr, range(1, 0x20))) + "\x7f\x80\x85\x9f\u2028"
    user.record("x", 1, text, id=text, metadata={text: text})
    item = read_ndjson(user.get(PATH, params={"format": "ndjson"}))[0]
    assert (item["id"], item["user_id"], item["metadata"]) == (text, text, {text: text})
    cells = read_csv(user.get(PATH, params={"format": "csv"}))[0]
    assert (cells["id"], cells["user_id"], json.loads(cells["metadata"])) == (text, text, {text: text})


@pytest.mark.parametrize("text", [
    "=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1", "=", '=HYPERLINK("http://x")', "-",
    "\n=1", "＝1", "＋1", "－1", "＠x", "﹦1", "﹢1", "﹣1", "﹫x",
])
def test_no_cell_is_a_formula(user, text):
    user.record("cost", -5.5, text, id=text, metadata={text: text})
    cells = read_csv(user.get(PATH, params={"format": "csv"}))[0]
    assert (cells["id"], cells["user_id"]) == ("'" + text, "'" + text)
    assert cells["metadata"][0] == "{"
    assert cells["value"] == "-5.5", "a number stays one"


@pytest.mark.parametrize("value", ["0", "-0.1", "1.50", "12345678901234567890.123456789", "1e308", "5e-324"])
def test_values_are_exact(user, value):
    answer = user.post("/analytics/events", data='{"type": "x", "user_id": "u", "value": %s}' % value)
    assert answer.status == 201, answer
    assert Decimal(read_csv(user.get(PATH, params={"format": "csv"}))[0]["value"]) == Decimal(value)
    assert read_ndjson(user.get(PATH, params={"format": "ndjson"}))[0]["value"] == Decimal(value)


def test_bounds(user):
    tick = datetime.timedelta(microseconds=1)
    times = [noon(3) - tick, noon(3), noon(3) + tick, noon(2) - tick, noon(2), noon(2) + tick]
    rows = [Row(time, f"{n}", "x", Decimal(1), "u", None) for n, time in enumerate(times)]
    insert(user.stack.postgres, user.workspace, rows)

    def ids(start, end):
        lines = read_ndjson(user.get(PATH, params={"format": "ndjson", "start": start, "end": end}))
        return "".join(line["id"] for line in lines)

    assert ids(format_time(noon(3)), format_time(noon(2))) == "123"
    assert ids(format_time(noon(3) + tick), format_time(noon(2) + tick)) == "234"
    assert ids(days_ago(3).isoformat(), days_ago(2).isoformat()) == "012345"


def test_nothing_of_the_future(user):
    """Or a slow export of today would run after the events that come."""
    now = datetime.datetime.now(UTC)
    minutes = [-1, 4, 30, 1000]
    rows = [Row(now + datetime.timedelta(minutes=m), f"{m}", "x", Decimal(1), "u", None) for m in minutes]
    insert(user.stack.postgres, user.workspace, rows)
    period = {"start": days_ago(1).isoformat(), "end": days_ago(-3).isoformat()}
    assert [line["id"] for line in read_ndjson(user.get(PATH, params={"format": "ndjson", **period}))] == ["-1", "4"]
    assert len(user.get("/analytics/events/date-range", params=period).json()["items"]) == 4


@pytest.mark.parametrize("params, matches", [
    ({"type": "cost"}, lambda r: r.type == "cost"), ({"user_id": "it's"}, lambda r: r.user_id == "it's"),
    ({"user_id": "back\\slash", "type": "cost"}, lambda r: (r.user_id, r.type) == ("back\\slash", "cost")),
    ({"metadata.status": "200"}, lambda r: r.metadata and str(r.metadata.get("status")) == "200"),
    ({"metadata.text": "\\", "metadata.status": "200"},
     lambda r: r.metadata and (r.metadata["text"], str(r.metadata["status"])) == ("\\", "200")),
    ({"user_id": "nobody"}, lambda r: False), ({"metadata.$1": "$2"}, lambda r: False),
])
def test_filters(user, params, matches):
    rows = insert(user.stack.postgres, user.workspace, random_rows(600, seed=9))
    expected = [as_item(row) for row in oldest_first(rows) if matches(row)]
    assert without_receipt(read_ndjson(user.get(PATH, params={"format": "ndjson", "days": 30, **params}))) == expected
    assert len(read_csv(user.get(PATH, params={"format": "csv", "days": 30, **params}))) == len(expected)


@pytest.mark.parametrize("text", ODD_TEXTS + [
    "$1", "$8", "$99", "$", "E'\\x'", "\n) TO PROGRAM 'x' --", "'); DROP TABLE events; --", "\\'; --", "-- \n",
])
def test_any_text_as_a_filter(user, text):
    """Here texts become part of a statement. Whatever they say, they stay texts."""
    key = text[:64]
    yes = Row(noon(1), "yes", "x", Decimal(1), text, {key: text})
    no = Row(noon(1), "no", "x", Decimal(1), text + "!", {key: text + "!"})
    insert(user.stack.postgres, user.workspace, [yes, no])
    for params in ({"user_id": text}, {f"metadata.{key}": text}, {"user_id": text, f"metadata.{key}": text}):
        assert without_receipt(read_ndjson(user.get(PATH, params={"format": "ndjson", **params}))) == [as_item(yes)]
        assert len(read_csv(user.get(PATH, params={"format": "csv", **params}))) == 1


@pytest.mark.parametrize("count", [4999, 5000, 5001, 10000, 12345])
@pytest.mark.parametrize("user_id", [None, "u"])
def test_stretches_lie_end_to_end(user, count, user_id):
    """An export is read in stretches of 5,000 events, even when all of them have the same time."""
    user.stack.postgres.query(
        "INSERT INTO events (occurred_at, id, type, value, user_id, workspace_id) "
        "SELECT %s + (n / 6000) * interval '1 s', n, 'x', n, 'u', %s FROM generate_series(1, %s) n",
        noon(1), user.workspace, count)
    params = {"format": "ndjson", **({"user_id": user_id} if user_id else {})}
    lines = read_ndjson(user.get(PATH, params=params))
    assert [line["value"] for line in lines] == [int(line["id"]) for line in lines]
    expected = sorted(range(1, count + 1), key=lambda n: (n // 6000, str(n)))
    assert [line["value"] for line in lines] == expected
    table = read_csv(user.get(PATH, params={**params, "format": "csv"}))
    assert [int(cells["id"]) for cells in table] == expected


def test_other_tenants_see_nothing(user, other):
    rows = random_rows(300, seed=4)
    insert(user.stack.postgres, user.workspace, rows)
    assert read_ndjson(other.get(PATH, params={"format": "ndjson", "days": 30})) == []
    insert(user.stack.postgres, other.workspace, [row._replace(value=row.value + 100000) for row in rows])
    mine = read_ndjson(user.get(PATH, params={"format": "ndjson", "days": 30}))
    assert without_receipt(mine) == [as_item(row) for row in oldest_first(rows)]


# ---- errors ----

@pytest.mark.parametrize("query, wrong", BAD + [
    ("limit=1", {"limit": "unknown_field"}), ("cursor=x", {"cursor": "unknown_field"}),
    ("user_id=", {"user_id": "too_short"}),
    ("user_id=" + "x" * 256, {"user_id": "too_long"}), ("format=csv", {"format": "repeated"}),
])
def test_bad_queries(user, query, wrong):
    for method in ("GET", "HEAD"):
        answer = user.request(method, f"{PATH}?format=csv&{query}")
        assert "Content-Disposition" not in answer.headers
        assert answer.status == 422
    assert_invalid(user.get(f"{PATH}?format=csv&{query}"), **wrong)


@pytest.mark.parametrize("query, code", [("format=", "too_short"), ("format=xml", "format"), ("format=CSV", "format"),
    ("format=json", "format")])
def test_bad_formats(user, query, code):
    assert_invalid(user.get(f"{PATH}?{query}"), format=code)


def test_csv_is_the_default(user):
    user.record(id="1")
    assert user.get(PATH).body == user.get(PATH, params={"format": "csv"}).body


def test_needs_a_token(client):
    assert_problem(client.get(PATH + "?format=csv"), 401)


def test_http_1_0_is_refused(stack, user):
    """It could not tell an answer that was cut from a whole one."""
    done = stack.curl(PATH + "?format=csv", "-0", "-H", f"Authorization: Bearer {user.token}")
    assert done.stdout.startswith("HTTP/1.1 400") and "An export needs HTTP/1.1" in done.stdout


# ---- large ones, on a stack of their own ----

@pytest.fixture(scope="module")
def large(make_stack):
    """Some 130 MB of events as NDJSON, one worker."""
    stack = make_stack(api_workers=1)
    user = stack.new_user()
    generate(stack.postgres, user.workspace, 500000, days=20,
             metadata="jsonb_build_object('path', '/v1/things/' || n %% 100, 'note', repeat('x', 60), 'n', n)")
    return user


def ask(user, query, receive_bytes):
    """Send the request of an export over HTTP/1.1; nothing of the body is read yet."""
    plain = socket.socket()
    if receive_bytes:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    plain.settimeout(90)
    plain.connect(("127.0.0.1", user.stack.port))
    connection = http.client.HTTPSConnection("localhost", user.stack.port, timeout=90)
    connection.sock = tls_context(user.stack.cert).wrap_socket(plain, server_hostname="localhost")
    connection.request("GET", f"{PATH}?{query}", headers={"Authorization": f"Bearer {user.token}"})
    return connection, connection.getresponse()


@contextlib.contextmanager
def exporting(user, query="format=ndjson&days=30", receive_bytes=None):
    """The answer of an export that has begun. A thread that just lost its database may say 503 first."""
    def begin():
        connection, answer = ask(user, query, receive_bytes)
        if answer.status != 200:
            connection.close()
        return answer.status == 200 and (connection, answer)

    connection, answer = wait_for(begin, 15, "an export")
    try:
        yield answer
    finally:
        connection.sock.shutdown(socket.SHUT_RDWR)  # close() would wait until nobody has the answer any more
        connection.close()


COPIES = "SELECT pid FROM pg_stat_activity WHERE application_name = 'tallygate' AND query LIKE 'SET LOCAL%COPY%' AND "


def copies(user, condition="wait_event = 'ClientWrite'"):
    """Process ids of the backends whose COPY waits for its reader."""
    return [row[0] for row in user.stack.postgres.query(COPIES + condition)]


def blocked(user, answer, count=1):
    """Wait until so many COPYs stand still because nobody reads. Now and then the export stands between two
    of them: then a little is read."""
    def look():
        found = copies(user)
        if len(found) < count:
            answer.read(16 * 1024)
        return len(found) >= count and found

    return wait_for(look, 60, "a COPY that waits for the client")


def memory_kib(pid):
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.partition("\nPss:")[2].split()[0])


@pytest.mark.skipif(PATIENCE > 1, reason="sanitizers keep what is freed")
@pytest.mark.parametrize("format", ["ndjson", "csv"])
def test_memory_of_a_large_export(large, format):
    """However much goes through, the worker's memory stays as it is."""
    worker = large.stack.api.workers[0]
    large.get(PATH, params={"format": format, "days": 1})
    before = memory_kib(worker)
    highest = received = 0
    with exporting(large, f"format={format}&days=30") as answer:
        while piece := answer.read(MIB):
            received += len(piece)
            highest = max(highest, memory_kib(worker))
    assert received > (100 if format == "ndjson" else 70) * MIB
    assert highest < before + 3 * 1024, f"{before} KiB before, {highest} KiB at the most"


def test_all_of_a_large_export(large):
    lines = large.get(PATH, params={"format": "ndjson", "days": 30}).body.splitlines()
    assert [json.loads(line)["metadata"]["n"] for line in lines] == list(range(500000, 0, -1))


def test_no_temporary_file_of_the_web_server(large):
    """A client that reads nothing makes nobody write to a disk, and the database waits."""
    with exporting(large, receive_bytes=4096) as answer:
        blocked(large, answer)
        assert not [path for path in (large.stack.dir / "nginx" / "fastcgi").rglob("*") if path.is_file()]


def assert_cut(large, break_it, log_status):
    """Break an export in the middle: an HTTP/1.1 client must see that it is not whole."""
    with exporting(large, receive_bytes=65536) as answer:
        request_id = answer.getheader("X-Request-ID")
        break_it(answer)
        with pytest.raises((http.client.IncompleteRead, ConnectionError, TimeoutError, OSError)):
            while answer.read(MIB):
                pass
    if log_status:
        line = large.stack.api.log_of(request_id)
        assert line["status"] == log_status


def terminate(large, pids):
    for pid in pids:
        assert large.stack.postgres.value("SELECT pg_terminate_backend(%s)", pid, database="postgres", user="postgres")


def test_backend_that_is_terminated_cuts_the_answer(large):
    assert_cut(large, lambda answer: terminate(large, blocked(large, answer)), 503)
    wait_for(lambda: large.get(PATH, params={"format": "ndjson", "days": 1}).status == 200, 15, "a working connection")


@pytest.mark.parametrize("version, code", [("--http1.1", 18), ("--http2", 92)])
def test_curl_sees_the_cut(large, version, code):
    """Its exit code: 18 is a partial file, 92 a stream that was not closed cleanly."""
    command = ["curl", "-q", "-sS", "--noproxy", "*", "--max-time", "90", "--cacert", str(large.stack.cert), version,
               "--limit-rate", "1M", "-H", f"Authorization: Bearer {large.token}", "-o", "/dev/null",
               "-w", "%{http_code}", large.stack.url + PATH + "?format=ndjson&days=30"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as curl:
        at_work = "(state = 'active' OR wait_event = 'ClientWrite')"
        found = wait_for(lambda: curl.poll() is not None or copies(large, at_work), 30, "a COPY", every_s=0.001)
        assert found is not True, curl.communicate()
        terminate(large, found)
        out, complaint = curl.communicate(timeout=90)
    assert out == "200"
    assert curl.returncode == code, complaint


def test_a_lost_connection_is_replaced_at_once(large):
    """The next request on the thread that lost it finds another; none is turned away for it."""
    for _ in range(10):
        with exporting(large, receive_bytes=65536) as answer:
            terminate(large, blocked(large, answer))
            with pytest.raises((http.client.IncompleteRead, ConnectionError, TimeoutError, OSError)):
                while answer.read(MIB):
                    pass
        # All threads of the worker, so the one as well.
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            asked = pool.map(lambda _: large.stack.new_client(large.token).get("/analytics/metrics").status, range(12))
            assert set(asked) == {200}


def test_worker_that_dies_cuts_the_answer(large):
    worker = large.stack.api.workers[0]
    assert_cut(large, lambda answer: answer.read(MIB) and os.kill(worker, signal.SIGKILL), None)
    wait_for(lambda: large.stack.api.workers and worker not in large.stack.api.workers, 15, "a new worker")
    wait_for(lambda: large.get(PATH, params={"format": "csv", "days": 1}).status == 200, 15, "a worker that serves")


def test_client_that_goes_stops_the_copy(large):
    with exporting(large, receive_bytes=4096) as answer:
        blocked(large, answer)
    wait_for(lambda: not copies(large), 10, "the end of the COPY")
    wait_for(lambda: any(line.get("status") == 499 for line in large.stack.api.log()), 10, "a line that tells it")
    for _ in range(20):
        assert large.get("/analytics/metrics").status == 200, "every thread's connection works"


def test_one_of_each_tenant_and_two_at_once(large):
    """A third is told to come again, and so is a second of the same tenant; other requests find a thread."""
    second, third = large.stack.new_user(), large.stack.new_user()
    for user in (second, third):
        generate(large.stack.postgres, user.workspace, 50000, days=20,
                 metadata="jsonb_build_object('note', repeat('x', 200))")
    with contextlib.ExitStack() as stack:
        blocked(large, stack.enter_context(exporting(large, receive_bytes=4096)))
        problem = assert_problem(large.get(PATH, params={"format": "csv"}), 503)
        assert problem["detail"] == "An export of this workspace is running already. Try again later."
        assert large.request("HEAD", PATH, params={"format": "csv"}).status == 200
        blocked(second, stack.enter_context(exporting(second, receive_bytes=4096)), 2)
        problem = assert_problem(third.get(PATH, params={"format": "csv"}), 503)
        assert problem["detail"] == "As many exports as may be are running already. Try again later."
        assert large.get("/analytics/events/date-range", params={"limit": 1}).status == 200
    for user in (large, second, third):
        wait_for(lambda user=user: user.get(PATH, params={"format": "csv", "days": 1}).status == 200, 15, "a free place")


def test_a_slow_client_holds_no_old_snapshot(large):
    """Stretch by stretch: while one client reads a little, the oldest snapshot goes on."""
    with exporting(large, receive_bytes=65536) as answer:
        seen = set()
        while len(seen) < 8 and (piece := answer.read(MIB)):
            started = large.stack.postgres.value(COPIES.replace("pid", "max(xact_start)", 1) + "true")
            seen.add(started)
            assert piece
        assert len(seen - {None}) >= 3


# ---- when the database is away, and limits ----

def test_database_that_is_away_is_told_before_the_first_byte(make_stack):
    stack = make_stack(database_timeout_ms=500)
    user = stack.new_user()
    user.record(id="1")
    stack.postgres.stop()
    for format in ("csv", "ndjson"):
        answer = user.get(PATH, params={"format": format})
        assert_problem(answer, 503)
        assert "Content-Disposition" not in answer.headers
    stack.up()
    wait_for(lambda: user.get(PATH, params={"format": "ndjson"}).status == 200, 15, "an export again")


def test_database_that_hangs_cuts_the_answer(make_stack):
    """No row for database_timeout_ms ends it, though the export as a whole may take as long as it likes."""
    stack = make_stack(database_timeout_ms=1000, api_workers=1)
    user = stack.new_user()
    generate(stack.postgres, user.workspace, 100000, days=20, metadata="jsonb_build_object('note', repeat('x', 200))")
    backends = []

    def stop(answer):
        backends.extend(blocked(user, answer))
        for pid in backends:
            os.kill(pid, signal.SIGSTOP)

    try:
        assert_cut(user, stop, 503)
    finally:
        for pid in backends:
            if process_alive(pid):
                os.kill(pid, signal.SIGCONT)


def test_an_export_outlasts_the_statement_timeout(make_stack):
    """It took longer than a statement may, and came whole."""
    stack = make_stack(database_timeout_ms=300, api_workers=1)
    user = stack.new_user()
    generate(stack.postgres, user.workspace, 60000, days=20, metadata="jsonb_build_object('note', repeat('x', 200))")
    started = time.monotonic()
    count = 0
    with exporting(user, receive_bytes=65536) as answer:
        while piece := answer.read(MIB):
            count += piece.count(b"\n")
            wait_for(lambda: time.monotonic() > started + count / 60000 * 2, 15, "the time to read on")
    assert count == 60000
    assert time.monotonic() - started > 1.5
