# SPDX-License-Identifier: Apache-2.0
"""tallygatectl migrate, in databases of its own, and programs on a schema that does not fit."""
import datetime
import re
import subprocess

import pytest

from env.wait import BUILD, TOP, wait_for

FILES = sorted(path.name[:-len(".up.sql")] for path in (TOP / "sql" / "migrations").glob("*.up.sql"))
NEWEST = len(FILES)


class Database:
    def __init__(self, stack, directory):
        self.stack = stack
        self.name = stack.unique("db").replace("-", "_")
        self.url = stack.postgres.make_database(self.name)
        self.config = directory / "tallygate.conf"
        self.config.write_text(f"database_url = {self.url}\nsecret_key_file = {stack.dir}/etc/secret.key\n")

    def migrate(self, *arguments):
        return self.stack.ctl("migrate", *arguments, config=self.config)

    def query(self, sql, *params):
        return self.stack.postgres.query(sql, *params, database=self.name)

    def value(self, sql, *params):
        return self.stack.postgres.value(sql, *params, database=self.name)

    def tables(self):
        return {name for name, in self.query("SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') "
                                              "AND relnamespace = 'public'::regnamespace")}

    def applied(self):
        return [version for version, in self.query("SELECT version FROM schema_migrations ORDER BY 1")]


@pytest.fixture
def database(stack, tmp_path):
    made = Database(stack, tmp_path)
    yield made
    stack.postgres.drop_database(made.name)


def good(done):
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def bad(done, *words):
    assert done.returncode == 1, done
    for word in words:
        assert word in done.stderr, done.stderr


def test_status_of_nothing(database):
    lines = good(database.migrate("status")).splitlines()[1:]
    assert [line.split()[0] for line in lines] == FILES
    assert all(line.endswith("  -") for line in lines)
    assert database.tables() == set(), "a look changes nothing"


def test_up(database):
    assert good(database.migrate("up")).splitlines() == [f"applied {name}" for name in FILES]
    assert database.applied() == list(range(1, NEWEST + 1))
    assert {"users", "workspaces", "events", "rollup_hour"} <= database.tables()
    assert good(database.migrate("up")) == "nothing to do\n"
    for line in good(database.migrate("status")).splitlines()[1:]:
        assert re.search(r" \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", line)


def test_checksums_are_kept(database):
    good(database.migrate("up"))
    sums = [checksum for checksum, in database.query("SELECT checksum FROM schema_migrations")]
    assert all(re.match("^[0-9a-f]{64}$", checksum) for checksum in sums)
    assert len(set(sums)) == NEWEST


def test_down_one_by_one_and_up_again(database):
    good(database.migrate("up"))
    for version in range(NEWEST, 0, -1):
        assert good(database.migrate("down")) == f"reverted {FILES[version - 1]}\n"
        assert database.applied() == list(range(1, version))
    assert database.tables() == {"schema_migrations"}
    assert good(database.migrate("down")) == "nothing to do\n"
    good(database.migrate("up"))
    assert database.applied() == list(range(1, NEWEST + 1))


def test_down_several(database):
    good(database.migrate("up"))
    assert len(good(database.migrate("down", str(NEWEST))).splitlines()) == NEWEST
    assert database.tables() == {"schema_migrations"}


@pytest.mark.parametrize("arguments", [
    [], ["sideways"], ["up", "1"], ["status", "x"], ["down", "0"], ["down", "-1"], ["down", "x"], ["down", "1x"],
    ["down", "99"],
    ["down", "1", "1"], ["down", ""],
])
def test_usage(database, arguments):
    done = database.migrate(*arguments)
    assert done.returncode == 2, done
    assert done.stdout == "" and done.stderr
    assert database.tables() == set()


@pytest.mark.parametrize("command", [["up"], ["down"], ["status"]])
def test_edited_migration_is_refused(database, command):
    good(database.migrate("up"))
    before = database.tables()
    database.query("UPDATE schema_migrations SET checksum = repeat('0', 64) WHERE version = 1")
    bad(database.migrate(*command), FILES[0], "edited")
    assert database.tables() == before
    assert database.applied() == list(range(1, NEWEST + 1))


def test_newer_schema_stays(database):
    """A later version went ahead, and this one serves on: there is nothing to be done, and nothing is taken back."""
    good(database.migrate("up"))
    database.query("INSERT INTO schema_migrations (version, name, checksum) VALUES (%s, 'future', 'x')", NEWEST + 1)
    for command in ("up", "status"):
        done = database.migrate(command)
        assert done.returncode == 0 and f"at version {NEWEST + 1}, later than this program knows ({NEWEST})" in done.stderr
    bad(database.migrate("down"), "newer")
    assert "users" in database.tables()
    database.query("UPDATE schema_migrations SET checksum = 'y' WHERE version = 1")
    bad(database.migrate("up"), "was edited")


def test_gap_is_refused(database):
    good(database.migrate("up"))
    database.query("DELETE FROM schema_migrations WHERE version = 1")
    bad(database.migrate("up"), "never applied")


def test_failed_migration_leaves_nothing_of_it(database):
    """Something stands in the way of the second one's last table."""
    database.query("CREATE TABLE rollup_user_day (x int)")
    done = database.migrate("up")
    bad(done, FILES[1], "rolled back")
    assert done.stdout == f"applied {FILES[0]}\n"
    assert database.applied() == [1]
    assert "users" in database.tables() and "events" not in database.tables()
    database.query("DROP TABLE rollup_user_day")
    good(database.migrate("up"))
    assert database.applied() == list(range(1, NEWEST + 1))


def test_several_at_once_take_turns(database):
    command = [str(BUILD / "tallygatectl"), "--config", str(database.config), "migrate", "up"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(6)]
    results = [(*process.communicate(timeout=120), process.returncode) for process in running]
    assert [code for _, _, code in results] == [0] * 6, results
    applied = sorted(line for out, _, _ in results for line in out.splitlines() if line.startswith("applied"))
    assert applied == [f"applied {name}" for name in FILES]


def test_waits_for_the_lock(database):
    """Whoever holds it: another call on another host, say."""
    good(database.migrate("up"))
    with database.stack.postgres.connect(database.name) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(8386098498063753588)")
        command = [str(BUILD / "tallygatectl"), "--config", str(database.config), "migrate", "down"]
        waiting = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: database.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"),
            20)
        assert waiting.poll() is None
        assert database.applied() == list(range(1, NEWEST + 1))
        cursor.execute("SELECT pg_advisory_unlock(8386098498063753588)")
    connection.close()
    out, _ = waiting.communicate(timeout=60)
    assert (waiting.returncode, out) == (0, f"reverted {FILES[-1]}\n")


def test_database_that_is_away(stack, tmp_path):
    config = tmp_path / "tallygate.conf"
    config.write_text("database_url = host=/nowhere dbname=none\n")
    for command in ("up", "down", "status"):
        bad(stack.ctl("migrate", command, config=config), "tallygatectl: migrate:")


# ---- programs on a schema that is too old ----

@pytest.mark.parametrize("version", range(NEWEST))
def test_check_start_refuses_an_old_schema(database, version):
    if version:
        good(database.migrate("up"))
        good(database.migrate("down", str(NEWEST - version)))
    done = database.stack.program("tallygate-fcgi", "--check-start", "--config", str(database.config))
    assert done.returncode == 1
    assert f"at schema version {version}, this program needs {NEWEST}: run tallygatectl migrate up" in done.stderr


@pytest.mark.parametrize("pool", ["auth", "ingest", "api"])
def test_a_pool_refuses_to_start_on_an_old_schema(database, pool, tmp_path):
    socket = database.stack.dir / "run" / f"{database.name}.sock"
    command = ["spawn-fcgi", "-n", "-s", str(socket), "--", str(BUILD / "tallygate-fcgi"), "--pool", pool, "--config",
        str(database.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    socket.unlink(missing_ok=True)
    assert done.returncode == 1, done
    assert "run tallygatectl migrate up" in done.stderr


def test_check_start_on_a_schema_that_fits(database):
    good(database.migrate("up"))
    done = database.stack.program("tallygate-fcgi", "--check-start", "--config", str(database.config))
    assert (done.returncode, done.stderr) == (0, "")


def test_check_start_on_a_newer_schema(database):
    """A later version went ahead of this one on another host."""
    good(database.migrate("up"))
    database.query("INSERT INTO schema_migrations (version, name, checksum) VALUES (%s, 'future', 'x')", NEWEST + 1)
    assert database.stack.program("tallygate-fcgi", "--check-start", "--config", str(database.config)).returncode == 0


# ---- partitions ----

def partitions(postgres):
    return {name for name, in postgres.query(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'events'::regclass")}


def months(postgres, first, last):
    return {name for name, in postgres.query(
        "SELECT 'events_' || to_char(m, 'YYYY_MM') FROM generate_series(date_trunc('month', now() AT TIME ZONE 'UTC' + %s::interval), "
        "date_trunc('month', now() AT TIME ZONE 'UTC' + %s::interval), '1 month') m", first, last)}


def test_partitions_are_made_ahead(stack):
    there = partitions(stack.postgres)
    assert months(stack.postgres, "0", "3 months") | {"events_default"} <= there


def test_partitions_by_day(make_stack):
    """Also for late events, when they come; and a month that was begun in days goes on in days."""
    stack = make_stack(events_partition="day")
    user = stack.new_user()
    old = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=100)).replace(microsecond=0)
    today = user.record()["id"]
    late = user.record(timestamp=old.isoformat())["id"]
    where = "SELECT tableoid::regclass::text FROM events WHERE id = %s"
    name = stack.postgres.value("SELECT 'events_' || to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY_MM_DD') FROM events "
                                "WHERE id = %s", today)
    # The very first event may come before its partition does, and then moves into it.
    wait_for(lambda: stack.postgres.value(where, today) == name, 30, "today's partition")
    wait_for(lambda: stack.postgres.value(where, late) == f"events_{old:%Y_%m_%d}", 30, "the late event's partition")
    assert stack.postgres.value("SELECT ensure_event_partition(%s::date, 'month')", old + datetime.timedelta(days=1)) is True
    days = [name for name in partitions(stack.postgres) if re.match(r"^events_\d{4}_\d\d_\d\d$", name)]
    assert len(days) == 1 + 14 + 2, sorted(days)


def test_events_go_into_the_partition_of_their_month(stack, user):
    id = user.record()["id"]
    where = stack.postgres.value("SELECT tableoid::regclass::text FROM events WHERE id = %s", id)
    assert {where} == months(stack.postgres, "0", "0")


def test_strays_are_caught_and_move_into_their_partition(database):
    good(database.migrate("up"))
    database.query("INSERT INTO events (workspace_id, occurred_at, id, type, value, user_id) "
                   "VALUES (1, now() + interval '10 years', 'stray', 'x', 1, 'u')")
    where = "SELECT tableoid::regclass::text FROM events WHERE id = 'stray'"
    assert database.value(where) == "events_default"
    made = 0
    while database.value("SELECT ensure_next_event_partition('month')"):
        made += 1
    assert made == 5, "this month, three to come, and the one that strayed"
    assert re.match(r"^events_20\d\d_\d\d$", database.value(where))


def test_a_missing_partition_is_made_again(make_stack):
    """The workers look after it, from their start on."""
    stack = make_stack()
    ahead = months(stack.postgres, "3 months", "3 months").pop()
    stack.postgres.query(f"DROP TABLE {ahead}")
    stack.ingest.stop()
    stack.up()
    wait_for(lambda: ahead in partitions(stack.postgres), 20)
