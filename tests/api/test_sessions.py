# SPDX-License-Identifier: Apache-2.0
"""Seeing one's sessions, and ending them."""
import pytest

from env import tokens
from env.problems import assert_invalid, assert_problem
from env.wait import wait_for


NOBODYS = "0190f5d2-1c3a-7b2e-8f00-000000000001"


def session_of(user):
    return tokens.claims_of(user.token)["sid"]


def listed(user):
    answer = user.get("/auth/sessions")
    assert answer.status == 200 and answer.headers["Cache-Control"] == "no-store"
    assert answer.json()["next_cursor"] is None
    return answer.json()["items"]


def ids(user):
    return [item["id"] for item in listed(user)]


def assert_ended(*users):
    """On each pool, within a second: three are for slow builds."""
    for user in users:
        wait_for(lambda user=user: user.get("/auth/verify").status == 401, 3, "the end of a session")
        wait_for(lambda user=user: user.post("/analytics/events", {}).status == 401, 3, "the end in ingest")
        assert_problem(user.get("/auth/verify"), 401)


def test_list(stack, user):
    stack.client.post("/auth/login", {"email": user.email, "password": user.password},
                      headers={"User-Agent": "phone \u007f app/2.1"})
    items = listed(user)
    assert len(items) == 2
    phone, first = items
    assert set(first) == {"id", "address", "user_agent", "created_at", "last_used_at", "expires_at", "current"}
    assert first["id"] == session_of(user) and first["current"] is True and phone["current"] is False
    assert first["address"] == "127.0.0.1"
    assert phone["user_agent"] == "phone ? app/2.1"
    assert first["created_at"] <= first["last_used_at"] < first["expires_at"]


def test_last_used_first(stack, user):
    first = stack.client.post("/auth/login", {"email": user.email, "password": user.password}).json()
    user.login()
    assert stack.client.post("/auth/refresh", {"refresh_token": first["refresh_token"]},
                             headers={"User-Agent": "moved"}).status == 200
    item = listed(user)[0]
    assert item["id"] == tokens.claims_of(first["access_token"])["sid"]
    assert item["user_agent"] == "moved" and item["last_used_at"] > item["created_at"]


def test_an_expired_one_is_not_listed(stack, user):
    gone = user.login()
    stack.postgres.query("UPDATE sessions SET expires_at = now() WHERE id = %s", session_of(gone))
    assert ids(user) == [session_of(user)]


def test_of_others_nothing_is_seen(user, other):
    assert not set(ids(user)) & set(ids(other))


def test_a_hundred_at_the_most(stack, user):
    stack.postgres.query(
        "INSERT INTO sessions (id, user_id, expires_at, refreshed_at) "
        "SELECT gen_random_uuid(), %s, now() + interval '1 day', now() - n * interval '1 hour' FROM generate_series(1, 105) n",
        user.id)
    newest = user.login()
    items = listed(newest)
    assert len(items) == 100
    assert {session_of(user), session_of(newest)} <= {item["id"] for item in items}
    assert stack.postgres.value("SELECT count(*) FROM sessions WHERE user_id = %s", user.id) == 100
    assert stack.postgres.query("SELECT detail->'sessions' FROM audit_log WHERE subject = %s AND action = 'session.crowded_out'",
                                f"user:{user.id}") == [(7,)]


# ---- ending them ----

def test_logout(user):
    stays = user.login()
    assert user.post("/auth/logout").status == 204
    assert_ended(user)
    assert stays.get("/auth/verify").status == 200


@pytest.mark.parametrize("scope, ends", [("local", [0]), ("others", [1, 2]), ("global", [0, 1, 2])])
def test_scopes(user, other, scope, ends):
    sessions = [user, user.login(), user.login()]
    answer = user.post(f"/auth/logout?scope={scope}")
    assert (answer.status, answer.body) == (204, b"")
    assert_ended(*(sessions[n] for n in ends))
    for n in {0, 1, 2} - set(ends):
        assert sessions[n].get("/auth/verify").status == 200
    assert other.get("/auth/verify").status == 200


def test_its_refresh_token_ends_too(stack, user):
    body = stack.client.post("/auth/login", {"email": user.email, "password": user.password}).json()
    assert stack.client.post("/auth/logout", token=body["access_token"]).status == 204
    assert_problem(stack.client.post("/auth/refresh", {"refresh_token": body["refresh_token"]}), 401)


@pytest.mark.parametrize("query, wrong", [
    ("scope=all", {"scope": "format"}), ("scope=", {"scope": "too_short"}), ("scope=local&scope=global", {"scope": "repeated"}),
    ("x=1", {"x": "unknown_field"}),
])
def test_bad_scopes(user, query, wrong):
    assert_invalid(user.post(f"/auth/logout?{query}"), **wrong)
    assert user.get("/auth/verify").status == 200


def test_end_one(user):
    another = user.login()
    assert user.delete(f"/auth/sessions/{session_of(another)}").status == 204
    assert_ended(another)
    assert ids(user) == [session_of(user)]
    assert_problem(user.delete(f"/auth/sessions/{session_of(another)}"), 404)


def test_end_the_own_one(user):
    assert user.delete(f"/auth/sessions/{session_of(user).upper()}").status == 204
    assert_ended(user)


def test_of_others_none_can_be_ended(user, other):
    assert_problem(user.delete(f"/auth/sessions/{session_of(other)}"), 404)
    assert other.get("/auth/verify").status == 200


@pytest.mark.parametrize("id", ["1", "x", NOBODYS, "0" * 36, "'; DELETE FROM sessions; --"])
def test_no_such_session(user, id):
    assert_problem(user.delete(f"/auth/sessions/{id}"), 404)


@pytest.mark.parametrize("method, path", [("POST", "/auth/logout"), ("GET", "/auth/sessions"),
                                          ("DELETE", f"/auth/sessions/{NOBODYS}")])
def test_nobody(client, method, path):
    assert_problem(client.request(method, path), 401)


def test_a_change_of_password_ends_the_others(stack, user):
    others = [user.login(), user.login()]
    assert user.put("/auth/profile", {"password": "a new password", "current_password": user.password}).status == 200
    assert_ended(*others)
    assert ids(user) == [session_of(user)]


def test_a_restart_and_an_empty_redis_unrevoke_nothing(make_stack):
    stack = make_stack()
    user = stack.new_user()
    another = user.login()
    assert user.post("/auth/logout?scope=others").status == 204
    stack.redis.client().flushall()
    for pool in (stack.api, stack.ingest, stack.auth):
        pool.stop()
    stack.up()
    assert_ended(another)
    assert user.get("/auth/verify").status == 200


def test_each_worker_of_each_host_refuses_within_a_second(make_stack):
    here = make_stack(api_workers=2)
    there = make_stack(**here.shared, api_workers=2)
    user = here.new_user()
    another = user.login()
    clients = [stack.new_client(another.token) for stack in (here, there) for _ in range(8)]
    assert {client.get("/auth/verify").status for client in clients} == {200}
    assert user.post("/auth/logout?scope=others").status == 204
    wait_for(lambda: {client.get("/auth/verify").status for client in clients} == {401}, 3, "the end everywhere")


def test_an_account_that_is_switched_off_is_out_everywhere(stack, user, other):
    refresh_token = stack.client.post("/auth/login", {"email": user.email, "password": user.password}).json()["refresh_token"]
    stack.postgres.query("UPDATE users SET is_active = false WHERE id = %s", user.id)
    assert_ended(user)
    wait_for(lambda: user.get("/analytics/metrics").status == 401, 3, "the end of reading")
    stack.postgres.query("UPDATE users SET is_active = true WHERE id = %s", user.id)
    assert_problem(stack.client.post("/auth/refresh", {"refresh_token": refresh_token}), 401)
    assert_problem(user.get("/auth/verify"), 401)
    assert other.get("/auth/verify").status == 200 and user.login().get("/auth/verify").status == 200
