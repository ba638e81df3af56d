# SPDX-License-Identifier: Apache-2.0
"""tallygate-jobd: jobs run, once where nothing fails, at least once whatever does; and what is due by the calendar is."""
import os
import re
import signal
import subprocess
import time

import psycopg2
import pytest

from env.database import new_database
from env.jobd import Jobd
from env.wait import BUILD, TOP, wait_for


@pytest.fixture
def jobd(stack, tmp_path):
    with new_database(stack) as database:
        made = Jobd(database, tmp_path)
        try:
            yield made
        finally:
            made.stop()


def all_done(jobd, count, type="nothing", deadline_s=60):
    wait_for(lambda: jobd.count(f"type = '{type}'") == 0, deadline_s, "all to be done")
    assert jobd.database.value("SELECT count(*) FROM jobs_done WHERE type = %s", type) == count
    assert jobd.database.value("SELECT count(DISTINCT id) FROM jobs_done WHERE type = %s", type) == count


def test_jobs_run_once(jobd):
    jobd.put(3000)
    jobd.start()
    jobd.start()
    all_done(jobd, 3000)
    assert jobd.database.value("SELECT count(*) FROM jobs_done WHERE type = 'nothing' AND attempts <> 1") == 0
    shown = jobd.ctl("list", "--state", "done", "--type", "nothing", "--limit", "5")["items"]
    assert len(shown) == 5 and jobd.ctl("show", str(shown[0]["id"])) == shown[0]
    metrics = jobd.stack.ctl("metrics", "show", "--sockets", str(jobd.folder)).stdout
    [line] = [line for line in metrics.splitlines() if line.startswith('background_jobs_total{service="jobd",job_type="nothing",status="done"}')]
    assert float(line.split()[-1]) == 3000


def test_the_first_by_priority_come_first(jobd):
    for priority in (2, 1, 0):
        jobd.put(200, priority=priority)
    jobd.config.write_text(jobd.config.read_text() + "jobs_threads = 1\n")
    jobd.start()
    all_done(jobd, 600)
    order = [row[0] for row in jobd.database.query("SELECT id FROM jobs_done WHERE type = 'nothing' ORDER BY started_at, id")]
    # Whole turns, each of which takes the first ones; the ids grow as the priority falls.
    first = jobd.database.query("SELECT min(started_at), max(started_at) FROM jobs_done WHERE type = 'nothing' AND id > 400")
    last = jobd.database.query("SELECT min(started_at) FROM jobs_done WHERE type = 'nothing' AND id <= 200")
    assert len(order) == 600 and first[0][1] <= last[0][0]


def test_what_a_lost_process_held_runs_elsewhere(jobd):
    """Jobs that its runner took, and never ended, are done by another within 15 seconds."""
    victim = jobd.start()
    runner = jobd.database.value("SELECT id FROM job_runners WHERE pid = %s", victim.pid)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    jobd.database.query("INSERT INTO jobs (type, state, runner, attempts, started_at) SELECT 'nothing', 'running', %s, 1, now() FROM generate_series(1, 50)",
                        runner)
    killed_at = time.monotonic()
    jobd.start()
    all_done(jobd, 50, deadline_s=15)
    assert time.monotonic() - killed_at < 15
    assert jobd.database.value("SELECT min(attempts) FROM jobs_done WHERE type = 'nothing'") == 2
    assert "jobs of processes that are gone wait again" in jobd.log()


def test_what_fails_waits_and_is_dead_in_the_end(jobd):
    """A job of a type that is known, whose table is gone."""
    jobd.start()
    jobd.database.query("ALTER FUNCTION keep_days(text, int) RENAME TO gone")
    jobd.put(1, "partitions.make")
    wait_for(lambda: jobd.count("type = 'partitions.make' AND state = 'waiting' AND attempts = 1 AND error IS NOT NULL"), 30, "its first failure")
    [row] = jobd.database.query("SELECT extract(epoch FROM run_at - now())::int, error FROM jobs WHERE type = 'partitions.make'")
    assert 0 <= row[0] <= 8 and row[1] == "Internal error"
    jobd.database.query("UPDATE jobs SET attempts = 7, run_at = now() WHERE type = 'partitions.make'")
    wait_for(lambda: jobd.count("type = 'partitions.make' AND state = 'dead' AND attempts = 8"), 30, "its end")
    [dead] = jobd.ctl("list", "--state", "dead")["items"]
    jobd.database.query("ALTER FUNCTION gone(text, int) RENAME TO keep_days")
    assert jobd.ctl("retry", str(dead["id"]))["state"] == "waiting"
    wait_for(lambda: jobd.count(f"id = {dead['id']}", "jobs_done"), 30, "it to be done")
    jobd.ctl("retry", str(dead["id"]), code=1)  # it is done
    jobd.ctl("show", "4711", code=3)


def test_a_job_of_a_type_that_nobody_knows_waits(jobd):
    jobd.start()
    jobd.put(1, "unheard.of")
    jobd.put(10)
    all_done(jobd, 10)
    [item] = jobd.ctl("list", "--type", "unheard.of")["items"]
    assert item["state"] == "waiting"
    assert jobd.ctl("discard", str(item["id"])) == {}
    assert jobd.count("type = 'unheard.of'") == 0


def test_one_of_a_kind_at_once(jobd):
    """purge has a concurrency of one, over all processes."""
    jobd.put(30, "workspaces.purge")
    jobd.start()
    jobd.start()
    most = 0
    while jobd.count("type = 'workspaces.purge'"):
        most = max(most, jobd.count("type = 'workspaces.purge' AND state = 'running'"))
    assert most <= 1
    all_done(jobd, 30, "workspaces.purge")


def test_a_key_is_there_once(jobd):
    """What waits or runs under it keeps others out; what is dead does not."""
    for state in ("waiting", "running", "dead"):
        jobd.database.query("DELETE FROM jobs")
        jobd.database.query("INSERT INTO jobs (type, unique_key, state) VALUES ('x', 'k', %s)", state)
        jobd.database.query("INSERT INTO jobs (type, unique_key) VALUES ('x', 'k') ON CONFLICT DO NOTHING")
        assert jobd.count() == (2 if state == "dead" else 1)


def test_stopping_gives_back_what_it_holds(jobd):
    """SIGTERM: nothing is lost, and nothing counts as a failure."""
    jobd.put(20000)
    process = jobd.start()
    wait_for(lambda: jobd.count("true", "jobs_done") > 0, 30, "the first")
    process.terminate()
    assert process.wait(30) == 0
    assert jobd.count("state = 'running'") == 0
    left = jobd.count("type = 'nothing'")
    assert left + jobd.database.value("SELECT count(*) FROM jobs_done WHERE type = 'nothing'") == 20000
    assert jobd.count("type = 'nothing' AND attempts > 0") == 0
    assert jobd.database.value("SELECT count(*) FROM job_runners") == 0


def test_a_reload_starts_anew_in_the_same_process(jobd):
    process = jobd.start()
    runner = jobd.database.value("SELECT id FROM job_runners")
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: jobd.database.value("SELECT count(*) FROM job_runners WHERE pid = %s AND id <> %s", process.pid, runner), 30, "another life")
    jobd.put(100)
    all_done(jobd, 100)


def test_killed_processes_and_connections_lose_nothing(jobd):
    """Under load: connections cut at random, processes killed. Each job is done, and is there once."""
    jobd.put(8000)
    processes = [jobd.start(), jobd.start()]
    for round in range(6):
        jobd.put(500)
        jobd.database.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tallygate-jobd'")
        time.sleep(0.3)
        victim = processes[round % 2]
        victim.kill()
        victim.wait()
        processes[round % 2] = jobd.start()
    all_done(jobd, 11000, deadline_s=90)
    assert jobd.count("state = 'running'") == 0


def test_postgresql_away_for_a_while(make_stack, tmp_path):
    """It is waited for, and all goes on."""
    stack = make_stack()
    with new_database(stack) as database:
        jobd = Jobd(database, tmp_path)
        try:
            process = jobd.start()
            stack.postgres.stop(signal.SIGINT)
            time.sleep(1)
            assert process.poll() is None
            stack.up()
            jobd.put(50)
            all_done(jobd, 50)
        finally:
            jobd.stop()


# ---- the calendar ----

def test_what_is_due_is_put_in_once(jobd):
    jobd.start()
    wait_for(lambda: jobd.database.value("SELECT count(*) FROM schedules WHERE next_at > now()") >= 3, 30, "the schedules")
    # Nobody looked for a day: it is made up once, also by two processes.
    jobd.database.query("UPDATE schedules SET next_at = now() - interval '1 day' WHERE name = 'purge'")
    jobd.start()
    wait_for(lambda: jobd.count("type = 'workspaces.purge'", "jobs_done"), 30, "the purge")
    [item] = [item for item in jobd.ctl("schedules")["items"] if item["name"] == "purge"]
    assert item["last_job_id"] and item["next_at"].endswith("T02:00:00.000000Z")
    time.sleep(2.5)  # two more rounds of both find nothing
    assert jobd.count("type = 'workspaces.purge'", "jobs_done") == 1


@pytest.mark.parametrize("timezone, cron, expected", [
    ("UTC", "0 2 * * *", "02:00"), ("Asia/Kolkata", "0 2 * * *", "20:30"), ("America/New_York", "30 12 * * *", None),
])
def test_each_zone_has_its_own_clock(jobd, timezone, cron, expected):
    jobd.start()
    wait_for(lambda: jobd.database.value("SELECT count(*) FROM schedules WHERE next_at > now()") >= 3, 30, "the schedules")
    jobd.database.query("UPDATE schedules SET timezone = %s, cron = %s, next_at = NULL WHERE name = 'keys'", timezone, cron)
    wait_for(lambda: jobd.database.value("SELECT next_at FROM schedules WHERE name = 'keys'"), 30, "the next time")
    local, utc = jobd.database.query("SELECT to_char(next_at AT TIME ZONE timezone, 'HH24:MI'), to_char(next_at AT TIME ZONE 'UTC', 'HH24:MI') "
                                     "FROM schedules WHERE name = 'keys'")[0]
    assert local == f"{int(cron.split()[1]):02}:{int(cron.split()[0]):02}" and expected in (None, utc)


def test_a_schedule_that_is_none_is_told(jobd):
    jobd.start()
    wait_for(lambda: jobd.database.value("SELECT count(*) FROM schedules WHERE next_at > now()") >= 3, 30, "the schedules")
    jobd.database.query("UPDATE schedules SET cron = '61 * * * *', next_at = NULL WHERE name = 'keys'")
    wait_for(lambda: "schedule keys: the minute is not one" in jobd.log(), 30, "the line")


def test_an_old_key_gets_a_successor(jobd):
    """keys.check, by the age of the one that signs."""
    jobd.config.write_text(jobd.config.read_text() + "keys_rotate_days = 30\n")
    assert jobd.stack.ctl("keys", "rotate", config=jobd.config).returncode == 0
    jobd.database.query("UPDATE signing_keys SET active_from = now() - interval '29 days'")
    jobd.start()
    jobd.put(1, "keys.check")
    wait_for(lambda: jobd.count("type = 'keys.check'", "jobs_done") == 1, 30, "the check")
    assert jobd.database.value("SELECT count(*) FROM signing_keys WHERE active_from > now()") == 0
    jobd.database.query("UPDATE signing_keys SET active_from = now() - interval '31 days'")
    jobd.put(1, "keys.check")
    wait_for(lambda: jobd.count("type = 'keys.check'", "jobs_done") == 2, 30, "the check")
    assert jobd.database.value("SELECT count(*) FROM signing_keys WHERE active_from > now()") == 1


def test_days_of_done_jobs_go(jobd):
    database = jobd.database
    database.query("CREATE TABLE jobs_done_20200101 PARTITION OF jobs_done FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')")
    database.query("INSERT INTO jobs_done (id, type, payload, attempts, created_at, started_at, finished_at) VALUES (1, 'x', '{}', 1, now(), now(), '2020-01-01')")
    assert database.value("SELECT keep_days('jobs_done', 7)") == 1
    assert database.value("SELECT to_regclass('jobs_done_20200101')") is None
    assert database.value("SELECT count(*) FROM pg_inherits WHERE inhparent = 'jobs_done'::regclass") == 3


@pytest.mark.parametrize("arguments, code", [
    (("list", "--state", "odd"), 1), (("list", "--limit", "0"), 1), (("show", "x"), 2), (("put",), 2), (("put", "unheard.of"), 1),
    (("put", "nothing", "--payload", "[]"), 1), (("put", "nothing", "--payload", "{"), 2), (("put", "nothing", "--priority", "3"), 1),
    (("put", "nothing", "--at", "soon"), 1), (("schedules", "x"), 2), (("eat",), 2)])
def test_wrong_usage(jobd, arguments, code):
    done = jobd.stack.ctl("jobs", *arguments, config=jobd.config)
    assert done.returncode == code and done.stderr


def test_a_job_by_hand(jobd):
    made = jobd.ctl("put", "nothing", "--payload", '{"a": [1, "ü"]}', "--priority", "0", "--at", "2099-01-01T00:00:00Z")
    assert (made["state"], made["priority"], made["payload"], made["run_at"]) == ("waiting", 0, {"a": [1, "ü"]}, "2099-01-01T00:00:00.000000Z")
    assert jobd.ctl("show", str(made["id"])) == made
    assert jobd.database.query("SELECT action, subject FROM audit_log") == [("job.created", f"job:{made['id']}")]


def test_an_older_backlog_is_not_passed_over(jobd):
    """What waits since before the last look is taken as quickly as the rest."""
    jobd.start()
    jobd.put(500)
    all_done(jobd, 500)
    jobd.database.query("INSERT INTO jobs (type, run_at) SELECT 'nothing', now() - interval '1 day' FROM generate_series(1, 20000)")
    began = time.monotonic()
    all_done(jobd, 20500, deadline_s=60)
    assert time.monotonic() - began < 30  # at a handful a second it would be an hour


RUNNER = "00000000-0000-0000-0000-000000000001"


def statement(name):
    """One of the queue's, for psycopg2: its parameters are p1, p2 ..."""
    return re.sub(r"\$(\d)", r"%(p\1)s", (TOP / "sql" / "queries" / f"{name}.sql").read_text())


def nodes(plan):
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def test_many_ends_are_one_pass_whatever_the_statistics_say(jobd):
    """As of a new database, with a plan that is to fit all."""
    jobd.database.query("INSERT INTO jobs (type, state, runner, attempts, started_at) SELECT 'x', 'running', %s, 1, now() FROM generate_series(1, 1000)", RUNNER)
    ids = [row[0] for row in jobd.database.query("SELECT id FROM jobs")]
    with jobd.database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        cursor.execute("PREPARE done (uuid, bigint[], bigint[]) AS " + (TOP / "sql" / "queries" / "job_done.sql").read_text())
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE done (%s, %s, %s)", (RUNNER, ids, [1] * len(ids)))
        [[[explained]]] = cursor.fetchall()
        connection.commit()
    assert jobd.count() == 0 and jobd.count(table="jobs_done") == 1000
    read = sum(node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0) * node["Actual Loops"]
               + node.get("Rows Removed by Join Filter", 0) * node["Actual Loops"] for node in nodes(explained["Plan"]))
    assert read < 10 * len(ids)  # pairs would be a million


def test_who_is_not_known_to_live_takes_nothing(jobd):
    jobd.put(3)
    values = {"p1": RUNNER, "p2": 10, "p3": ["-infinity"] * 3, "p4": ["nothing"], "p5": [1000000]}
    take = statement("job_take").replace("%(p3)s", "%(p3)s::text[]")
    with jobd.database.connect() as connection, connection.cursor() as cursor:
        for alive, taken in ((None, 0), ("-1 s", 0), ("10 s", 3)):
            if alive:
                cursor.execute("INSERT INTO job_runners (id, host, pid, threads, alive_until) VALUES (%s, 'h', 1, 1, now() + %s::interval) "
                               "ON CONFLICT (id) DO UPDATE SET alive_until = excluded.alive_until", (RUNNER, alive))
            cursor.execute(take, values)
            assert len(cursor.fetchall()) == taken
        connection.commit()
    # It is gone without a word, long ago: its row stays until what it held waits again.
    jobd.database.query("UPDATE job_runners SET alive_until = now() - interval '2 hours'")
    jobd.start()
    all_done(jobd, 3)
    wait_for(lambda: jobd.database.value("SELECT count(*) FROM job_runners WHERE id = %s", RUNNER) == 0, 30, "it to be forgotten")


def test_an_end_of_an_earlier_attempt_is_nobodys(jobd):
    """As of a process that was taken for lost: its job runs anew, and only that attempt ends it."""
    jobd.database.query(
        "INSERT INTO jobs (type, state, runner, attempts, started_at)"
        " VALUES ('x', 'running', %s, 2, now())", RUNNER
    )
    with jobd.database.connect() as connection, connection.cursor() as cursor:
        job = jobd.database.value("SELECT id FROM jobs")
        for attempts, left in ((1, 1), (2, 0)):
            cursor.execute(statement("job_done"), {"p1": RUNNER, "p2": [job], "p3": [attempts]})
            connection.commit()
            assert jobd.count() == left


def test_a_taker_that_hangs_keeps_nobody_from_ending(jobd):
    """Somebody holds what takers take turns by: what ran is told, and the rest waits."""
    jobd.start()
    with jobd.database.connect() as connection, connection.cursor() as cursor:
        jobd.put(5)
        all_done(jobd, 5)
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('take jobs'))")
        jobd.put(5)
        time.sleep(1)
        assert jobd.count("state = 'waiting' AND type = 'nothing'") == 5
        assert jobd.database.value("SELECT min(alive_until) > now() + interval '5 s' FROM job_runners")
        connection.rollback()
    all_done(jobd, 10)


def test_who_leaves_waits_for_a_take_of_its_own(jobd):
    """A take whose answer was lost may still commit; the row by which its jobs are found again stays until they wait."""
    process = jobd.start()
    runner = jobd.database.value("SELECT id FROM job_runners")
    jobd.put(1, "unheard.of")
    with jobd.database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(statement("job_take").replace("%(p3)s", "%(p3)s::text[]"),
                       {"p1": runner, "p2": 10, "p3": ["-infinity"] * 3, "p4": ["unheard.of"], "p5": [1000000]})
        assert len(cursor.fetchall()) == 1
        process.terminate()
        assert process.wait(30) == 0
        connection.commit()
    jobd.start()
    wait_for(lambda: jobd.count("state = 'waiting' AND type = 'unheard.of'") == 1, 30, "it to be found")


def test_jobs_of_nobody_run_again(jobd):
    """Whatever lost the row of who held them; but not those that began just now."""
    jobd.database.query("INSERT INTO jobs (type, state, runner, limited, attempts, started_at) "
                        "SELECT 'workspaces.purge', 'running', gen_random_uuid(), true, 1, now() - interval '1 s' * age FROM unnest('{10,120,180}'::int[]) age")
    jobd.start()
    # One at once: the one that began just now is believed to run.
    wait_for(lambda: jobd.count("state = 'waiting' AND error = 'the process that ran it is not known'") == 2, 30, "the two to wait again")
    assert jobd.count("state = 'running'") == 1
    jobd.database.query("UPDATE jobs SET started_at = now() - interval '2 minutes' WHERE state = 'running'")
    all_done(jobd, 3, "workspaces.purge", 45)


def test_what_another_server_does_not_know_is_found_out(jobd):
    """After a failover commits of ours may be lost, though no statement of ours ever failed."""
    process = jobd.start()
    jobd.put(1)
    all_done(jobd, 1)
    runner = jobd.database.value("SELECT id FROM job_runners WHERE pid = %s", process.pid)
    jobd.database.query("INSERT INTO jobs (type, state, runner, attempts, started_at) VALUES ('nothing', 'running', %s, 1, now())", runner)
    jobd.database.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
    all_done(jobd, 2, deadline_s=20)


def test_a_clock_that_was_ahead_leaves_nothing_behind(jobd):
    victim = jobd.start()
    wait_for(lambda: jobd.database.value("SELECT count(*) FROM schedules WHERE next_at IS NOT NULL") == 3, what="the schedules")
    runner = jobd.database.value("SELECT id FROM job_runners WHERE pid = %s", victim.pid)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    jobd.database.query("UPDATE job_runners SET alive_until = now() + interval '10 years' WHERE id = %s", runner)
    jobd.database.query("INSERT INTO jobs (type, state, runner, attempts, started_at) VALUES ('nothing', 'running', %s, 1, now())", runner)
    jobd.database.query("UPDATE schedules SET next_at = now() + interval '10 years', last_at = now() + interval '10 years'")
    jobd.start()
    all_done(jobd, 1, deadline_s=20)
    wait_for(lambda: jobd.database.value("SELECT count(*) FROM schedules WHERE next_at < now() + interval '2 days' AND last_at <= now()") == 3,
             what="times by the clock as it is")
    # Also while it runs.
    jobd.database.query("UPDATE schedules SET next_at = now() + interval '10 years', last_at = now() + interval '10 years'")
    wait_for(lambda: jobd.database.value("SELECT count(*) FROM schedules WHERE next_at < now() + interval '2 days'") == 3, what="the same")


def test_a_job_of_long_ago_runs(jobd):
    """None is before the earliest time that anybody looks from."""
    jobd.ctl("put", "nothing", "--at", "1969-07-20T20:17:40Z")
    jobd.start()
    all_done(jobd, 1)


def test_a_reload_with_settings_that_are_wrong_changes_nothing(jobd):
    process = jobd.start()
    right = jobd.config.read_text()
    jobd.config.write_text(right + "smtp_url = nonsense\n")
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: "going on as before" in jobd.log(), what="the refusal")
    assert "smtp_url must begin with" in jobd.log() and process.poll() is None
    jobd.put(10)
    all_done(jobd, 10)
    jobd.config.write_text(right)
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: "starting anew" in jobd.log(), what="the reload")
    jobd.put(10)
    all_done(jobd, 20)
    assert process.poll() is None


def test_it_waits_for_its_schema(stack, tmp_path):
    name = stack.unique("db").replace("-", "_")
    url = stack.postgres.make_database(name)
    config = tmp_path / "tallygate.conf"
    config.write_text(f"database_url = {url}\nsecret_key_file = {stack.dir}/etc/secret.key\n")
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen([str(BUILD / "tallygate-jobd"), "--config", str(config), "--metrics", str(tmp_path / "jobd.metrics")], stderr=log)
    try:
        wait_for(lambda: "waiting for tallygatectl migrate up" in (tmp_path / "log").read_text(), what="it to wait")
        assert (tmp_path / "log").read_text().count("\n") <= 3
        assert stack.ctl("migrate", "up", config=config).returncode == 0
        wait_for(lambda: stack.postgres.value("SELECT count(*) FROM job_runners", database=name) == 1, what="it to begin")
    finally:
        process.terminate()
        assert process.wait(30) == 0
        stack.postgres.drop_database(name)
