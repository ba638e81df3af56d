# SPDX-License-Identifier: Apache-2.0
"""Idempotency-Key: sent again, answered as before."""
import concurrent.futures
import contextlib

import pytest

from env.problems import assert_problem
from env.wait import wait_for
from env.workspaces import Workspace, make_key


def post(who, path, body, key, **headers):
    return who.post(path, body, headers={"Idempotency-Key": key, **headers})


@pytest.fixture
def key(stack):
    return stack.unique("key")


def made(user):
    return len(user.get("/workspaces").json()["items"]) - 1


def test_the_same_answer_again(user, key):
    first = post(user, "/workspaces", {"name": "One"}, key)
    assert first.status == 201 and "Idempotent-Replayed" not in first.headers
    for spelling in (key, f'"{key}"'):
        again = post(user, "/workspaces", {"name": "One"}, spelling)
        assert (again.status, again.body) == (201, first.body)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.media_type == "application/json"
    assert made(user) == 1
    # Without a key, or under another, it is another request.
    assert user.post("/workspaces", {"name": "One"}).json()["id"] != first.json()["id"]
    assert post(user, "/workspaces", {"name": "One"}, key + "2").json()["id"] != first.json()["id"]


def test_what_is_shown_once_is_shown_again(stack, user, key):
    body = {"name": "k", "scopes": ["events:write"]}
    first = post(user, "/auth/api-keys", body, key).json()
    assert post(user, "/auth/api-keys", body, key).json() == first
    dump = str(stack.postgres.query("SELECT owner, encode(answer, 'escape'), encode(answer, 'hex') FROM idempotency"))
    assert first["key"] not in dump and first["key"].encode().hex() not in dump


def test_registering(stack, key):
    body = {"email": f"{stack.unique('idem')}@example.org", "password": "long enough 77"}
    first = post(stack.client, "/auth/register", body, key)
    assert first.status == 201
    again = post(stack.client, "/auth/register", body, key)
    assert (again.status, again.body) == (201, first.body)
    # Somebody else's guess at the key gets nothing.
    assert_problem(post(stack.client, "/auth/register", {**body, "password": "something else 88"}, key), 422)


def test_another_body_under_the_same_key(user, key):
    assert post(user, "/workspaces", {"name": "One"}, key).status == 201
    assert_problem(post(user, "/workspaces", {"name": "Two"}, key), 422)
    assert_problem(post(user, "/auth/api-keys", {"name": "One", "scopes": ["admin"]}, key), 422)
    assert made(user) == 1


def test_what_failed_may_be_tried_again(user, key):
    assert_problem(post(user, "/workspaces", {"name": ""}, key), 422)
    assert post(user, "/workspaces", {"name": "One"}, key).status == 201
    slug = {"name": "x", "slug": "taken-" + key.lower()[-20:].replace("_", "-")}
    assert user.post("/workspaces", slug).status == 201
    assert_problem(post(user, "/workspaces", slug, key + "b"), 409)
    assert post(user, "/workspaces", {"name": "free"}, key + "b").status == 201


def test_one_of_many_at_once(user, key):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(user, "/workspaces", {"name": "One"}, key), range(24)))
    assert {answer.status for answer in answers} <= {201, 409}
    assert len({answer.body for answer in answers if answer.status == 201}) == 1
    assert made(user) == 1


def test_in_flight(stack, user, key):
    """While the first is under way the second is told so, and not made to wait."""
    body = {"name": "One", "slug": "flight-" + key.lower()[-20:].replace("_", "-")}
    blocker = stack.postgres.connect()
    blocker.autocommit = False
    with contextlib.closing(blocker), blocker.cursor() as cursor, concurrent.futures.ThreadPoolExecutor(1) as pool:
        # Somebody is about to take the same slug, so the first one waits for what becomes of that.
        cursor.execute("INSERT INTO workspaces (name, slug) VALUES ('x', %s)", (body["slug"],))
        first = pool.submit(post, user, "/workspaces", body, key)
        try:
            wait_for(lambda: stack.postgres.value("SELECT count(*) FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))",
                                                  blocker.get_backend_pid()), what="the first one")
            second = post(user, "/workspaces", body, key)
        finally:
            blocker.rollback()
        assert_problem(second, 409)
        assert first.result().status == 201
    assert post(user, "/workspaces", body, key).body == first.result().body


def test_a_key_is_its_owners(stack, user, key):
    other = stack.new_user()
    mine = post(user, "/workspaces", {"name": "One"}, key).json()
    theirs = post(other, "/workspaces", {"name": "One"}, key).json()
    assert mine["id"] != theirs["id"]
    shared = Workspace(user)
    body = {"name": "k", "scopes": ["analytics:read"]}
    personal = post(user, "/auth/api-keys", body, key + "k").json()
    assert post(user, "/auth/api-keys", body, key + "k", **shared.header).json()["id"] != personal["id"]
    program = stack.new_client(make_key(user, ["admin"])["key"])
    assert post(program, "/auth/api-keys", body, key + "k").json()["id"] != personal["id"]


@pytest.mark.parametrize("wrong", ["", '""', "a b", 'a"b', "a\\b", "x" * 256, "ü"])
def test_keys_that_are_none(user, wrong):
    answer = user.post("/workspaces", {"name": "One"}, headers={"Idempotency-Key": wrong.encode()})
    if wrong:
        assert_problem(answer, 400)
        assert made(user) == 0


def test_the_longest_key(user):
    assert post(user, "/workspaces", {"name": "One"}, "x" * 255).status == 201


def test_it_is_kept_for_a_day(make_stack):
    stack = make_stack()
    user = stack.new_user()
    first = post(user, "/workspaces", {"name": "One"}, "k").json()
    stack.postgres.query("UPDATE idempotency SET created_at = now() - interval '25 hours'")
    second = post(user, "/workspaces", {"name": "One"}, "k").json()
    assert first["id"] != second["id"]
    stack.postgres.query("UPDATE idempotency SET created_at = now() - interval '25 hours'")
    stack.auth.signal(1)  # new workers prune at once
    wait_for(lambda: stack.postgres.value("SELECT count(*) FROM idempotency") == 0, 30, "pruning")


def test_other_routes_do_not_look_at_it(user, key):
    assert user.get("/users/me", headers={"Idempotency-Key": "a b"}).status == 200
    event = {"type": "x", "value": 1, "user_id": "u"}
    assert [user.post("/analytics/events", event, headers={"Idempotency-Key": key}).status for _ in range(2)] == [201, 201]
