# SPDX-License-Identifier: Apache-2.0
"""Keys for programs."""
import datetime
import re
import string

import pytest

from env.oauth import Service
from env.problems import assert_invalid, assert_problem
from env.wait import wait_for
from env.workspaces import Workspace, make_key

EVENT = {"type": "x", "value": 1, "user_id": "u"}
KEYS = "/auth/api-keys"


def send(stack, key, headers=None):
    return stack.client.post("/analytics/events", EVENT, token=key, headers=headers)


def read(stack, key, headers=None):
    return stack.client.get("/analytics/metrics", token=key, headers=headers)


def test_a_key_and_its_life(stack, user):
    made = make_key(user, ["events:write", "analytics:read"])
    assert set(made) == {"id", "key", "name", "scopes", "created_at", "expires_at"}
    assert re.fullmatch(r"tg_live_[A-Za-z0-9_-]{48}", made["key"])
    assert send(stack, made["key"]).status == 201
    assert stack.client.post("/analytics/events", EVENT, headers={"X-API-Key": made["key"]}).status == 201
    assert read(stack, made["key"]).json()["total_metrics"] == 2
    assert user.get("/analytics/metrics").json()["total_metrics"] == 2
    [listed] = user.get(KEYS).json()["items"]
    assert set(listed) == {"id", "name", "prefix", "scopes", "user_id", "created_at", "expires_at", "last_used_at",
                           "per_second", "burst"}
    assert listed["prefix"] == made["key"][:14] and listed["user_id"] == user.id
    assert listed["last_used_at"] is not None
    assert made["key"] not in str(user.get(KEYS).json())
    assert user.delete(f"{KEYS}/{made['id']}").status == 204
    wait_for(lambda: send(stack, made["key"]).status == 401 and read(stack, made["key"]).status == 401, 1, "the end of the key")
    assert user.get(KEYS).json()["items"] == []
    assert_problem(user.delete(f"{KEYS}/{made['id']}"), 404)
    rows = stack.postgres.query("SELECT action, actor_id FROM audit_log WHERE subject = %s ORDER BY id", f"apikey:{made['id']}")
    assert rows == [("apikey.created", user.id), ("apikey.revoked", user.id)]


def test_a_new_key_is_good_at_once(stack, user):
    """On every worker: nobody has to hear of it before."""
    for _ in range(10):
        assert send(stack, make_key(user, ["events:write"])["key"]).status == 201


def test_scopes(stack, user):
    write, see = make_key(user, ["events:write"])["key"], make_key(user, ["analytics:read"])["key"]
    assert send(stack, write).status == 201 and read(stack, see).status == 200
    for refused in (read(stack, write), send(stack, see)):
        assert_problem(refused, 403)
        assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
    admin = make_key(user, ["admin"])["key"]
    assert send(stack, admin).status == 201 and read(stack, admin).status == 200
    assert stack.client.get(KEYS, token=admin).status == 200
    assert stack.client.get(f"/workspaces/{user.workspace}/members", token=admin).status == 200


def test_keys_by_a_key(stack, user):
    """Only with the scope admin, and none that lasts longer."""
    other = make_key(user, ["analytics:read"])
    for scope in ("analytics:read", "events:write"):
        key = make_key(user, [scope])["key"]
        for refused in (stack.client.post(KEYS, {"name": "x", "scopes": [scope]}, token=key),
                        stack.client.delete(f"{KEYS}/{other['id']}", token=key)):
            assert_problem(refused, 403)
    soon = "2099-01-01T00:00:00Z"
    parent = make_key(user, ["admin"], expires_at=soon)
    for asked, given in ((None, soon), ("2100-01-01T00:00:00Z", soon), ("2098-01-01T00:00:00Z", "2098-01-01T00:00:00Z")):
        child = stack.client.post(KEYS, {"name": "x", "scopes": ["admin"], "expires_at": asked}, token=parent["key"])
        assert child.status == 201 and child.json()["expires_at"][:19] == given[:19], child
    assert stack.client.delete(f"{KEYS}/{other['id']}", token=parent["key"]).status == 204


def test_a_key_is_not_a_person(stack, user):
    key = make_key(user, ["admin"])["key"]
    for method, path in (("GET", "/auth/verify"), ("GET", "/auth/profile"), ("GET", "/auth/sessions"), ("GET", "/users/me"),
                         ("GET", "/users"), ("GET", "/workspaces"), ("POST", "/auth/logout"), ("GET", "/admin/audit"),
                         ("DELETE", f"/users/{user.id}"), ("DELETE", f"/workspaces/{user.workspace}")):
        assert_problem(stack.client.request(method, path, token=key), 403)


@pytest.mark.parametrize("spoil", ["short", "long", "tag", "random", "prefix", "empty", "case"])
def test_keys_that_are_none(stack, user, spoil):
    key = make_key(user, ["events:write"])["key"]
    wrong = {
        "short": key[:-1], "long": key + "A", "tag": key[:-1] + ("A" if key[-1] != "A" else "B"),
        "random": key[:20] + ("A" if key[20] != "A" else "B") + key[21:], "prefix": "tg_test_" + key[8:], "empty": "tg_live_",
        "case": key.swapcase(),
    }[spoil]
    assert_problem(send(stack, wrong), 401)
    assert_problem(stack.client.post("/analytics/events", EVENT, headers={"X-API-Key": wrong}), 401)
    assert send(stack, key).status == 201


def test_what_was_never_made_asks_no_database(make_stack):
    stack = make_stack()
    user = stack.new_user()
    key = make_key(user, ["events:write"])["key"]
    assert send(stack, key).status == 201
    stack.postgres.stop()
    letters = string.ascii_letters
    assert_problem(send(stack, "tg_live_" + (letters * 2)[:48]), 401)
    stack.up()
    wait_for(lambda: send(stack, key).status == 201, 30, "healing")


def test_expiry(stack, user):
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)
    made = make_key(user, ["analytics:read"], expires_at=soon.isoformat())
    assert made["expires_at"] is not None
    assert read(stack, made["key"]).status == 200
    wait_for(lambda: read(stack, made["key"]).status == 401, 10, "the key's end")
    past = soon - datetime.timedelta(days=1)
    assert_invalid(user.post(KEYS, {"name": "x", "scopes": ["admin"], "expires_at": past.isoformat()}), expires_at="out_of_range")


@pytest.mark.parametrize("body, wrong", [
    ({}, {"name": "required", "scopes": "required"}), ({"name": "", "scopes": ["admin"]}, {"name": "too_short"}),
    ({"name": "x", "scopes": []}, {"scopes": "too_short"}), ({"name": "x", "scopes": ["admin"] * 4}, {"scopes": "too_long"}),
    ({"name": "x", "scopes": ["root"]}, {"scopes[0]": "unknown"}), ({"name": "x", "scopes": [1]}, {"scopes[0]": "unknown"}),
    ({"name": "x", "scopes": ["admin", "admin\0"]}, {"scopes[1]": "unknown"}),
    ({"name": "x", "scopes": "admin"}, {"scopes": "type"}), ({"name": "x", "scopes": ["admin"], "per_second": 0}, {"per_second": "out_of_range"}),
    ({"name": "x", "scopes": ["admin"], "burst": 1000001}, {"burst": "out_of_range"}),
    ({"name": "x", "scopes": ["admin"], "expires_at": "tomorrow"}, {"expires_at": "format"}),
])
def test_what_is_wrong_with_a_new_one(user, body, wrong):
    assert_invalid(user.post(KEYS, body), **wrong)


def test_a_key_does_no_more_than_who_made_it(stack, user):
    shared = Workspace(user)
    viewer = shared.add(stack.new_user(), "viewer")
    for scopes in (["events:write"], ["admin"], ["analytics:read", "events:write"]):
        assert_problem(viewer.post(KEYS, {"name": "x", "scopes": scopes}, headers=shared.header), 403)
    member = shared.add(stack.new_user(), "member")
    key = make_key(member, ["events:write"], headers=shared.header)["key"]
    assert send(stack, key).status == 201
    user.request("PATCH", f"{shared.path}/members/{member.id}", {"role": "viewer"})
    wait_for(lambda: send(stack, key).status == 403, 1, "the lesser role")
    user.request("PATCH", f"{shared.path}/members/{member.id}", {"role": "member"})
    wait_for(lambda: send(stack, key).status == 201, 1, "the role of before")
    user.delete(f"{shared.path}/members/{member.id}")
    wait_for(lambda: send(stack, key).status == 401, 1, "the end of the membership")
    # An admin's key makes no key that does more than itself.
    manager = make_key(user, ["admin"], headers=shared.header)["key"]
    answer = stack.client.post(KEYS, {"name": "x", "scopes": ["events:write"]}, token=manager)
    assert answer.status == 201 and send(stack, answer.json()["key"]).status == 201


def test_a_key_is_of_one_workspace(stack, user):
    shared = Workspace(user)
    key = make_key(user, ["events:write", "analytics:read"], headers=shared.header)["key"]
    for headers in (None, shared.header, {"X-Workspace": str(shared.id)}):
        assert send(stack, key, headers).status == 201
    for header in (str(user.workspace), "other", "0", shared.slug + "x"):
        assert_problem(send(stack, key, {"X-Workspace": header}), 403)
    assert read(stack, key).json()["total_metrics"] == 3
    assert user.get("/analytics/metrics").json()["total_metrics"] == 0
    admin = make_key(user, ["admin"], headers=shared.header)["key"]
    assert_problem(stack.client.get(f"/workspaces/{user.workspace}/members", token=admin), 404)


def test_whose_keys_one_sees(stack, user):
    shared = Workspace(user)
    member = shared.add(stack.new_user(), "member")
    own = make_key(member, ["events:write"], headers=shared.header)
    others = make_key(user, ["events:write"], headers=shared.header)
    assert [item["id"] for item in member.get(KEYS, headers=shared.header).json()["items"]] == [own["id"]]
    assert {item["id"] for item in user.get(KEYS, headers=shared.header).json()["items"]} == {own["id"], others["id"]}
    assert_problem(member.delete(f"{KEYS}/{others['id']}", headers=shared.header), 404)
    assert_problem(user.delete(f"{KEYS}/{own['id']}"), 404)  # of the personal workspace it is none
    assert user.delete(f"{KEYS}/{own['id']}", headers=shared.header).status == 204
    stranger = stack.new_user()
    assert_problem(stranger.delete(f"{KEYS}/{others['id']}"), 404)
    for id in ("x", "0190f5d2-1c3a-7b2e-8f00-000000000001"):
        assert_problem(user.delete(f"{KEYS}/{id}"), 404)


def test_keys_end_with_their_maker(stack, user):
    made = make_key(user, ["analytics:read"])["key"]
    assert read(stack, made).status == 200
    stack.postgres.query("UPDATE users SET is_active = false WHERE id = %s", user.id)
    wait_for(lambda: read(stack, made).status == 401, 1, "the end of the key")
    other = stack.new_user()
    made = make_key(other, ["events:write"])["key"]
    assert send(stack, made).status == 201
    assert other.delete(f"/users/{other.id}").status == 204
    wait_for(lambda: send(stack, made).status == 401, 1, "the end of the key")


def test_last_use_is_not_a_write_for_each_request(stack, user):
    made = make_key(user, ["events:write"])
    for _ in range(20):
        assert send(stack, made["key"]).status == 201
    first = stack.postgres.value("SELECT last_used_at FROM api_keys WHERE id = %s", made["id"])
    assert first is not None
    for _ in range(20):
        assert send(stack, made["key"]).status == 201
    assert stack.postgres.value("SELECT last_used_at FROM api_keys WHERE id = %s", made["id"]) == first


def test_no_key_is_stored_or_logged(stack, user):
    key = make_key(user, ["events:write"])["key"]
    send(stack, key)
    assert key not in str(stack.postgres.query("SELECT k::text, a::text FROM api_keys k, audit_log a"))
    for path in stack.log_files():
        assert key not in path.read_text(errors="replace"), path


def test_without_a_database(make_stack):
    """What is remembered serves for as long as the revocations are known; what is not says 503."""
    stack = make_stack()
    user = stack.new_user()
    known, unknown = make_key(user, ["analytics:read"])["key"], make_key(user, ["analytics:read"])["key"]
    assert read(stack, known).status == 200
    stack.postgres.stop()
    assert_problem(read(stack, unknown), 503)
    stack.up()
    wait_for(lambda: read(stack, unknown).status == 200, 30, "healing")


def test_other_means_side_by_side(stack, user):
    """The Authorization header is the one that counts."""
    key = make_key(user, ["events:write"])["key"]
    service = Service(stack)
    assert stack.client.get("/auth/verify", headers={"Authorization": f"Bearer {user.token}", "X-API-Key": "x"}).status == 200
    assert_problem(send(stack, "x", {"X-API-Key": key}), 401)
    assert_problem(stack.client.post("/analytics/events", EVENT, headers={"X-Service-Token": service.token()}), 401)
    service.remove()
