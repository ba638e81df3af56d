# SPDX-License-Identifier: Apache-2.0
"""tallygatectl events, partition: events in and out, archived and brought back, and what was counted of them."""
import contextlib
import csv
import datetime
import hashlib
import io
import json
import random
import subprocess

import pytest

from env import consistency
from env.wait import wait_for

NOW = datetime.datetime.now(datetime.timezone.utc)
# Each is of a kind that a format could spoil.
TEXTS = ["plain", "=1+1", "'=1+1", "''", "'plain", "ü ☃", 'a "quoted" one', "two\nlines", " spaces ", "back\\slash", "it's", "-", "﹫x", "a,b"]


@pytest.fixture(scope="module")
def stack(make_stack):
    return make_stack()


def ctl(stack, *arguments, code=0, **more):
    done = stack.ctl("--json", *arguments, **more)
    assert done.returncode == code, done
    return json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout


def new_workspace(stack):
    user = stack.new_user()
    return user, str(ctl(stack, "workspace", "add", user.email, "Imports")["id"])


def events(count, days, first_day=0, prefix="e"):
    """Some events, `first_day` to `days` days ago."""
    made = []
    for n in range(count):
        at = NOW - datetime.timedelta(days=first_day + random.random() * (days - first_day))
        made.append({"id": f"{prefix}-{n}-{random.choice(TEXTS)}", "type": random.choice(("api_call", "cost", "x.y")),
                     "value": random.choice((1, 0.25, -3, 12345678901234567890.5)), "user_id": random.choice(TEXTS),
                     "metadata": random.choice((None, {"a": random.choice(TEXTS), "n": n, "deep": {"x": [1, None]}})),
                     "timestamp": at.isoformat().replace("+00:00", "Z")})
    return made


def write_ndjson(path, items):
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return str(path)


def exported(stack, workspace, *options):
    done = stack.ctl("events", "export", workspace, "--start", (NOW - datetime.timedelta(days=395)).date().isoformat(), *options)
    assert done.returncode == 0, done
    return done.stdout


def without_receipt(text):
    items = [json.loads(line) for line in text.splitlines()]
    for item in items:
        del item["received_at"]
    return sorted(items, key=lambda item: (item["timestamp"], item["id"]))


# ---- import and export ----

def test_what_is_exported_can_be_imported(stack, tmp_path):
    """By either format, into another workspace, it is the same."""
    _, one = new_workspace(stack)
    given = events(3000, 300)
    assert ctl(stack, "events", "import", "--workspace", one, write_ndjson(tmp_path / "given.ndjson", given)) == {
        "recorded": 3000, "duplicates": 0, "rejected": 0}
    consistency.check(stack.postgres, one)
    ndjson = exported(stack, one)
    assert [item["id"] for item in without_receipt(ndjson)] == [item["id"] for item in sorted(
        given, key=lambda item: (datetime.datetime.fromisoformat(item["timestamp"]), item["id"].encode()))]
    for name, text in (("a.ndjson", ndjson), ("a.csv", exported(stack, one, "--format", "csv"))):
        _, other = new_workspace(stack)
        (tmp_path / name).write_text(text, newline="")
        assert ctl(stack, "events", "import", "--workspace", other, str(tmp_path / name))["recorded"] == 3000
        assert without_receipt(exported(stack, other)) == without_receipt(ndjson)
        consistency.check(stack.postgres, other)


def test_an_import_counts_an_id_once(stack, tmp_path):
    user, workspace = new_workspace(stack)
    path = write_ndjson(tmp_path / "e.ndjson", events(50, 20))
    assert ctl(stack, "events", "import", "--workspace", workspace, path)["recorded"] == 50
    assert ctl(stack, "events", "import", "--workspace", workspace, path)["duplicates"] == 50
    headers = {"X-Workspace": workspace}
    first = json.loads(open(path).readline())
    answer = user.client.post("/analytics/events", first, headers=headers)
    assert (answer.status, answer.json()["status"]) == (200, "duplicate")


def test_an_import_may_be_old_compressed_and_come_by_a_pipe(stack, tmp_path):
    _, workspace = new_workspace(stack)
    old = [{"type": "api_call", "value": 1, "user_id": "u", "timestamp": "1999-12-31T23:59:59Z", "id": "old"}]
    path = write_ndjson(tmp_path / "e.ndjson", old)
    subprocess.run(["zstd", "-q", path], check=True)
    assert ctl(stack, "events", "import", "--workspace", workspace, path + ".zst")["recorded"] == 1
    assert ctl(stack, "events", "import", "--workspace", workspace, "-", given=open(path).read())["duplicates"] == 1
    damaged = tmp_path / "damaged.zst"
    damaged.write_bytes((tmp_path / "e.ndjson.zst").read_bytes()[:-6])
    done = stack.ctl("events", "import", "--workspace", workspace, str(damaged))
    assert done.returncode == 1 and "damaged.zst: is cut short" in done.stderr


def test_lines_that_are_not_valid_are_told_and_their_neighbours_recorded(stack, tmp_path):
    _, workspace = new_workspace(stack)
    good = events(2, 5)
    lines = [json.dumps(good[0]), "{", '"text"', '{"type":"a","value":"x","user_id":"u"}', "",
             json.dumps({**good[1], "workspace_id": 4711}), json.dumps({**good[1], "timestamp": "1960-01-01T00:00:00Z"}),
             '{"type":"a","value":1,"user_id":"' + "u" * 300 + '"}', "x" * 3_000_000, json.dumps({**good[1], "more": 1}), json.dumps(good[1])]
    done = stack.ctl("--json", "events", "import", "--workspace", workspace, "-", given="\n".join(lines))
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"recorded": 2, "duplicates": 0, "rejected": 8}
    assert [line.split(": ")[1:3] for line in done.stderr.splitlines()] == [
        ["line 2", "event"], ["line 3", "event"], ["line 4", "value"], ["line 6", "workspace_id"], ["line 7", "timestamp"],
        ["line 8", "user_id"], ["line 9", "event"], ["line 10", "more"]]


def test_a_table_that_is_none(stack):
    _, workspace = new_workspace(stack)

    def imported(text):
        return stack.ctl("events", "import", "--workspace", workspace, "--format", "csv", "-", given=text)

    assert "names a column 'colour'" in imported("id,colour\n1,red\n").stderr
    assert "names the column id twice" in imported("id,type,id\n").stderr
    assert imported('\ufeff"id",type,value,user_id\n9,a,2,u\n').returncode == 0
    assert "after line 1" in imported('id,type,value,user_id\n"1,a,2,u\n').stderr
    done = imported("id,type,value,user_id,metadata\n1,a,x,u,\n2,a,2,u,{}\n3,a,2,u,{},more\n4,a,2\n5,a,2,u,{\n")
    assert [line.split(": ")[1:3] for line in done.stderr.splitlines()] == [
        ["line 2", "value"], ["line 4", "event"], ["line 5", "user_id"], ["line 6", "metadata"]]
    assert "recorded    1" in done.stdout


def test_an_export_is_csv_that_python_reads(stack, tmp_path):
    _, workspace = new_workspace(stack)
    ctl(stack, "events", "import", "--workspace", workspace, write_ndjson(tmp_path / "e.ndjson", events(200, 30)))
    rows = list(csv.DictReader(io.StringIO(exported(stack, workspace, "--format", "csv"), newline="")))
    assert len(rows) == 200 and set(rows[0]) == {"id", "type", "value", "user_id", "metadata", "timestamp", "received_at"}
    assert {row["type"] for row in csv.DictReader(io.StringIO(exported(stack, workspace, "--format", "csv", "--type", "cost")))} == {"cost"}
    assert stack.ctl("events", "export", workspace, "--format", "xml").returncode == 1
    assert stack.ctl("events", "export", "nobody").returncode == 3


# ---- archives ----

@pytest.fixture
def archive_dir(tmp_path):
    (tmp_path / "archive").mkdir()
    return tmp_path / "archive"


def day(days_ago):
    return (NOW - datetime.timedelta(days=days_ago)).date().isoformat()


def test_archived_dropped_and_brought_back(make_stack, tmp_path, archive_dir):
    stack = make_stack()
    user, workspace = new_workspace(stack)
    ctl(stack, "events", "import", "--workspace", workspace, write_ndjson(tmp_path / "e.ndjson", events(4000, 379)))
    ctl(stack, "partition", "keep")
    before, raw = exported(stack, workspace), stack.postgres.value("SELECT count(*) FROM events")

    def figures():
        answer = user.client.get("/analytics/summary?days=380", headers={"X-Workspace": workspace})
        assert answer.status == 200
        return {name: value for name, value in answer.json().items() if name != "first_event_at"}  # of those that are there

    summary = figures()
    assert summary["total_events"] == 4000

    done = stack.ctl("events", "prune", "--before", day(60), "--dir", str(archive_dir))
    assert done.returncode == 2 and "at least 62 days back" in done.stderr
    pruned = ctl(stack, "events", "prune", "--before", day(100), "--dir", str(archive_dir))["items"]
    kept = {item["name"] for item in ctl(stack, "partition", "list")["items"]}
    assert pruned and not kept & {item["partition"] for item in pruned}
    assert stack.postgres.value("SELECT count(*) FROM events") == raw - sum(item["events"] for item in pruned)
    assert exported(stack, workspace) != before
    # What they counted for is still told, and not taken for a fault.
    assert figures() == summary
    assert ctl(stack, "events", "check")["rows_wrong"] == 0
    assert ctl(stack, "events", "rebuild-rollups")["rows_mended"] == 0
    assert figures() == summary
    for item in pruned:
        path = archive_dir / item["file"].rsplit("/", 1)[1]
        assert (archive_dir / (path.name + ".sha256")).read_text() == f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        plain = subprocess.run(["zstd", "-dqc", path], check=True, capture_output=True).stdout.decode()
        assert len(plain.splitlines()) == item["events"]
        assert all(json.loads(line)["workspace_id"] == int(workspace) for line in plain.splitlines())

    files = [item["file"] for item in pruned]
    assert ctl(stack, "events", "import", files[0]) == {"events": pruned[0]["events"], "restored": pruned[0]["events"]}
    assert ctl(stack, "events", "import", files[0])["restored"] == 0
    for path in files[1:]:
        ctl(stack, "events", "import", path)
    assert exported(stack, workspace) == before
    assert ctl(stack, "events", "check")["rows_wrong"] == 0
    consistency.check(stack.postgres, workspace)
    entries = stack.postgres.query("SELECT action, count(*) FROM audit_log WHERE subject LIKE 'partition:%' GROUP BY 1 ORDER BY 1")
    assert entries == [("events.pruned", len(pruned)), ("events.restored", len(pruned) + 1)]


def test_what_was_taken_out_is_dropped_by_the_next_attempt(make_stack, tmp_path, archive_dir):
    """As when a disk was full: nothing is lost, nothing is taken for a fault, and what comes late is kept."""
    stack = make_stack()
    user, workspace = new_workspace(stack)
    ctl(stack, "events", "import", "--workspace", workspace, write_ndjson(tmp_path / "e.ndjson", events(500, 130, 125)))
    ctl(stack, "partition", "keep")
    done = stack.ctl("events", "prune", "--before", day(70), "--dir", str(archive_dir / "nowhere"))
    assert done.returncode == 1 and "nowhere" in done.stderr
    # A directory that is none is seen before anything is taken out.
    [name] = [item["name"] for item in ctl(stack, "partition", "list")["items"] if item["next"] <= day(70)]
    assert all(item["attached"] for item in ctl(stack, "partition", "list")["items"])
    stack.postgres.query("SELECT detach_event_partition(%s)", name)
    [out] = [item for item in ctl(stack, "partition", "list")["items"] if not item["attached"]]
    assert ctl(stack, "events", "rebuild-rollups")["rows_mended"] == 0
    late = {"id": "late", "type": "api_call", "value": 1, "user_id": "u", "timestamp": out["first"]}
    assert user.client.post("/analytics/events", late, headers={"X-Workspace": workspace}).status == 201
    pruned = ctl(stack, "events", "prune", "--before", day(70), "--dir", str(archive_dir))["items"]
    assert sum(item["events"] for item in pruned) == 500
    assert stack.postgres.query("SELECT id FROM events") == [("late",)]
    # It gets a partition of its own again, which goes in turn.
    ctl(stack, "partition", "keep")
    again = ctl(stack, "events", "prune", "--before", day(70), "--dir", str(archive_dir))["items"]
    assert [(item["partition"], item["events"]) for item in again] == [(out["name"], 1)]


def test_only_our_own_archives_come_back_uncounted(stack, tmp_path):
    path = write_ndjson(tmp_path / "foreign.ndjson", [{"workspace_id": 1, **events(1, 3)[0]}])
    done = stack.ctl("events", "import", path)
    assert done.returncode == 1 and "has written no such archive" in done.stderr


def test_an_archive_is_not_recorded_again(make_stack, tmp_path, archive_dir):
    """Its events were counted, and their ids are forgotten after a while."""
    stack = make_stack()
    _, workspace = new_workspace(stack)
    ctl(stack, "events", "import", "--workspace", workspace, write_ndjson(tmp_path / "e.ndjson", events(50, 130, 125)))
    ctl(stack, "partition", "keep")
    [item] = ctl(stack, "events", "prune", "--before", day(70), "--dir", str(archive_dir))["items"]
    stack.postgres.query("DELETE FROM event_ids")
    done = stack.ctl("events", "import", "--workspace", workspace, item["file"])
    assert done.returncode == 1 and "import it without --workspace" in done.stderr
    assert stack.postgres.value("SELECT sum(events) FROM rollup_day") == 50


def test_archived_first_and_dropped_later(make_stack, tmp_path, archive_dir):
    stack = make_stack()
    _, workspace = new_workspace(stack)
    ctl(stack, "events", "import", "--workspace", workspace, write_ndjson(tmp_path / "e.ndjson", events(50, 130, 125)))
    ctl(stack, "partition", "keep")
    [item] = ctl(stack, "events", "archive", "--before", day(70), "--dir", str(archive_dir))["items"]
    done = stack.ctl("events", "import", item["file"])
    assert done.returncode == 1 and "was never dropped" in done.stderr
    ctl(stack, "events", "prune", "--before", day(70), "--without-archive")
    assert ctl(stack, "events", "rebuild-rollups")["rows_mended"] == 0
    assert ctl(stack, "events", "import", item["file"])["restored"] == 50
    assert ctl(stack, "events", "check")["rows_wrong"] == 0
    consistency.check(stack.postgres, workspace)


def test_events_that_grow_in_an_archive_come_back(make_stack, tmp_path, archive_dir):
    """A number of five characters may have three hundred digits as PostgreSQL writes it."""
    stack = make_stack()
    user, workspace = new_workspace(stack)
    big = {"id": "big", "type": "x", "value": 1, "user_id": "u", "metadata": {"a": [json.loads("1e308")] * 2300}, "timestamp": day(130) + "T00:00:00Z"}
    text = json.dumps(big).replace("1e+308", "1e308")
    answer = user.client.request("POST", "/analytics/events", data=text, headers={"X-Workspace": workspace, "Content-Type": "application/json"})
    assert answer.status == 201, answer.body
    ctl(stack, "partition", "keep")
    [item] = ctl(stack, "events", "prune", "--before", day(70), "--dir", str(archive_dir))["items"]
    assert ctl(stack, "events", "import", item["file"]) == {"events": 1, "restored": 1}
    assert stack.postgres.value("SELECT jsonb_array_length(metadata->'a') FROM events") == 2300


def test_a_prune_beside_another_drops_nothing_new(make_stack, tmp_path, archive_dir):
    """The slower one finds a partition that was made anew, for events that came late, and leaves it."""
    stack = make_stack()
    user, workspace = new_workspace(stack)
    first = day(150)
    partition = f"events_{first[:7].replace('-', '_')}"
    stack.postgres.query("SELECT ensure_event_partition(%s::date, 'month')", first)
    # So many that writing them takes a while.
    stack.postgres.query("INSERT INTO events (workspace_id, occurred_at, id, type, value, user_id) "
                         "SELECT %s, %s::date + n * interval '1 microsecond', n::text, 'x', 1, 'u' FROM generate_series(1, 300000) n", workspace, first)
    slow = subprocess.Popen(stack.ctl_command("events", "prune", "--before", day(70), "--dir", str(archive_dir)), stderr=subprocess.PIPE, text=True)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tallygatectl' AND wait_event_type = 'Lock' AND query LIKE '%LOCK TABLE%'"
    with contextlib.closing(stack.postgres.connect()) as holder, holder.cursor() as cursor:
        holder.autocommit = False
        wait_for(lambda: stack.postgres.value("SELECT count(*) FROM event_partitions WHERE NOT attached"), 30, "it to be taken out")
        cursor.execute(f"LOCK TABLE {partition} IN ACCESS SHARE MODE")
        wait_for(lambda: stack.postgres.value(waiting), 60, "the drop to wait")
        cursor.execute(f"ALTER TABLE {partition} RENAME TO gone")
        cursor.execute(f"CREATE TABLE {partition} PARTITION OF events FOR VALUES FROM ('{first[:7]}-01') TO (date '{first[:7]}-01' + interval '1 month')")
        holder.commit()
    error = slow.communicate(timeout=60)[1]
    assert slow.returncode == 1 and "somebody else was at it as well" in error, error
    assert stack.postgres.value("SELECT count(*) FROM event_partitions WHERE name = %s AND attached", partition) == 1


def test_retention_by_the_settings(make_stack, tmp_path, archive_dir):
    stack = make_stack(events_keep_days=90, archive_dir=str(archive_dir), events_partition="day")
    _, workspace = new_workspace(stack)
    given = events(300, 95, 85)
    ctl(stack, "events", "import", "--workspace", workspace, write_ndjson(tmp_path / "e.ndjson", given))
    dropped = {item["partition"] for item in ctl(stack, "partition", "keep")["items"]}
    dropped |= {item["partition"] for item in ctl(stack, "partition", "keep")["items"]}
    edge = day(90)
    assert dropped == {"events_" + item["timestamp"][:10].replace("-", "_") for item in given if item["timestamp"][:10] < edge}
    left = {item["id"] for item in without_receipt(exported(stack, workspace))}
    assert left == {item["id"] for item in given if item["timestamp"][:10] >= edge}
    assert len(list(archive_dir.glob("*.ndjson.zst"))) == len(dropped)


def test_a_retention_that_is_too_short(make_stack):
    stack = make_stack(events_keep_days=30)
    done = stack.ctl("partition", "keep")
    assert done.returncode == 1 and "events_keep_days must be 0 or at least 62" in done.stderr


# ---- rollups ----

DAMAGES = [
    "UPDATE rollup_hour SET events = events + 1 WHERE hour = (SELECT max(hour) FROM rollup_hour WHERE workspace_id = {0}) AND workspace_id = {0}",
    "DELETE FROM rollup_day WHERE workspace_id = {0} AND day = (SELECT min(day) FROM rollup_day WHERE workspace_id = {0})",
    "UPDATE rollup_user_day SET total = total + 1 WHERE workspace_id = {0} AND user_id = 'plain'",
    "INSERT INTO rollup_day VALUES ({0}, '2026-01-01', 'ghost', 0, 1, 1, 1, 1)",
    "DELETE FROM active_days WHERE workspace_id = {0} AND user_id = 'plain'",
    "UPDATE active_gaps SET users = users + 1 WHERE workspace_id = {0}",
    "DELETE FROM events WHERE workspace_id = {0} AND type = 'cost'",
    "DELETE FROM rollup_hour WHERE workspace_id = {0}; DELETE FROM rollup_day WHERE workspace_id = {0}; DELETE FROM rollup_user_day WHERE workspace_id = {0}",
]


@pytest.mark.parametrize("damage", range(len(DAMAGES)))
def test_damaged_rollups_are_seen_and_made_anew(stack, tmp_path, damage):
    _, workspace = new_workspace(stack)
    _, neighbour = new_workspace(stack)
    for one in (workspace, neighbour):
        ctl(stack, "events", "import", "--workspace", one, write_ndjson(tmp_path / "e.ndjson", events(400, 40)))
        consistency.check(stack.postgres, one)
    untouched = stack.postgres.query("SELECT * FROM rollup_hour WHERE workspace_id = %s ORDER BY 1, 2, 3, 4", neighbour)
    stack.postgres.query(DAMAGES[damage].format(workspace))
    assert ctl(stack, "events", "check", "--workspace", workspace, code=1)["rows_wrong"] > 0
    assert ctl(stack, "events", "check", "--workspace", neighbour)["rows_wrong"] == 0
    assert ctl(stack, "events", "rebuild-rollups", "--workspace", workspace)["rows_mended"] > 0
    assert ctl(stack, "events", "check", "--workspace", workspace)["rows_wrong"] == 0
    consistency.check(stack.postgres, workspace)
    assert stack.postgres.query("SELECT * FROM rollup_hour WHERE workspace_id = %s ORDER BY 1, 2, 3, 4", neighbour) == untouched


def test_rebuilding_while_events_come_in(stack, tmp_path):
    """Nothing is lost or counted twice, however the two fall together."""
    user, workspace = new_workspace(stack)
    ctl(stack, "events", "import", "--workspace", workspace, write_ndjson(tmp_path / "e.ndjson", events(2000, 10)))
    recorded = 0
    for round in range(5):
        stack.postgres.query("UPDATE rollup_hour SET events = events + 1 WHERE workspace_id = %s", workspace)
        rebuilding = subprocess.Popen([*stack.ctl_command("events", "rebuild-rollups", "--workspace", workspace)], stdout=subprocess.DEVNULL)
        while rebuilding.poll() is None:
            batch = events(50, 10, prefix=f"r{round}-{recorded}")
            answer = user.client.post("/analytics/events", batch, headers={"X-Workspace": workspace})
            assert answer.status == 200
            recorded += answer.json()["accepted"]
        assert rebuilding.returncode == 0
    assert recorded > 0
    assert stack.postgres.value("SELECT count(*) FROM events WHERE workspace_id = %s", workspace) == 2000 + recorded
    consistency.check(stack.postgres, workspace)


def test_kept_answers_of_finished_days_are_not_shown_again(make_stack, tmp_path):
    """A rebuilt day is another answer, also where one was kept."""
    stack = make_stack(cache_unfinished_ms=0)
    user, workspace = new_workspace(stack)
    ctl(stack, "events", "import", "--workspace", workspace, write_ndjson(tmp_path / "e.ndjson", events(300, 20, 5)))
    path = f"/analytics/query?measure=count&start={day(20)}&end={day(5)}"
    headers = {"X-Workspace": workspace}

    def told():
        answer = user.client.get(path, headers=headers)
        assert answer.status == 200, answer.body
        return answer.json()

    true = told()
    stack.postgres.query("UPDATE rollup_day SET events = events + 5 WHERE workspace_id = %s", workspace)
    stack.postgres.query("UPDATE rollup_hour SET events = events + 5 WHERE workspace_id = %s", workspace)
    ctl(stack, "events", "rebuild-rollups")
    assert told() == true


# ---- usage ----

@pytest.mark.parametrize("arguments", [
    ("events",), ("events", "eat"), ("events", "import"), ("events", "import", "a", "b"), ("events", "prune"), ("events", "check", "x"),
    ("events", "prune", "--before", "soon"), ("events", "check", "--first", "2026-13-01"), ("events", "archive", "--before", day(3), "--without-archive"),
    ("events", "import", "--workspace", "1", "--format", "xml", "f"), ("partition",), ("partition", "keep", "x"), ("partition", "list", "x"),
])
def test_wrong_usage(stack, arguments):
    if "--format" in arguments:
        arguments = (*arguments[:3], new_workspace(stack)[1], *arguments[4:])
    done = stack.ctl(*arguments)
    assert done.returncode == 2 and done.stderr, done
