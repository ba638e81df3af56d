# SPDX-License-Identifier: Apache-2.0
"""Two things at once to one account, in an order that a lock of ours arranges."""
import threading

import pytest

from env.database import new_database
from env.wait import wait_for


class Held:
    """The account's row, locked by a transaction of ours until release()."""

    def __init__(self, stack, user):
        self.connection = stack.postgres.connect()
        self.connection.autocommit = False
        self.cursor = self.connection.cursor()
        self.cursor.execute("SELECT FROM users WHERE id = %s FOR UPDATE", (user.id,))
        self.stack = stack

    def waiting(self):
        """How many statements wait for the row."""
        return self.stack.postgres.value(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'tallygate'",
            database="postgres", user="postgres")

    def release(self):
        self.connection.rollback()
        self.connection.close()


def in_thread(call):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(call()))
    thread.start()
    return thread, answers


def at_once(stack, user, calls, first):
    """Let all `calls` wait for the account's row, the one named `first` before the others, then let
    them go. Their answers by name."""
    held = Held(stack, user)
    threads = {}
    for name in sorted(calls, key=lambda name: name != first):
        before = held.waiting()
        threads[name] = in_thread(calls[name])
        wait_for(lambda before=before: held.waiting() > before, what=f"{name} to wait for the row")
    held.release()
    for thread, _ in threads.values():
        thread.join()
    return {name: answers[0] for name, (_, answers) in threads.items()}


@pytest.mark.parametrize("first", ["login", "change"])
def test_a_login_with_the_old_password_does_not_survive_its_change(make_stack, first):
    stack = make_stack()
    user = stack.new_user()
    calls = {
        "login": lambda: stack.client.post("/auth/login", {"email": user.email, "password": user.password}),
        "change": lambda: user.put("/auth/profile", {"password": "another password", "current_password": user.password}),
    }
    answers = at_once(stack, user, calls, first)
    login, change = answers["login"], answers["change"]
    assert change.status == 200, change
    assert login.status in (200, 401), login
    if login.status == 200:
        token = login.json()["access_token"]
        wait_for(lambda: stack.client.get("/auth/verify", token=token).status == 401, what="the end of the session")
        wait_for(lambda: stack.client.get("/analytics/metrics", token=token).status == 401, what="its end elsewhere")
    assert user.get("/auth/verify").status == 200  # the session that made the change goes on


@pytest.mark.parametrize("first", ["login", "delete"])
def test_a_login_does_not_survive_the_deletion(make_stack, first):
    stack = make_stack()
    user = stack.new_user()
    calls = {
        "login": lambda: stack.client.post("/auth/login", {"email": user.email, "password": user.password}),
        "delete": lambda: user.delete(f"/auth/users/{user.id}"),
    }
    answers = at_once(stack, user, calls, first)
    login, delete = answers["login"], answers["delete"]
    assert delete.status == 204, delete
    assert login.status in (200, 401), login
    if login.status == 200:
        token = login.json()["access_token"]
        wait_for(lambda: stack.client.get("/analytics/metrics", token=token).status == 401, what="the end of the session")
        answer = stack.client.post("/analytics/events", {"type": "x", "value": 1, "user_id": "u"}, token=token)
        assert answer.status == 401


def test_partitions_are_the_same_in_any_time_zone(make_stack):
    stack = make_stack()
    connection = stack.postgres.connect()
    with connection.cursor() as cursor:
        cursor.execute("SET timezone = 'Pacific/Auckland'")
        cursor.execute("SELECT bool_and(ensure_event_partition(d::date, 'month')) "
                       "FROM generate_series(now() + interval '5 months', now() + interval '9 months', '1 month') d")
        assert cursor.fetchone()[0] is True
        cursor.execute("SET timezone = 'UTC'")
        cursor.execute("SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relispartition AND relkind = 'r' "
                       "AND relname ~ '^events_2'")
        assert all("00:00:00+00" in bound for (bound,) in cursor.fetchall())
        cursor.execute("SELECT bool_or(ensure_event_partition(d::date, 'month')) "
                       "FROM generate_series(now() + interval '5 months', now() + interval '9 months', '1 month') d")
        assert cursor.fetchone()[0] is False
    connection.close()


def test_strays_move_into_their_partition(make_stack):
    stack = make_stack()
    user = stack.new_user()
    sent = user.record()
    stack.postgres.query("UPDATE events SET occurred_at = occurred_at + interval '5 months' WHERE workspace_id = %s", user.workspace)
    where = "SELECT tableoid::regclass::text FROM events WHERE workspace_id = %s AND id = %s"
    assert stack.postgres.value(where, user.workspace, sent["id"]) == "events_default"
    wait_for(lambda: stack.postgres.value(where, user.workspace, sent["id"]).startswith("events_2"), 30)


def test_whoever_reads_while_strays_move_finds_them(stack):
    """A reader plans with the partitions of one moment and reads as of a later one; what moved between these must not be lost to it."""
    where = "FROM events WHERE workspace_id = 1 AND id = '00000000-0000-7000-8000-000000000001'"
    with new_database(stack) as database:
        database.query("INSERT INTO events (id, workspace_id, type, value, user_id, occurred_at) "
                       "VALUES ('00000000-0000-7000-8000-000000000001', 1, 'x', 1, 'u', now() + interval '7 years')")
        assert database.value(f"SELECT tableoid::regclass::text {where}") == "events_default"
        found = []
        reader = threading.Thread(target=lambda: found.append(database.value(f"SELECT count(*) {where}")))
        with database.connect() as mover, mover.cursor() as cursor:
            cursor.execute("SELECT ensure_event_partition((now() + interval '7 years')::date, 'month')")
            assert cursor.fetchone()[0]
            reader.start()
            wait_for(lambda: database.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                                            "AND datname = current_database() AND query LIKE 'SELECT count(*) FROM events %'") == 1,
                     30, "the reader to wait")
            mover.commit()
        reader.join(30)
        assert found == [1]
        assert database.value(f"SELECT tableoid::regclass::text {where}").startswith("events_2")
