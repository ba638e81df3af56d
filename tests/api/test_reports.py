# SPDX-License-Identifier: Apache-2.0
"""/reports: definitions, runs, and the files in all their forms, looked at with the tools of others."""
import concurrent.futures
import csv
import datetime
import hashlib
import html.parser
import io
import json
import re
import subprocess
import uuid
from decimal import Decimal

import pytest

from env.problems import assert_invalid, assert_problem
from env.wait import TOP, wait_for
from env.workspaces import Workspace
from model import DAY, UTC, Event, Model, costs, summary

FORMATS = ("json", "csv", "html", "pdf")
SECTIONS = ["summary", "by_type", "costs", "top_users", "daily"]
REPORT = {"name": "Monthly", "sections": SECTIONS, "range": "30d", "format": "json"}


@pytest.fixture(scope="module")
def busy(make_stack):
    """With a tallygate-jobd."""
    return make_stack(jobs=True)


@pytest.fixture
def someone(busy):
    return busy.new_user()


def make(user, **fields):
    answer = user.post("/reports", {**REPORT, **fields})
    assert answer.status == 201, answer
    return answer.json()


def run(user, report):
    """Ask for it, and wait until it is made; returns the run."""
    begun = user.post(f"/reports/{report['id']}/run")
    assert begun.status == 202 and begun.json()["status"] == "queued", begun
    path = f"/reports/{report['id']}/runs/{begun.json()['run_id']}"
    assert begun.headers["Location"] == path

    def ended():
        shown = user.get(path).json()
        return shown if shown["status"] not in ("queued", "running") else None
    done = wait_for(ended, 30, "the report")
    assert done["status"] == "done", done
    return done


def fetch(user, done, **more):
    return user.get(f"/reports/{done['report_id']}/runs/{done['run_id']}/download", **more)


def made(user, **fields):
    """The bytes of a report that is made now."""
    done = run(user, make(user, **fields))
    answer = fetch(user, done)
    assert answer.status == 200, answer
    assert (len(answer.body), hashlib.sha256(answer.body).hexdigest()) == (done["size_bytes"], done["sha256"])
    return answer.body


def tool(program, data, *arguments):
    return subprocess.run([program, *arguments], input=data, capture_output=True, check=True).stdout


# ---- definitions ----

def test_one_and_its_life(stack, user):
    report = make(user)
    assert {name: report[name] for name in REPORT} == REPORT and report["created_by"] == user.id
    path = f"/reports/{report['id']}"
    assert user.get("/reports").json() == {"items": [report], "next_cursor": None} and user.get(path).json() == report
    changed = user.request("PATCH", path, {"name": "Ünder 🙂", "sections": ["daily"], "range": "last_month", "format": "pdf"})
    assert changed.status == 200 and changed.json() == {**report, "name": "Ünder 🙂", "sections": ["daily"], "range": "last_month", "format": "pdf"}
    assert user.request("PATCH", path, {}).json() == changed.json()
    assert user.get(f"{path}/runs").json() == {"items": [], "next_cursor": None}
    assert user.delete(path).status == 204
    for method, tail in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/run"), ("GET", "/runs"), ("GET", f"/runs/{uuid.uuid4()}"), ("GET", f"/runs/{uuid.uuid4()}/download")):
        assert_problem(user.request(method, path + tail, {} if method == "PATCH" else None), 404)
        assert_problem(user.request(method, "/reports/none" + tail, {} if method == "PATCH" else None), 404)
    actions = stack.postgres.query("SELECT action FROM audit_log WHERE subject = %s ORDER BY id", f"report:{report['id']}")
    assert [action for action, in actions] == ["report.created", "report.changed", "report.changed", "report.deleted"]


@pytest.mark.parametrize("fields, wrong", [
    ({"name": ""}, {"name": "too_short"}), ({"name": "x" * 101}, {"name": "too_long"}), ({"name": "a\nb"}, {"name": "control_character"}), ({"name": 1}, {"name": "type"}),
    ({"sections": []}, {"sections": "too_short"}), ({"sections": ["daily", "weather"]}, {"sections[1]": "unknown"}), ({"sections": ["daily", "daily"]}, {"sections[1]": "duplicate"}),
    ({"sections": [None]}, {"sections[0]": "unknown"}), ({"sections": ["daily\u0000"]}, {"sections[0]": "unknown"}), ({"sections": SECTIONS + ["daily"]}, {"sections": "too_long"}),
    ({"sections": "daily"}, {"sections": "type"}), ({"range": "0d"}, {"range": "format"}), ({"range": "401d"}, {"range": "format"}), ({"range": "01d"}, {"range": "format"}),
    ({"range": "30"}, {"range": "format"}), ({"range": "d"}, {"range": "format"}), ({"range": "30d "}, {"range": "format"}), ({"range": "next_month"}, {"range": "format"}),
    ({"format": "docx"}, {"format": "format"}), ({"more": 1}, {"more": "unknown_field"})])
def test_what_is_refused(user, fields, wrong):
    assert_invalid(user.post("/reports", {**REPORT, **fields}), **wrong)
    report = make(user)
    assert_invalid(user.request("PATCH", f"/reports/{report['id']}", fields), **wrong)


def test_a_hundred_are_the_most(stack, user):
    make(user)
    stack.postgres.query("INSERT INTO reports (workspace_id, id, name, sections, range, format) SELECT %s, gen_random_uuid(), 'x', '{daily}', '1d', 'json' FROM generate_series(2, 100)",
                         user.workspace)
    assert_problem(user.post("/reports", REPORT), 409)


@pytest.mark.parametrize("path, body, table, columns", [
    ("/reports", REPORT, "reports", "name, sections, range, format) SELECT %s, gen_random_uuid(), 'x', '{daily}', '1d', 'json'"),
    ("/webhooks", {"url": "https://example.org/", "event_types": ["*"]}, "webhooks", "url, event_types, secret) SELECT %s, gen_random_uuid(), 'https://x', '{*}', ''")])
def test_a_hundred_are_the_most_at_once(stack, user, path, body, table, columns):
    stack.postgres.query(f"INSERT INTO {table} (workspace_id, id, {columns} FROM generate_series(1, 99)", user.workspace)
    clients = [stack.new_client(user.token) for _ in range(6)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        statuses = sorted(answer.status for answer in pool.map(lambda client: client.post(path, body), clients))
    assert statuses == [201] + [409] * 5


def test_two_hundred_a_day(stack, user):
    report = make(user)
    stack.postgres.query("INSERT INTO report_runs (workspace_id, report_id, id, job_id, name, sections, format, first_day, days, state) "
                         "SELECT %s, %s, gen_random_uuid(), 0, 'x', '{daily}', 'json', current_date, 1, 'done' FROM generate_series(1, 200)", user.workspace, report["id"])
    assert_problem(user.post(f"/reports/{report['id']}/run"), 409)
    stack.postgres.query("DELETE FROM report_runs WHERE id = (SELECT id FROM report_runs WHERE workspace_id = %s LIMIT 1)", user.workspace)
    begun = user.post(f"/reports/{report['id']}/run")
    assert begun.status == 202
    stack.postgres.query("DELETE FROM jobs WHERE payload->>'run_id' = %s", begun.json()["run_id"])


def test_deleting_does_not_let_ask_for_more(stack, user):
    """What was asked for goes on to count within its day, and nothing waits for a report that is gone."""
    stack.postgres.query("INSERT INTO report_runs (workspace_id, report_id, id, job_id, name, sections, format, first_day, days, state) "
                         "SELECT %s, gen_random_uuid(), gen_random_uuid(), 0, 'x', '{daily}', 'json', current_date, 1, 'done' FROM generate_series(1, 199)", user.workspace)
    report = make(user)
    begun = user.post(f"/reports/{report['id']}/run")
    assert begun.status == 202 and user.delete(f"/reports/{report['id']}").status == 204
    assert stack.postgres.query("SELECT count(*) FROM jobs WHERE payload->>'run_id' = %s", begun.json()["run_id"]) == [(0,)]
    assert_problem(user.post(f"/reports/{make(user)['id']}/run"), 409)


def test_the_same_key_asks_once(stack, user):
    path = f"/reports/{make(user)['id']}"
    first, second = (user.post(f"{path}/run", headers={"Idempotency-Key": "once"}) for _ in range(2))
    assert first.status == second.status == 202 and first.json() == second.json() and "Location" in first.headers and len(user.get(f"{path}/runs").json()["items"]) == 1
    stack.postgres.query("DELETE FROM jobs WHERE payload->>'run_id' = %s", first.json()["run_id"])


def test_ten_wait_at_the_most(stack, user):
    """Nobody makes them here. One whose job is gone or dead does not count, and says that it failed."""
    report = make(user)
    path = f"/reports/{report['id']}"
    runs = [user.post(f"{path}/run").json() for _ in range(10)]
    assert_problem(user.post(f"{path}/run"), 409)
    assert stack.postgres.query("SELECT count(*) FROM jobs WHERE payload->>'workspace_id' = %s", str(user.workspace)) == [(10,)]
    for lost, statement in zip(runs, ("DELETE FROM jobs", "UPDATE jobs SET state = 'dead'")):
        stack.postgres.query(f"{statement} WHERE payload->>'run_id' = %s", lost["run_id"])
        assert user.get(f"{path}/runs/{lost['run_id']}").json()["status"] == "failed"
        assert_problem(user.get(f"{path}/runs/{lost['run_id']}/download"), 409)
    assert user.post(f"{path}/run").status == user.post(f"{path}/run").status == 202
    assert_problem(user.post(f"{path}/run"), 409)
    listed = user.get(f"{path}/runs").json()["items"]
    assert len(listed) == 12 and [item["created_at"] for item in listed] == sorted((item["created_at"] for item in listed), reverse=True)
    stack.postgres.query("DELETE FROM jobs WHERE payload->>'workspace_id' = %s", str(user.workspace))


@pytest.mark.parametrize("range_, days", [("1d", None), ("400d", None), ("yesterday", None), ("last_week", 7), ("last_month", None), ("this_month", None)])
def test_ranges(stack, user, range_, days):
    report = make(user, range=range_)
    shown = user.post(f"/reports/{report['id']}/run").json()
    today = datetime.date.fromisoformat(shown["created_at"][:10])
    month = today.replace(day=1)
    first, last = {"1d": (today, today), "400d": (today - 399 * DAY, today), "yesterday": (today - DAY, today - DAY),
                   "last_week": (today - (today.weekday() + 7) * DAY, today - (today.weekday() + 1) * DAY),
                   "last_month": ((month - DAY).replace(day=1), month - DAY), "this_month": (month, today)}[range_]
    assert (shown["first_day"], shown["last_day"]) == (first.isoformat(), last.isoformat())
    assert days is None or (last - first).days + 1 == days
    stack.postgres.query("DELETE FROM jobs WHERE payload->>'run_id' = %s", shown["run_id"])


# ---- what is in them ----

def test_as_the_model_says(someone):
    model = Model(someone).add_random(500, days=40)
    report = json.loads(made(someone), parse_float=Decimal)
    start = datetime.datetime.now(UTC).date() - 29 * DAY
    told = summary(model, start, 30)
    sections = report["sections"]
    assert (report["name"], report["first_day"], report["last_day"]) == ("Monthly", start.isoformat(), (start + 29 * DAY).isoformat())
    assert list(sections) == SECTIONS
    rows = {row["measure"]: row for row in sections["summary"]}
    for measure, name in (("events", "total_events"), ("value", "total_value"), ("active_users", "active_users")):
        change = told["change"][name]
        assert rows[measure] == {"measure": measure, "value": told[name], "previous": change["previous"], "change_percent": change["percent"]}
    assert sections["by_type"] == told["by_type"]
    inside = [e for e in model.events if start <= e.time.astimezone(UTC).date() < start + 30 * DAY]
    spent = sum((e.value for e in inside if e.type == "cost"), Decimal(0))
    assert rows["cost"]["value"] == spent == sum(row["cost"] for row in sections["costs"]) == sum(row["cost"] for row in sections["daily"])
    assert [row["day"] for row in sections["daily"]] == [(start + n * DAY).isoformat() for n in range(30)]
    for row in sections["daily"]:
        of_day = [e for e in inside if e.time.astimezone(UTC).date().isoformat() == row["day"]]
        assert (row["events"], row["active_users"], row["value"]) == (len(of_day), len({e.user_id for e in of_day}), sum((e.value for e in of_day), Decimal(0)))
    users = {row["user_id"]: row["events"] for row in sections["top_users"]}
    assert users == {user: sum(e.user_id == user for e in inside) for user in {e.user_id for e in inside}}


def test_of_nothing(someone):
    report = json.loads(made(someone, range="1d"))
    assert [row["value"] for row in report["sections"]["summary"]] == [0, 0, 0, 0]
    assert all(report["sections"][name] == [] for name in ("by_type", "costs", "top_users")) and report["sections"]["daily"][0]["events"] == 0
    assert "There was nothing" in tool("pdftotext", made(someone, range="1d", format="pdf"), "-", "-").decode()
    assert "There was nothing" in made(someone, range="1d", format="html").decode()


ODD_USERS = ["=cmd|' /C calc'!A0", "+1", "-1", "@x", "'quote", 'say "hi"', "a,b", "line\nfeed", "<script>alert(1)</script>", "&amp;", "李明", "Ünder", "שלום", "\x01\x02", "\ufe66HYPERLINK(1)", "\ufe6bx", "🙂" * 255]


class _Page(html.parser.HTMLParser):
    """The tags, and the words between them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.words.append(data)


def test_texts_of_anybody(someone):
    now = datetime.datetime.now(UTC) - datetime.timedelta(seconds=1)
    Model(someone).send([Event("cost", Decimal("1234567.5"), user, now, None) for user in ODD_USERS])
    name = 'N<b>a"me & \'so\' Ünder 李明'
    fields = {"name": name, "range": "2d"}
    assert {row["user_id"] for row in json.loads(made(someone, **fields))["sections"]["top_users"]} == set(ODD_USERS)

    table = list(csv.reader(io.StringIO(made(someone, format="csv", **fields).decode(), newline="")))
    assert table[0] == ["section", "group", "measure", "value"] and {len(row) for row in table} == {4}
    cells = {row[1] for row in table if row[0] == "top_users"}
    assert cells == {f"'{user}" if user[0] in "=+-@'\ufe66\ufe6b" else user for user in ODD_USERS}
    assert ["costs", now.date().isoformat(), "cost", str(Decimal("1234567.5") * len(ODD_USERS))] in table

    page = _Page(made(someone, format="html", **fields).decode())
    assert not {"script", "b", "img", "a"} & set(page.tags) and page.words.count(name) == 2  # title and heading
    assert set(ODD_USERS) - set(page.words) == {"\x01\x02"} and "1,234,567.5" in page.words

    pdf = made(someone, format="pdf", **fields)
    text = tool("pdftotext", pdf, "-layout", "-", "-").decode()
    for word in (name, "李明", "Ünder", "<script>alert(1)</script>", "1,234,567.5", "Busiest users", "Day by day"):
        assert word in text, word
    assert f"Title:           {name}" in tool("pdfinfo", pdf, "-").decode()


def _pictures(pdf, folder):
    """Its pages, as width, height and the pixels of each."""
    (folder / "report.pdf").write_bytes(pdf)
    subprocess.run(["pdftoppm", "-r", "40", str(folder / "report.pdf"), str(folder / "page")], check=True)
    pages = []
    for path in sorted(folder.glob("page*.ppm")):
        kind, size, depth, pixels = path.read_bytes().split(b"\n", 3)
        assert (kind, depth) == (b"P6", b"255")
        width, height = map(int, size.split())
        assert len(pixels) == width * height * 3
        pages.append((width, height, pixels))
    return pages


def test_pages_as_pictures(someone, tmp_path):
    """Many types: tables go over pages, heads are repeated, pages are counted, and there is ink, also of the drawings, on paper."""
    now = datetime.datetime.now(UTC) - DAY
    Model(someone).send([Event(f"type.{n}", Decimal(1), f"user-{n % 5}", now - (n % 300) * DAY, None) for n in range(320)])
    pdf = made(someone, format="pdf", range="400d", name="Long")
    pages = _pictures(pdf, tmp_path)
    text = tool("pdftotext", pdf, "-layout", "-", "-").decode().split("\f")[:-1]
    assert len(pages) == len(text) > 10
    for number, (page, (width, height, pixels)) in enumerate(zip(text, pages), 1):
        assert f"{number} / {len(pages)}" in page
        assert (width, height) == (331, 468)
        assert pixels[:3] == pixels[-3:] == b"\xff\xff\xff" and pixels.count(0xff) > len(pixels) // 2
        dark = sum(value < 128 for value in pixels[::3])
        assert dark > 50, number
    blue = [sum(red < 100 and value > 150 for red, value in zip(pixels[::3], pixels[2::3])) for _, _, pixels in pages]
    assert blue[0] > 500 and max(blue[1:]) > 100  # bars of the types, and the columns of the days
    assert sum("Prev. events" in page for page in text) > 5
    assert {f"type.{n}" for n in range(320)} <= set(tool("pdftotext", pdf, "-", "-").decode().split())


# ---- the file on its way ----

def test_headers_and_ranges(busy, someone):
    for form, kind in zip(FORMATS, ("application/json", "text/csv; charset=utf-8; header=present", "text/html; charset=utf-8", "application/pdf")):
        done = run(someone, make(someone, format=form, range="1d"))
        answer = fetch(someone, done)
        assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
        assert answer.headers["Content-Disposition"] == f'attachment; filename="report-{done["first_day"]}-{done["last_day"]}.{form}"'
        assert answer.headers["Cache-Control"] == "no-store" and answer.headers["X-Content-Type-Options"] == "nosniff" and answer.headers["X-Request-ID"]
        assert "X-Accel-Redirect" not in answer.headers and answer.headers["traceparent"].startswith("00-") and answer.headers["ETag"] == fetch(someone, done).headers["ETag"]
        part = fetch(someone, done, headers={"Range": "bytes=5-9", "Accept-Encoding": "identity"})
        assert (part.status, part.body) == (206, answer.body[5:10])
        head = someone.request("HEAD", f"/reports/{done['report_id']}/runs/{done['run_id']}/download", headers={"Accept-Encoding": "identity"})
        assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(done["size_bytes"]))
    kept = busy.dir / "cache" / f"report-{done['run_id']}.{form}"
    assert kept.stat().st_mode & 0o777 == 0o640
    kept.write_bytes(b"half")  # of a host that lost its power
    assert fetch(someone, done).body == answer.body
    kept.unlink()
    assert fetch(someone, done).body == answer.body and not list(kept.parent.glob(f"{kept.name}.*"))


def test_nobody_gets_at_the_files_otherwise(busy, someone):
    done = run(someone, make(someone))
    assert fetch(someone, done).status == 200
    name = f"report-{done['run_id']}.json"
    for path in (f"/.tallygate-files/{name}", f"/api/v1/.tallygate-files/{name}", "/.tallygate-files/", f"/.tallygate-files/../cache/{name}"):
        assert busy.raw("GET", path).status == 404
    stranger = busy.new_user()
    report = make(stranger)
    for path in (f"/reports/{done['report_id']}", f"/reports/{done['report_id']}/runs", f"/reports/{done['report_id']}/runs/{done['run_id']}",
                 f"/reports/{done['report_id']}/runs/{done['run_id']}/download", f"/reports/{report['id']}/runs/{done['run_id']}/download"):
        assert_problem(stranger.get(path), 404)
    assert_problem(busy.client.get(f"/reports/{done['report_id']}/runs/{done['run_id']}/download"), 401)


def test_with_its_report_goes_what_was_made(busy, someone):
    report = make(someone)
    done = run(someone, report)
    assert fetch(someone, done).status == 200
    assert someone.delete(f"/reports/{report['id']}").status == 204
    assert_problem(fetch(someone, done), 404)
    assert busy.postgres.query("SELECT count(*) FROM report_files WHERE run_id = %s", done["run_id"]) == [(0,)]


def _waits(busy, words, count=1):
    wait_for(lambda: len(busy.postgres.query("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ %s", words)) == count, 30, words)


def test_deleted_while_it_is_kept(busy, someone):
    """Who keeps a file, who deletes and who asks for another run wait for one another, and nothing stays behind."""
    report = make(someone)
    path = f"/reports/{report['id']}"
    with busy.postgres.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT FROM reports WHERE id = %s FOR UPDATE", [report["id"]])
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            asking = pool.submit(busy.new_client(someone.token).post, f"{path}/run")
            _waits(busy, "Begin a run of a report")
            cursor.execute("DELETE FROM reports WHERE id = %s", [report["id"]])
            connection.commit()
            assert_problem(asking.result(), 404)
    assert busy.postgres.query("SELECT count(*) FROM jobs WHERE payload->>'workspace_id' = %s", str(someone.workspace)) == [(0,)]

    report = make(someone)
    path = f"/reports/{report['id']}"
    with busy.postgres.connect() as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE report_files IN SHARE MODE")  # the job waits where it has told that it is done
        begun = someone.post(f"{path}/run").json()
        _waits(busy, "INSERT INTO report_files")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            deletion = pool.submit(busy.new_client(someone.token).delete, path)
            _waits(busy, "FROM reports WHERE workspace_id = .* FOR UPDATE")
            connection.commit()
            assert deletion.result().status == 204
    assert busy.postgres.query("SELECT count(*) FROM report_files WHERE run_id = %s", begun["run_id"]) == [(0,)]
    assert busy.postgres.query("SELECT name, state FROM report_runs WHERE id = %s", begun["run_id"]) == [("", "done")]


def test_a_directory_that_takes_nothing(busy, someone):
    """Then the file goes through the worker; and by nginx again, when the directory is well."""
    done = run(someone, make(someone))
    cache, away = busy.dir / "cache", busy.dir / "elsewhere"
    cache.rename(away)
    try:
        answer = fetch(someone, done)
        assert (answer.status, hashlib.sha256(answer.body).hexdigest()) == (200, done["sha256"])
        assert answer.headers["Content-Disposition"].endswith('.json"') and answer.headers["Content-Type"] == "application/json" and "ETag" not in answer.headers
    finally:
        away.rename(cache)
    again = fetch(someone, done)
    assert (again.status, again.body) == (200, answer.body) and again.headers["ETag"]


def test_a_file_whose_days_are_over(busy, someone):
    done = run(someone, make(someone))
    busy.postgres.query("DELETE FROM report_files WHERE run_id = %s", done["run_id"])
    answer = fetch(someone, done)
    assert_problem(answer, 404)
    assert "Content-Disposition" not in answer.headers and not list((busy.dir / "cache").glob(f"*{done['run_id']}*"))


def test_where_it_was_cut_off(busy, someone):
    """A client goes on with what it has, also when the file was fetched anew meanwhile, as another host would."""
    done = run(someone, make(someone))
    whole = fetch(someone, done, headers={"Accept-Encoding": "identity"})
    (busy.dir / "cache" / f"report-{done['run_id']}.json").unlink()
    rest = fetch(someone, done, headers={"Accept-Encoding": "identity", "Range": "bytes=10-", "If-Range": whole.headers["ETag"]})
    assert (rest.status, rest.body) == (206, whole.body[10:])


@pytest.fixture(scope="module")
def strict(make_stack):
    return make_stack(jobs=True, jobs_statement_timeout_s=2, cors_origins="https://app.example.org")


def test_another_origin_may_fetch(strict):
    user = strict.new_user()
    answer = fetch(user, run(user, make(user)), headers={"Origin": "https://app.example.org"})
    assert answer.status == 200 and answer.headers["Access-Control-Allow-Origin"] == "https://app.example.org" and "Origin" in answer.headers["Vary"]
    exposed = answer.headers["Access-Control-Expose-Headers"].lower()
    assert "x-request-id" in exposed and "content-disposition" in exposed


@pytest.mark.parametrize("limit, wanted", [("300s", "1min"), ("0", "1min"), ("2s", "2s")])
def test_a_minute_at_the_most(stack, limit, wanted):
    """The statement that a report begins with, as the program has it."""
    source = (TOP / "src/report/report_content.c").read_text()
    words = source[source.index('"report_limit"'):]
    sql = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', words[len('"report_limit"'):words.index("};")]))
    with stack.postgres.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"SET statement_timeout = '{limit}'")
        cursor.execute(sql)
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone()[0] == wanted
        connection.rollback()


def test_one_that_takes_too_long(strict):
    """It fails at once and says why, rather than four times in another's place."""
    user = strict.new_user()
    report = make(user)
    with strict.postgres.connect() as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE rollup_user_day IN ACCESS EXCLUSIVE MODE")
        begun = user.post(f"/reports/{report['id']}/run").json()
        path = f"/reports/{report['id']}/runs/{begun['run_id']}"
        failed = wait_for(lambda: (lambda r: r if r["status"] == "failed" else None)(user.get(path).json()), 30, "the failure")
        assert "takes too long" in failed["error"] and failed["finished_at"]
        connection.rollback()
    assert run(user, report)["status"] == "done"


# ---- once, and told ----

def test_it_is_told_once(busy, someone):
    """A job that runs a second time, after its process was lost, changes nothing."""
    done = run(someone, make(someone, name="Told"))
    events = "SELECT type, subject, data->>'run_id', data->>'name', data->>'sha256', user_id FROM event_outbox WHERE data->>'run_id' = %(id)s " \
             "UNION ALL SELECT type, subject, data->>'run_id', data->>'name', data->>'sha256', %(user)s FROM domain_events WHERE data->>'run_id' = %(id)s"
    with busy.postgres.connect() as connection, connection.cursor() as cursor:
        def told():
            cursor.execute(events, {"id": done["run_id"], "user": str(someone.id)})
            return cursor.fetchall()
        expected = [("report.generated", f"report:{done['report_id']}", done["run_id"], "Told", done["sha256"], str(someone.id))]
        assert told() == expected
        cursor.execute("INSERT INTO jobs (type, payload, unique_key) VALUES ('reports.make', %s, 'again') RETURNING id", [json.dumps({"workspace_id": someone.workspace, "run_id": done["run_id"]})])
        job = cursor.fetchone()[0]
        connection.commit()

        def ended():
            connection.rollback()
            cursor.execute("SELECT FROM jobs_done WHERE id = %s", [job])
            return cursor.rowcount == 1
        wait_for(ended, 30, "the second time")
        assert told() == expected
    assert someone.get(f"/reports/{done['report_id']}/runs/{done['run_id']}").json() == done


def test_tried_again_by_an_administrator(busy, someone):
    """A run that failed is made after all when somebody has its job tried again."""
    report = make(someone)
    begun = someone.post(f"/reports/{report['id']}/run").json()
    path = f"/reports/{report['id']}/runs/{begun['run_id']}"
    wait_for(lambda: someone.get(path).json()["status"] == "done", 30, "the report")
    [(job,)] = busy.postgres.query("UPDATE report_runs SET state = 'failed', error = 'x', size_bytes = NULL WHERE id = %s RETURNING job_id", begun["run_id"])
    busy.postgres.query("DELETE FROM report_files WHERE run_id = %s", begun["run_id"])
    busy.postgres.query("INSERT INTO jobs (id, type, payload, state, attempts) OVERRIDING SYSTEM VALUE VALUES (%s, 'reports.make', %s, 'dead', 4)", job,
                        json.dumps({"workspace_id": someone.workspace, "run_id": begun["run_id"]}))
    assert someone.get(path).json()["status"] == "failed"
    assert busy.ctl("jobs", "retry", str(job)).returncode == 0
    done = wait_for(lambda: (lambda r: r if r["status"] == "done" else None)(someone.get(path).json()), 30, "the report after all")
    assert done["error"] is None and fetch(someone, done).status == 200


def test_a_shared_workspace(busy, someone):
    space = Workspace(someone)
    viewer = space.add(busy.new_user(), "viewer")
    report = someone.post("/reports", REPORT, headers=space.header).json()
    path = f"/reports/{report['id']}"
    assert_problem(viewer.post(f"{path}/run", headers=space.header), 403)
    assert_problem(viewer.post("/reports", REPORT, headers=space.header), 403)
    begun = someone.post(f"{path}/run", headers=space.header).json()
    shown = wait_for(lambda: (lambda r: r if r["status"] == "done" else None)(viewer.get(f"{path}/runs/{begun['run_id']}", headers=space.header).json()), 30, "the report")
    assert fetch(viewer, shown, headers=space.header).json()["workspace"] == f"Workspace {space.slug}"
    assert_problem(fetch(viewer, shown), 404)  # in the viewer's own


def test_at_a_shell(busy, someone, tmp_path):
    place = str(someone.workspace)
    added = json.loads(busy.ctl("--json", "report", "add", place, "At a shell", "--format", "csv", "--range", "7d", "--sections", "daily,summary").stdout)
    assert (added["sections"], added["format"], added["range"]) == (["daily", "summary"], "csv", "7d")
    begun = json.loads(busy.ctl("--json", "report", "run", place, added["id"]).stdout)
    one = (place, added["id"], begun["run_id"])
    wait_for(lambda: json.loads(busy.ctl("--json", "report", "status", *one).stdout)["status"] == "done", 30, "the report")
    target = tmp_path / "out.csv"
    assert busy.ctl("report", "download", *one, "--output", str(target)).returncode == 0
    printed = subprocess.run(busy.ctl_command("report", "download", *one), capture_output=True, check=True).stdout
    assert printed == target.read_bytes() == fetch(someone, {"report_id": added["id"], "run_id": begun["run_id"]}).body
    with open("/dev/full", "wb") as full:
        cut = subprocess.run(busy.ctl_command("report", "download", *one), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert cut.returncode == 1 and "not all could be written" in cut.stderr
    again = busy.ctl("report", "download", *one, "--output", str(target))
    assert again.returncode == 1 and "File exists" in again.stderr
    assert busy.ctl("report", "download", place, added["id"], str(uuid.uuid4()), "--output", str(tmp_path / "none")).returncode == 3 and not (tmp_path / "none").exists()
    assert "done" in busy.ctl("report", "runs", place, added["id"]).stdout and "At a shell" in busy.ctl("report", "list", place).stdout
    assert busy.ctl("report", "show", place, added["id"]).returncode == busy.ctl("report", "delete", place, added["id"]).returncode == 0
    assert busy.ctl("report", "show", place, added["id"]).returncode == 3
