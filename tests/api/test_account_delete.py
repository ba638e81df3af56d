# SPDX-License-Identifier: Apache-2.0
"""DELETE /auth/users/{id}, and what becomes of the events."""
import pytest

from env.problems import assert_invalid, assert_problem
from env.wait import wait_for

EVENT = {"type": "api_call", "value": 1, "user_id": "u"}
# Every route that takes a token.
ROUTES = [
    ("GET", "/auth/verify", None),
    ("GET", "/auth/profile", None),
    ("PUT", "/auth/profile", {"username": "x"}),
    ("POST", "/analytics/events", EVENT),
    ("POST", "/analytics/metrics/batch", {"events": [EVENT]}),
    ("GET", "/analytics/metrics", None),
    ("GET", "/analytics/usage/u", None),
    ("GET", "/analytics/costs", None),
    ("GET", "/analytics/reports/daily", None),
    ("GET", "/analytics/events/date-range", None),
    ("GET", "/analytics/users/u/events", None),
    ("GET", "/analytics/export", None),
    ("DELETE", "/auth/users/{id}", None),
]
TABLES = ["events", "event_ids", "rollup_hour", "rollup_day", "rollup_user_day", "active_days", "active_days_new",
          "active_gaps", "late_events"]


@pytest.fixture
def admin(stack):
    user = stack.new_user()
    done = stack.ctl("user", "role", user.email, "admin")
    assert done.returncode == 0, done.stderr
    return user


def rows_of(stack, workspace):
    return {table: stack.postgres.value(f"SELECT count(*) FROM {table} WHERE workspace_id = %s", workspace)
            for table in TABLES}


def closed_long_ago(stack, workspace):
    """As if its time of grace were over: a purge takes what was closed 15 minutes ago or earlier."""
    stack.postgres.query("UPDATE workspaces SET closed_at = closed_at - interval '15 minutes' WHERE id = %s", workspace)


def test_oneself(stack, user):
    answer = user.delete(f"/auth/users/{user.id}")
    assert answer.status == 204
    assert answer.body == b""
    assert stack.postgres.value("SELECT count(*) FROM users WHERE id = %s", user.id) == 0
    assert stack.postgres.value("SELECT count(*) FROM sessions WHERE user_id = %s", user.id) == 0
    assert stack.postgres.value("SELECT count(*) FROM memberships WHERE user_id = %s", user.id) == 0
    assert_problem(stack.client.post("/auth/login", {"email": user.email, "password": user.password}), 401)


def test_below_the_prefix_too(user):
    assert user.delete(f"/api/v1/auth/users/{user.id}").status == 204


@pytest.mark.parametrize("method, path, body", ROUTES, ids=[f"{m} {p}" for m, p, _ in ROUTES])
def test_tokens_of_all_sessions_are_refused_within_a_second(user, method, path, body):
    sessions = [user, user.login()]
    path = path.format(id=user.id)
    if method != "DELETE":
        assert user.request(method, path, body).status in (200, 201)
    assert user.delete(f"/auth/users/{user.id}").status == 204
    for session in sessions:
        wait_for(lambda: session.request(method, path, body).status == 401, 1, f"401 from {method} {path}", 0.05)
        for _ in range(12):  # and by every worker
            assert_problem(session.request(method, path, body), 401)


def test_nothing_is_written_after_it(stack, user):
    """Not even within that second."""
    workspace = user.workspace
    user.record()
    assert user.delete(f"/auth/users/{user.id}").status == 204
    for _ in range(5):
        assert_problem(user.post("/analytics/events", EVENT), 401)
        assert_problem(user.post("/analytics/metrics/batch", {"events": [EVENT]}), 401)
    assert rows_of(stack, workspace)["events"] == 1


def closed_long_ago(stack, workspace):
    """The purge leaves a workspace alone for its first quarter of an hour."""
    stack.postgres.query("UPDATE workspaces SET closed_at = closed_at - interval '16 minutes' WHERE id = %s", workspace)


def test_closed_workspace_waits_for_the_purge(stack, user, other):
    workspace, neighbour = user.workspace, other.workspace
    for value in range(3):
        user.record(value=value, metadata={"n": value})
    other.record()
    before = stack.client.get("/health").json()["metrics_count"]
    assert user.delete(f"/auth/users/{user.id}").status == 204
    assert stack.postgres.value("SELECT closed_at IS NOT NULL FROM workspaces WHERE id = %s", workspace) is True
    assert rows_of(stack, workspace)["events"] == 3
    assert stack.ctl("workspace", "purge").returncode == 0
    assert rows_of(stack, workspace)["events"] == 3  # a batch that began before may still be at work
    closed_long_ago(stack, workspace)
    done = stack.ctl("workspace", "purge")
    assert done.returncode == 0, done.stderr
    assert "erased" in done.stdout
    assert rows_of(stack, workspace) == dict.fromkeys(TABLES, 0)
    assert stack.postgres.value("SELECT count(*) FROM workspaces WHERE id = %s", workspace) == 0
    assert rows_of(stack, neighbour)["events"] == 1
    assert stack.client.get("/health").json()["metrics_count"] <= before - 3


def test_purge_of_more_rows_than_one_piece(stack, user):
    workspace = user.workspace
    for part in range(6):
        events = [{"type": f"t{n % 7}", "value": n, "user_id": f"u{n}", "id": f"{part}-{n}"} for n in range(1000)]
        assert user.post("/analytics/metrics/batch", {"events": events}).json()["accepted"] == 1000
    assert user.delete(f"/auth/users/{user.id}").status == 204
    closed_long_ago(stack, workspace)
    assert stack.ctl("workspace", "purge").returncode == 0
    assert rows_of(stack, workspace) == dict.fromkeys(TABLES, 0)


def test_purge_with_nothing_to_do(stack):
    stack.ctl("workspace", "purge")
    done = stack.ctl("workspace", "purge")
    assert (done.returncode, done.stdout) == (0, "erased 0 rows\n")


def test_address_can_be_registered_again_with_nothing_of_before(stack, user):
    user.record(id="mine")
    assert user.delete(f"/auth/users/{user.id}").status == 204
    again = stack.new_user(email=user.email)
    assert again.id != user.id
    assert again.get("/analytics/metrics").json()["total_metrics"] == 0
    assert again.record(id="mine")["status"] == "recorded"
    assert_problem(user.get("/auth/verify"), 401)


def test_users_count_follows(stack, user):
    before = stack.client.get("/health").json()["users_count"]
    assert user.delete(f"/auth/users/{user.id}").status == 204
    assert stack.client.get("/health").json()["users_count"] == before - 1


# ---- who may ----

def test_another_is_forbidden(user, other):
    assert_problem(user.delete(f"/auth/users/{other.id}"), 403)
    assert other.get("/auth/verify").status == 200


def test_forbidden_does_not_tell_who_exists(user, other):
    existing = assert_problem(user.delete(f"/auth/users/{other.id}"), 403)
    missing = assert_problem(user.delete("/auth/users/999999999"), 403)
    del existing["request_id"], missing["request_id"]
    assert existing == missing


def test_nobody(client, user):
    assert_problem(client.delete(f"/auth/users/{user.id}"), 401)


def test_admin_may(stack, admin, other):
    assert admin.delete(f"/auth/users/{other.id}").status == 204
    wait_for(lambda: other.get("/auth/profile").status == 401, 1)
    assert admin.get("/auth/verify").status == 200


def test_admin_and_nobody_there(admin):
    assert_problem(admin.delete("/auth/users/999999999"), 404)


def test_twice(admin, other):
    assert admin.delete(f"/auth/users/{other.id}").status == 204
    assert_problem(admin.delete(f"/auth/users/{other.id}"), 404)


def test_no_longer_admin(stack, admin, other):
    assert stack.ctl("user", "role", admin.email, "user").returncode == 0
    assert_problem(admin.delete(f"/auth/users/{other.id}"), 403)


@pytest.mark.parametrize("arguments, code, words", [
    (["role", "nobody@example.org", "admin"], 3, "no account nobody@example.org"),
    (["role", "nobody@example.org", "owner"], 2, "usage:"),
    (["role", "nobody@example.org"], 2, "usage:"), (["role", "nobody@example.org", "root"], 2, "usage:"),
    (["rule", "nobody@example.org", "admin"], 2, "usage:"),
    ([], 2, "usage:"),
])
def test_role_command_errors(stack, arguments, code, words):
    done = stack.ctl("user", *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert done.stdout == ""


def test_role_command_takes_the_address_in_any_case(stack, user, other):
    assert stack.ctl("user", "role", user.email.upper(), "admin").returncode == 0
    assert user.delete(f"/auth/users/{other.id}").status == 204


# ---- the id in the path ----

@pytest.mark.parametrize("text", ["0", "-1", "abc", "1.0", "01", "9223372036854775808", "1e3", "%31x", "+1", " 1"])
def test_ids_that_are_none(user, text):
    assert_invalid(user.delete(f"/auth/users/{text}"), id="type")


def test_largest_id(admin):
    assert_problem(admin.delete("/auth/users/9223372036854775807"), 404)
