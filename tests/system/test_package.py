# SPDX-License-Identifier: Apache-2.0
"""The life of an installation on a machine of its own, from the first day to the last: these tests follow one another."""
import json
import re
import time
from pathlib import Path

import pytest

from life import ADMINISTRATOR, CONFIG, PASSWORD, POOLS, healthy, install, kept, load, log_in, make_site, unit
from machine import wait_for

HERE = Path(__file__).resolve().parent


@pytest.fixture
def token(machine):
    return log_in(machine, ADMINISTRATOR)["access_token"]


def test_installing(machine, packages):
    told = install(machine, packages["this"])
    assert "applied 0001_accounts" in told.stderr, told
    for pool in POOLS:
        wait_for(lambda pool=pool: machine.state(unit(pool)) == "active", what=f"the pool {pool}")
    assert machine.out("systemctl", "is-enabled", "tallygate.target") == "enabled"
    assert machine.out("stat", "-c", "%U %G %a", "/etc/tallygate/secret.key") == "root root 600"
    assert machine.out("stat", "-c", "%U %G %a", CONFIG) == "root tallygate 640"
    assert machine.out("stat", "-c", "%U %G %a", "/run/tallygate/api.sock") == "tallygate tallygate-web 660"
    assert "tallygate-web" in machine.out("id", "-nG", "www-data").split()
    assert machine.out("ps", "-o", "user=", "-p", str(machine.pid(unit("api")))) == "tallygate"
    assert machine.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'users'") == "tallygate_owner"
    assert not machine.file("/etc/nginx/sites-enabled/tallygate").exists()
    # Root needs no password of PostgreSQL for any of it.
    assert machine.out("tallygatectl", "migrate", "up") == "nothing to do"
    assert "signs" in machine.out("tallygatectl", "keys", "status")


def test_what_the_units_may_do(machine):
    """Judged by systemd itself, on what is loaded."""
    for name in (*map(unit, POOLS), "tallygate-metrics.service", "tallygate-purge.service", "tallygate-backup.service",
                 "tallygate-partitions.service", "tallygate-jobd.service"):
        told = machine.out("systemd-analyze", "security", "--no-pager", name, check=False)
        level = float(told.rpartition("exposure level for")[2].split(":")[1].split()[0])
        assert level <= 1.5, told
    assert machine.run("runuser", "-u", "nobody", "--", "cat", "/etc/tallygate/secret.key", check=False).returncode != 0
    for pool in POOLS:
        assert "secret" not in machine.out("cat", f"/proc/{machine.pid(unit(pool))}/cmdline")
    machine.run("systemctl", "start", "tallygate-purge.service")


def test_the_site(machine):
    make_site(machine)
    # The first administrator, by root, who needs no password of PostgreSQL and no --config.
    machine.run("tallygatectl", "setup", ADMINISTRATOR, input=f"{PASSWORD}\n")
    told = json.loads(machine.run("tallygatectl", "--json", "doctor").stdout)["items"]
    assert [item for item in told if item["state"] == "fault"] == []
    assert machine.run("tallygatectl", "status").stdout.count("serves") == 4
    text = machine.out("curl", "-sS", "http://127.0.0.1:9464/metrics")
    assert text.endswith("# EOF") and re.search(r'workers_resident_memory_bytes{service="api"} [1-9]', text)
    assert {item["check"]: item["state"] for item in told}["pools"] == "ok"


def test_reloading_under_load(machine, token):
    before = {pool: (machine.pid(unit(pool)), machine.children(machine.pid(unit(pool)))) for pool in POOLS}
    with load(machine, token) as told:
        for _ in range(5):
            for pool in POOLS:
                machine.run("systemctl", "reload", unit(pool))
            time.sleep(0.5)
        for pool in POOLS:
            pid, workers = before[pool]
            wait_for(lambda pid=pid, workers=workers: not set(workers) & set(machine.children(pid)), what="new workers")
            assert machine.pid(unit(pool)) == pid
        wait_for(lambda: all(machine.state(unit(pool)) == "active" for pool in POOLS))
    assert told["failed"] == []
    kept(machine, told)


@pytest.mark.parametrize("victim", ["worker", "master", "postgres", "redis", "jobd"])
def test_killed_under_load(machine, token, victim):
    master = machine.pid(unit("ingest"))
    target = {"worker": lambda: machine.children(master)[0],
              "master": lambda: master,
              "postgres": lambda: int(machine.file("/var/lib/postgresql/15/main/postmaster.pid").read_text().split()[0]),
              "redis": lambda: machine.pid("redis-server.service"),
              "jobd": lambda: machine.pid("tallygate-jobd.service")}[victim]()
    with load(machine, token) as told:
        time.sleep(1)
        machine.run("kill", "-9", str(target))
        if victim == "postgres":  # Debian's unit does not start it again by itself
            machine.run("systemctl", "restart", "postgresql@15-main.service")
        time.sleep(1)
        wait_for(lambda: healthy(machine), what="all to be well again")
        count = int(machine.sql("SELECT count(*) FROM event_ids"))
        wait_for(lambda: int(machine.sql("SELECT count(*) FROM event_ids")) > count, what="events again")
    kept(machine, told)
    if victim in ("redis", "jobd"):
        assert told["failed"] == []
    wait_for(lambda: machine.state("tallygate-jobd.service") == "active", what="jobs to be run")


def test_a_report(machine, token):
    """Drawn by one unit, and put where nginx may read it by another, within what the two may do."""
    def ask(path, *arguments):
        status, body, error = machine.curl(path, "-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json", *arguments)
        assert status in (200, 201, 202), (status, body, error)
        return body
    report = json.loads(ask("/reports", "-d", '{"name": "Installed", "sections": ["summary", "daily"], "range": "7d", "format": "pdf"}'))
    begun = json.loads(ask(f"/reports/{report['id']}/run", "-X", "POST"))
    path = f"/reports/{report['id']}/runs/{begun['run_id']}"
    done = wait_for(lambda: (lambda run: run if run["status"] in ("done", "failed") else None)(json.loads(ask(path))), 60, "the report")
    assert done["status"] == "done", done
    head = ask(f"{path}/download", "-o", "/root/report.pdf", "-D", "-")
    assert "etag:" in head.lower() and machine.file("/root/report.pdf").read_bytes().startswith(b"%PDF-")
    assert machine.out("sha256sum", "/root/report.pdf").split()[0] == done["sha256"]
    assert machine.out("stat", "-c", "%U %G %a", "/var/cache/tallygate") == "tallygate tallygate-web 2750"
    assert machine.out("stat", "-c", "%U %G %a", f"/var/cache/tallygate/report-{begun['run_id']}.pdf") == "tallygate tallygate-web 640"


def test_what_timers_do_at_night(machine):
    """By the units, as the users and within the limits that these set."""
    machine.run("sh", "-c", "umask 077; openssl rand -base64 24 >/etc/tallygate/backup.passphrase")
    # Jobs run, as the pools' user.
    machine.run("tallygatectl", "jobs", "put", "workspaces.purge")
    wait_for(lambda: machine.sql("SELECT count(*) FROM jobs_done WHERE type = 'workspaces.purge'") == "1", what="the job")
    assert 'background_jobs_total{service="jobd",job_type="workspaces.purge",status="done"} 1' in machine.out("tallygatectl", "metrics", "show")
    for name in ("backup", "partitions", "purge"):
        assert machine.state(f"tallygate-{name}.timer") == "active"
        machine.run("systemctl", "start", f"tallygate-{name}.service")
    [backup] = json.loads(machine.out("tallygatectl", "--json", "backup", "list"))["items"]
    assert backup["settings"]
    path = f"/var/lib/tallygate/backup/{backup['backup']}"
    assert machine.out("stat", "-c", "%U %a", path) == "tallygate_owner 700"
    machine.run("tallygatectl", "backup", "verify", path, "--passphrase-file", "/etc/tallygate/backup.passphrase")
    told = json.loads(machine.out("tallygatectl", "--json", "doctor"))["items"]
    assert {item["check"]: item["state"] for item in told}["backup"] == "ok"
    # Root may bring it into a new database, beside the one that is in use.
    machine.sql("CREATE DATABASE again OWNER tallygate_owner", "postgres")
    machine.run("sh", "-c", "sed 's/dbname=tallygate/dbname=again/' /etc/tallygate/tallygate.conf >/root/again.conf")
    machine.run("tallygatectl", "--config", "/root/again.conf", "restore", path)
    assert machine.sql("SELECT count(*) FROM users", "again") == machine.sql("SELECT count(*) FROM users")
    machine.sql("DROP DATABASE again", "postgres")
    # Retention: a year that is past goes into a file.
    machine.run("tallygatectl", "workspace", "add", ADMINISTRATOR, "History", "--slug", "history")
    old = '{"type": "api_call", "value": 1, "user_id": "u", "id": "old", "timestamp": "2020-02-03T04:05:06Z"}'
    machine.run("tallygatectl", "events", "import", "--workspace", "history", "-", input=old)
    machine.run("sh", "-c", f"echo 'events_keep_days = 400' >>{CONFIG}")
    machine.run("systemctl", "start", "tallygate-partitions.service")
    assert machine.sql("SELECT count(*) FROM events WHERE id = 'old'") == "0"
    machine.run("sh", "-c", "tallygatectl events import /var/lib/tallygate/archive/events_2020_02-*.zst")
    assert machine.sql("SELECT count(*) FROM events WHERE id = 'old'") == "1"


def test_the_examples_of_the_page_about_logs(machine, token):
    """Each is run as it stands there; all but what may not have occurred find something."""
    status, body, _ = machine.curl("/nothing")
    assert status == 404
    request_id = json.loads(body)["request_id"]
    machine.curl("/metrics")
    assert machine.curl("/auth/verify", "-H", f"Authorization: Bearer {token}", "-H", "X-Request-ID: the-one")[0] == 200
    page = (HERE.parents[1] / "man" / "tallygate-logs.7").read_text()
    lines = [line[2:].replace("\\e", "\\") for line in page.split("\n") if line.startswith("# ")]
    assert len(lines) >= 9 and lines[0].startswith("id=")

    def run(line):
        done = machine.run("bash", "-o", "pipefail", "-c", f"id=the-one; {line}")
        assert done.stderr == "", (line, done)
        return done.stdout

    for line in lines[1:3]:  # nginx writes within a second
        wait_for(lambda line=line: run(line), 15, line)
    found = {line: run(line) for line in lines[1:]}
    assert not {line for line, text in found.items() if not text} - {line for line in found if "duration_ms" in line or ">= 500" in line}, found
    one, journal = list(found.values())[:2]
    assert json.loads(one)["path"] == "/auth/verify" and json.loads(journal)["route"] == "/auth/verify"
    assert "PostgreSQL is back" in list(found.values())[-1]
    assert request_id


def test_logs_are_rotated(machine):
    machine.curl("/before")
    machine.run("logrotate", "-f", "/etc/logrotate.d/tallygate")
    log = machine.file("/var/log/tallygate/nginx-access.log")

    def written():
        machine.curl("/after")
        return "/after" in log.read_text()

    wait_for(written, what="a line in the new log")
    assert machine.file("/var/log/tallygate/nginx-access.log.1").exists()


def test_rebooting(machine, token):
    with load(machine, token) as told:
        time.sleep(1)
    kept(machine, told)
    machine.reboot()
    wait_for(lambda: healthy(machine), 90, what="all to come up by itself")
    kept(machine, told)
    status, _, _ = machine.curl("/auth/verify", "-H", f"Authorization: Bearer {token}")
    assert status == 200  # the keys are the same


@pytest.mark.parametrize("to", ["next", "this"])
def test_upgrade_and_downgrade_under_load(machine, token, packages, to):
    """Also back to a package that knows less of the schema than there is: the data stay, and it serves on them."""
    masters = {pool: machine.pid(unit(pool)) for pool in POOLS}
    jobd = machine.pid("tallygate-jobd.service")
    workers = {pool: set(machine.children(masters[pool])) for pool in POOLS}
    schema = int(machine.sql("SELECT max(version) FROM schema_migrations"))
    with load(machine, token) as told:
        time.sleep(0.5)
        said = install(machine, packages[to]).stderr
        for pool in POOLS:
            wait_for(lambda pool=pool: not workers[pool] & set(machine.children(masters[pool])), what=f"new workers in {pool}")
        time.sleep(1)
    assert int(machine.sql("SELECT max(version) FROM schema_migrations")) == schema + (to == "next")
    assert (f"at version {schema}, later than this program knows ({schema - 1})" in said) == (to == "this")
    assert told["failed"] == []
    kept(machine, told)
    assert {pool: machine.pid(unit(pool)) for pool in POOLS} == masters
    assert machine.pid("tallygate-jobd.service") == jobd
    assert machine.out("dpkg-query", "-W", "-f", "${Version}", "tallygate") == packages[to].name.split("_")[1]
    assert healthy(machine)


def test_removing_keeps_the_data(machine, packages):
    events = machine.sql("SELECT count(*) FROM events")
    secret = machine.file("/etc/tallygate/secret.key").read_bytes()
    machine.run("dpkg", "-r", "tallygate")
    assert not [pool for pool in POOLS if machine.state(unit(pool)) == "active"]
    assert machine.state("tallygate-jobd.service") != "active"
    assert machine.sql("SELECT count(*) FROM events") == events
    assert machine.file("/etc/tallygate/secret.key").read_bytes() == secret
    install(machine, packages["this"])
    wait_for(lambda: healthy(machine), what="it to be back")
    assert machine.sql("SELECT count(*) FROM events") == events


def test_purging_asks(machine, packages):
    told = machine.run("dpkg", "--purge", "tallygate")
    assert not machine.file(CONFIG).exists()
    # Not answered: the database stays, and with it what opens it.
    assert "secret.key stays" in told.stderr and machine.sql("SELECT count(*) FROM users") == "1"
    install(machine, packages["this"])
    wait_for(lambda: machine.run("tallygatectl", "status", check=False).returncode == 0, what="the pools")
    assert "signs" in machine.out("tallygatectl", "keys", "status")
    machine.run("debconf-set-selections", input="tallygate tallygate/purge-database boolean true\n")
    machine.run("dpkg", "--purge", "tallygate")
    assert machine.sql("SELECT count(*) FROM pg_database WHERE datname = 'tallygate'", "postgres") == "0"
    assert not machine.file("/etc/tallygate/secret.key").exists()
    assert machine.sql("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tallygate%'", "postgres") == "0"
