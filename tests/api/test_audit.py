# SPDX-License-Identifier: Apache-2.0
"""The audit log: what is in it, who reads it, and that nobody changes it."""
import psycopg2
import pytest

from env.problems import assert_invalid
from env.workspaces import Workspace, make_key


@pytest.fixture
def admin(stack):
    somebody = stack.new_user()
    assert stack.ctl("user", "role", somebody.email, "admin").returncode == 0
    return somebody


def entries(admin, **params):
    answer = admin.get("/admin/audit", params=params)
    assert answer.status == 200, answer
    return answer.json()["items"]


def test_what_an_entry_says(stack, user, admin):
    answer = user.request("PATCH", "/users/me", {"full_name": "Ada"}, headers={"X-Request-ID": "audit-test"})
    assert answer.status == 200
    [entry] = entries(admin, actor=user.id, action="user.profile_changed")
    assert set(entry) == {"id", "at", "actor_id", "actor_grant", "action", "subject", "address", "request_id", "detail"}
    assert entry["subject"] == f"user:{user.id}" and entry["actor_id"] == user.id
    assert entry["address"] == "127.0.0.1" and entry["request_id"] == "audit-test"
    assert entry["actor_grant"] in [item["id"] for item in user.get("/auth/sessions").json()["items"]]
    assert entry["detail"] == {"before": {"email": user.email, "username": None, "full_name": None},
                               "after": {"email": user.email, "username": None, "full_name": "Ada"},
                               "password_changed": False}


def test_filters_and_pages(stack, user, admin):
    shared = Workspace(user)
    make_key(user, ["analytics:read"], headers=shared.header)
    user.login()
    everything = entries(admin, actor=user.id)
    assert [entry["action"] for entry in everything] == ["session.opened", "apikey.created", "workspace.created"]
    assert [entry["id"] for entry in everything] == sorted((entry["id"] for entry in everything), reverse=True)
    paged, cursor = [], None
    while True:
        page = admin.get("/admin/audit", params={"actor": user.id, "limit": 1, **({"cursor": cursor} if cursor else {})}).json()
        paged += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert paged == everything
    assert entries(admin, subject=f"workspace:{shared.id}") == [everything[2]]
    assert entries(admin, actor=user.id, end=everything[1]["at"]) == [everything[2]]
    assert entries(admin, actor=user.id, start=everything[1]["at"]) == everything[:2]
    assert entries(admin, actor=user.id, start="2100-01-01") == []
    assert_invalid(admin.get("/admin/audit", params={"actor": "x", "start": "y"}), actor="type", start="format")


def test_every_change_leaves_an_entry(stack, user, admin):
    """One after the other; each is told by its own word."""
    session = user.login()
    other = [item for item in user.get("/auth/sessions").json()["items"] if not item["current"]][0]
    user.delete(f"/auth/sessions/{other['id']}")
    session = user.login()
    session.post("/auth/logout")
    user.put("/auth/profile", {"password": "quite another 77 sentence", "current_password": user.password})
    key = make_key(user, ["admin"])
    user.delete(f"/auth/api-keys/{key['id']}")
    shared = Workspace(user)
    guest = shared.join(stack.new_user(), "viewer")
    user.request("PATCH", f"{shared.path}/members/{guest.id}", {"role": "member"})
    user.request("PATCH", shared.path, {"name": "x"})
    user.post(f"{shared.path}/transfer", {"user_id": guest.id})
    guest.delete(f"{shared.path}/members/{user.id}")
    guest.delete(shared.path)
    said = [entry["action"] for actor in (user, guest) for entry in reversed(entries(admin, actor=actor.id))]
    assert said == [
        "session.opened", "session.ended", "session.opened", "session.logged_out", "user.profile_changed", "apikey.created",
        "apikey.revoked", "workspace.created", "invitation.created", "workspace.member_changed", "workspace.changed",
        "workspace.transferred", "workspace.member_joined", "workspace.member_removed", "workspace.deleted"]


def test_what_is_done_at_a_shell(stack, user, admin):
    """Nobody has logged in there, so there is no actor."""
    name = stack.unique("service")
    for arguments in (("service", "add", name), ("service", "renew", name), ("service", "remove", name)):
        assert stack.ctl(*arguments).returncode == 0
    rows = stack.postgres.query("SELECT action, actor_id, subject ~ '^service:[0-9a-f-]{36}$' FROM audit_log WHERE detail->>'name' = %s "
                                "ORDER BY id", name)
    assert rows == [(f"service.{what}", None, True) for what in ("added", "renewed", "removed")]
    [entry] = [one for one in entries(admin, subject=f"user:{admin.id}") if one["action"] == "user.changed"]
    assert entry["actor_id"] is None and entry["address"] is None
    assert (entry["detail"]["before"]["role"], entry["detail"]["after"]["role"]) == ("user", "admin")


def test_no_secret_is_in_it(stack, user):
    user.put("/auth/profile", {"password": "quite another 77 sentence", "current_password": user.password})
    key = make_key(user, ["admin"])["key"]
    text = str(stack.postgres.query("SELECT a::text FROM audit_log a"))
    for secret in (user.password, "quite another 77 sentence", key, user.token, "$2b$"):
        assert secret not in text


# ---- by privilege ----

@pytest.mark.parametrize("statement", [
    "UPDATE audit_log SET action = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log", "DROP TABLE audit_log",
    "ALTER TABLE audit_log DISABLE TRIGGER ALL", "ALTER TABLE users ADD COLUMN x int", "CREATE TABLE mine (x int)",
    "DROP TABLE sessions", "UPDATE schema_migrations SET version = 1", "DELETE FROM installation", "DROP FUNCTION active_users(bigint, date, int)",
    "CREATE OR REPLACE FUNCTION active_users(workspace bigint, first date, days int) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'",
])
def test_the_pools_role_cannot(stack, statement):
    """Neither the schema nor what stands in the log can be changed by whoever takes over a pool."""
    user = stack.postgres.value("SELECT DISTINCT usename FROM pg_stat_activity WHERE application_name = 'tallygate'")
    assert user == "tallygate_app"
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        stack.postgres.query(statement, user=user)


def test_the_owner_is_another(stack):
    assert stack.postgres.value("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'") == "tallygate"
    # Again: what is there already does not matter.
    assert stack.ctl("migrate", "up").stdout == "nothing to do\n"


def test_what_runs_as_the_owner_looks_for_nothing_of_the_callers(stack):
    """Temporary tables come last, or whoever calls could put one in the place of ours."""
    paths = stack.postgres.query("SELECT proname, (SELECT c FROM unnest(proconfig) c WHERE c LIKE 'search_path=%%') FROM pg_proc "
                                 "WHERE prosecdef AND pronamespace = 'public'::regnamespace ORDER BY 1")
    assert paths == [(name, "search_path=public, pg_temp") for name in (
        "ensure_event_partition", "ensure_next_event_partition", "keep_days", "keep_event_id_buckets")]
