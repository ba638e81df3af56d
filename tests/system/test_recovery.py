# SPDX-License-Identifier: Apache-2.0
"""The database is brought back as it was, by the commands of man/tallygate-recovery.7: these tests follow one another."""
import contextlib
import datetime
import json
import re
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from env import consistency
from life import ADMINISTRATOR, PASSWORD, healthy, install, load, log_in, make_site
from machine import wait_for

PAGE = Path(__file__).resolve().parents[2] / "man" / "tallygate-recovery.7"
JSON = ("-H", "Content-Type: application/json")
BOB, CAROL = "bob@example.org", "carol@example.org"
PAST = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=10)).date().isoformat()
ON_PAST = f"start={PAST}&end={PAST}"


def blocks():
    """The commands of each section."""
    found = {}
    for section in PAGE.read_text().split("\n.Sh ")[1:]:
        texts = re.findall(r"(?ms)^\.Bd -literal[^\n]*\n(.*?)^\.Ed$", section)
        if texts:
            found[section.split("\n")[0]] = [text.replace("\\e", "\\") for text in texts]
    return found


def follow(machine, section, time=""):
    return [machine.run("env", f"time={time}", "sh", "-e", "-c", block, timeout=900).stdout for block in blocks()[section]]


@pytest.fixture(scope="module")
def world():
    """What the tests know: `before` and `after` the time are the events that were acknowledged."""
    return SimpleNamespace(before=[], after=[])


def make_events(name, count, **more):
    return [{"id": f"{name}-{n}", "type": ("api_call", "cost", "page.view")[n % 3], "value": n / 4 - 3, "user_id": f"user-{n % 7}", **more}
            for n in range(count)]


def record(machine, token, events, known=0):
    """Of which `known` are there already."""
    status, body, error = machine.curl("/analytics/events", *JSON, "-H", f"Authorization: Bearer {token}", "--data-binary", "@-",
                                       input=json.dumps(events))
    assert status == 200, (status, body, error)
    assert json.loads(body) == {"accepted": len(events) - known, "duplicates": known, "rejected": []}
    return events


def figures(events):
    values = {}
    for event in events:
        values.setdefault(event["type"], []).append(Decimal(event["value"]))
    return {"total_events": len(events), "total_value": sum(map(sum, values.values())),
            "active_users": len({event["user_id"] for event in events}),
            "by_type": {name: (len(some), sum(some), min(some), max(some)) for name, some in values.items()}}


def asked(machine, token, period):
    status, body, error = machine.curl(f"/analytics/summary?{period}", "-H", f"Authorization: Bearer {token}")
    assert status == 200, (status, body, error)
    told = json.loads(body, parse_float=Decimal)
    return {**{name: told[name] for name in ("total_events", "total_value", "active_users")},
            "by_type": {row["type"]: (row["events"], row["value"], row["minimum"], row["maximum"])
                        for row in told["by_type"] if row["events"]}}


def agree(machine, token, events, period="days=30"):
    """The API tells of just these events, as soon as what it remembers for a second is over."""
    wanted = figures(events)
    with contextlib.suppress(AssertionError):
        wait_for(lambda: asked(machine, token, period) == wanted, 30)
    assert asked(machine, token, period) == wanted


def on_past(events):
    return [event for event in events if "timestamp" in event]


def refresh(machine, login):
    return machine.curl("/auth/refresh", *JSON, "-d", json.dumps({"refresh_token": login["refresh_token"]}))


class Database:
    """As tests/env/consistency.py wants it."""

    def __init__(self, machine):
        self.query = lambda sql: machine.sql(sql).splitlines()
        self.value = lambda sql: int(machine.sql(sql))


def check_rows(machine, world, ada, bob):
    """The database has just these events of the two, and all that was derived from them."""
    workspaces = machine.sql("SELECT m.workspace_id FROM memberships m JOIN workspaces w ON w.id = m.workspace_id AND w.personal ORDER BY m.user_id").splitlines()
    assert len(workspaces) == 2
    for workspace, events in zip(workspaces, (ada, bob)):
        ids = sorted(event["id"] for event in events)
        for table in ("events", "event_ids"):
            assert sorted(machine.sql(f"SELECT id FROM {table} WHERE workspace_id = {workspace}").splitlines()) == ids, table
        consistency.check(Database(machine), workspace)
    # Besides them there is what the platform counts of itself.
    assert int(machine.sql("SELECT sum(n) - (SELECT count(*) FROM events e JOIN workspaces w ON w.id = e.workspace_id AND w.platform) "
                           "FROM totals WHERE name = 'events'")) == len(ada) + len(bob)
    assert int(machine.sql("SELECT sum(events) FROM late_events")) == len(on_past(ada))


def test_setting_up(machine, packages):
    assert list(blocks()) == ["SET-UP", "BACKUPS", "RECOVERY", "AFTERWARDS"]
    install(machine, packages["this"])
    make_site(machine)
    machine.run("tallygatectl", "setup", ADMINISTRATOR, input=f"{PASSWORD}\n")
    machine.run("tallygatectl", "user", "add", BOB, input=f"{PASSWORD}\n")
    follow(machine, "SET-UP")
    wait_for(lambda: healthy(machine), what="the service after PostgreSQL's restart")


def test_a_backup_under_load(machine, world):
    world.ada, world.bob = log_in(machine, ADMINISTRATOR), log_in(machine, BOB)
    world.before += record(machine, world.ada["access_token"], make_events("first", 200))
    with load(machine, world.ada["access_token"]) as told:
        assert "full backup: " in follow(machine, "BACKUPS")[0]
    assert told["recorded"] and told["failed"] == []
    world.before += [{"id": name, "type": "x", "value": 1, "user_id": "u"} for name in told["recorded"]]


def test_the_time_and_the_damage(machine, world):
    ada = world.ada["access_token"]
    world.before += record(machine, ada, make_events("second", 100))
    world.before += record(machine, ada, make_events("past", 5, timestamp=f"{PAST}T12:00:00Z"))
    world.bobs = record(machine, world.bob["access_token"], make_events("bob", 30))
    agree(machine, ada, world.before)
    agree(machine, ada, on_past(world.before), ON_PAST)

    # pgBackRest takes a copy from a second before the time's.
    info = json.loads(machine.out("runuser", "-u", "postgres", "--", "pgbackrest", "--stanza=tallygate", "--output=json", "info"))
    stop = info[0]["backup"][-1]["timestamp"]["stop"]
    wait_for(lambda: int(machine.sql("SELECT extract(epoch FROM clock_timestamp())::bigint")) > stop + 1, what="the next second")
    world.time = machine.sql("SELECT (clock_timestamp() AT TIME ZONE 'UTC') || '+00'")

    world.later = log_in(machine, ADMINISTRATOR)
    world.bob_refreshed = json.loads(refresh(machine, world.bob)[1])
    machine.run("tallygatectl", "user", "add", CAROL, input=f"{PASSWORD}\n")
    world.carol = log_in(machine, CAROL)
    record(machine, world.carol["access_token"], make_events("carol", 10))
    world.after += record(machine, ada, make_events("third", 150))
    world.after += record(machine, ada, make_events("past-after", 4, timestamp=f"{PAST}T13:00:00Z", type="cost"))
    agree(machine, ada, world.before + world.after)
    # Redis has it now, under the number of late events.
    agree(machine, ada, on_past(world.before + world.after), ON_PAST)
    machine.sql("TRUNCATE events; DELETE FROM users; DROP TABLE rollup_day")


def test_recovering(machine, world):
    follow(machine, "RECOVERY", world.time)
    wait_for(lambda: healthy(machine), what="all to be well again")
    follow(machine, "AFTERWARDS", world.time)
    assert f"user:{world.carol['user']['id']} " in machine.file("/root/audit-after").read_text()


def test_what_was_acknowledged_before_the_time_is_there(machine, world):
    assert machine.sql("SELECT string_agg(email, ' ' ORDER BY id) FROM users") == f"{ADMINISTRATOR} {BOB}"
    check_rows(machine, world, world.before, world.bobs)
    ada, bob = (log_in(machine, email)["access_token"] for email in (ADMINISTRATOR, BOB))
    agree(machine, ada, world.before)
    agree(machine, ada, on_past(world.before), ON_PAST)
    agree(machine, bob, world.bobs)
    world.token = ada


def test_who_was_logged_in(machine, world):
    for login in (world.ada, world.later, world.bob_refreshed, world.carol):
        header = ("-H", f"Authorization: Bearer {login['access_token']}")
        assert machine.curl("/auth/verify", *header)[0] == 401
        # The pool that asks no database.
        assert machine.curl("/analytics/events", *JSON, *header, "-d", json.dumps(make_events("refused", 1)))[0] == 401
    status, body, _ = refresh(machine, world.ada)
    assert status == 200
    assert machine.curl("/auth/verify", "-H", f"Authorization: Bearer {json.loads(body)['access_token']}")[0] == 200
    for login in (world.later, world.bob_refreshed, world.carol):
        assert refresh(machine, login)[0] == 401


def test_new_events_and_those_that_are_sent_again(machine, world):
    # As many late events as are lost: what was kept of those is not taken for them.
    late = len(on_past(world.after))
    world.before += record(machine, world.token, make_events("new", late, timestamp=f"{PAST}T14:00:00Z", type="page.view"))
    agree(machine, world.token, on_past(world.before), ON_PAST)
    world.before += record(machine, world.token, make_events("fourth", 50))
    record(machine, world.token, world.before + world.after, known=len(world.before))
    agree(machine, world.token, world.before + world.after)
    agree(machine, world.token, on_past(world.before + world.after), ON_PAST)
    check_rows(machine, world, world.before + world.after, world.bobs)


def test_the_next_backup(machine):
    """PostgreSQL has a new timeline, which goes on in the same place."""
    told = follow(machine, "BACKUPS")[0]
    assert told.count("full backup: ") == 2
    machine.run("runuser", "-u", "postgres", "--", "pgbackrest", "--stanza=tallygate", "check")
