# SPDX-License-Identifier: Apache-2.0
"""Accounts as administrators, services and their owners see them."""
import concurrent.futures

import pytest

from env.oauth import Service
from env.problems import assert_invalid, assert_problem
from env.wait import wait_for

KEYS = {"id", "email", "username", "full_name", "role", "is_active", "email_verified", "mfa_enabled", "created_at",
        "updated_at"}


@pytest.fixture
def admin(stack):
    somebody = stack.new_user()
    assert stack.ctl("user", "role", somebody.email, "admin").returncode == 0
    return somebody


def listed(admin, **params):
    answer = admin.get("/users", params=params)
    assert answer.status == 200, answer
    return answer.json()


def test_oneself(user):
    answer = user.get("/users/me")
    assert answer.status == 200, answer
    me = answer.json()
    assert set(me) == KEYS
    assert (me["id"], me["email"], me["role"], me["is_active"]) == (user.id, user.email, "user", True)
    assert (me["email_verified"], me["mfa_enabled"]) == (False, False)
    assert user.get(f"/users/{user.id}").json() == me
    changed = user.request("PATCH", "/users/me", {"full_name": "Ada L.", "username": "ada"})
    assert changed.status == 200, changed
    assert (changed.json()["full_name"], changed.json()["username"]) == ("Ada L.", "ada")
    assert_invalid(user.request("PATCH", "/users/me", {"role": "admin"}), role="unknown_field")
    assert_problem(user.request("PATCH", "/users/me", {}), 422)
    assert user.get("/users/me").json()["role"] == "user"


def test_the_former_path_is_no_redirect_any_more(stack, user):
    assert_problem(stack.client.get(f"/users/{user.id}"), 401)
    other = user.login()
    assert other.delete(f"/users/{user.id}").status == 204
    wait_for(lambda: user.get("/auth/verify").status == 401, 1, "the end of the sessions")


def test_others_are_for_administrators_and_services(stack, user, admin):
    other = stack.new_user()
    for answer in (user.get("/users"), user.get(f"/users/{other.id}"), user.get("/users/999999999"),
                   user.request("PATCH", f"/users/{other.id}", {"role": "admin"}), user.delete(f"/users/{other.id}"),
                   user.request("PATCH", f"/users/{user.id}", {"role": "admin"}), user.delete(f"/users/{other.id}/mfa"),
                   user.get("/admin/audit")):
        assert_problem(answer, 403)
    assert admin.get(f"/users/{other.id}").json()["email"] == other.email
    assert_problem(admin.get("/users/999999999"), 404)
    service = Service(stack)
    token = service.token()
    assert stack.client.get(f"/users/{other.id}", token=token).json()["email"] == other.email
    assert stack.client.get(f"/users/{other.id}", headers={"X-Service-Token": token}).status == 200
    assert_problem(stack.client.get("/users", token=token), 403)
    assert_problem(stack.client.request("PATCH", f"/users/{other.id}", {"role": "admin"}, token=token), 403)
    service.remove()


def test_the_list(stack, admin):
    word = stack.unique("word")
    people = [stack.new_user(email=f"{word}-{n}@example.org", full_name=f"Name 100%_{n}") for n in range(5)]
    everybody = []
    cursor = None
    while True:
        page = listed(admin, search=word.upper(), limit=2, **({"cursor": cursor} if cursor else {}))
        assert len(page["items"]) <= 2
        everybody += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [item["id"] for item in everybody] == [person.id for person in people]
    assert all(set(item) == KEYS for item in everybody)
    # What stands for others in a pattern is a character like any other.
    assert [item["id"] for item in listed(admin, search=f"{word}-1@example.org")["items"]] == [people[1].id]
    assert people[3].id in [item["id"] for item in listed(admin, search="name 100%_3", limit=1000)["items"]]
    for nothing in (f"{word}%", f"{word}_", f"{word}\\", f"'{word}"):
        assert not listed(admin, search=nothing)["items"], nothing
    assert admin.id in [item["id"] for item in listed(admin, role="admin", search=admin.email)["items"]]
    assert not listed(admin, role="user", search=admin.email)["items"]
    admin.request("PATCH", f"/users/{people[0].id}", {"is_active": False})
    assert [item["id"] for item in listed(admin, search=word, is_active="false")["items"]] == [people[0].id]


@pytest.mark.parametrize("query, wrong", [
    ({"limit": "0"}, {"limit": "out_of_range"}), ({"limit": "1001"}, {"limit": "out_of_range"}),
    ({"cursor": "x"}, {"cursor": "type"}), ({"cursor": "-1"}, {"cursor": "out_of_range"}),
    ({"role": "owner"}, {"role": "format"}), ({"is_active": "maybe"}, {"is_active": "format"}),
    ({"search": ""}, {"search": "too_short"}), ({"search": "x" * 255}, {"search": "too_long"}),
    ({"page": "1"}, {"page": "unknown_field"}),
])
def test_what_is_wrong_with_a_list(admin, query, wrong):
    assert_invalid(admin.get("/users", params=query), **wrong)


def test_the_search_finds_by_an_index(stack):
    plan = "\n".join(line for line, in stack.postgres.query(
        "SET enable_seqscan = off; EXPLAIN SELECT id FROM users u WHERE user_search(u.email, u.username, u.full_name) LIKE '%lovelace%'"))
    assert "users_search" in plan


def test_a_deactivated_account_is_out_at_once(stack, user, admin):
    second = user.login()
    answer = admin.request("PATCH", f"/users/{user.id}", {"is_active": False})
    assert answer.status == 200 and answer.json()["is_active"] is False
    wait_for(lambda: user.get("/analytics/metrics").status == 401 and second.get("/auth/verify").status == 401, 1,
             "the end of the sessions")
    assert_problem(stack.client.post("/auth/login", {"email": user.email, "password": user.password}), 401)
    assert admin.request("PATCH", f"/users/{user.id}", {"is_active": True}).status == 200
    assert user.get("/auth/verify").status == 401  # what ended stays ended
    assert user.login().get("/auth/verify").status == 200


def test_roles_count_at_once(stack, user, admin):
    assert admin.request("PATCH", f"/users/{user.id}", {"role": "admin"}).json()["role"] == "admin"
    assert user.get("/users").status == 200
    # Of each other, but not of oneself: somebody is always left.
    for body in ({"role": "user"}, {"is_active": False}):
        assert_problem(admin.request("PATCH", f"/users/{admin.id}", body), 409)
    assert admin.request("PATCH", f"/users/{admin.id}", {"full_name": "Root"}).status == 200
    assert user.request("PATCH", f"/users/{admin.id}", {"role": "user"}).status == 200
    assert_problem(admin.get("/users"), 403)


def alone(stack, *admins):
    """Nobody else may administer."""
    stack.postgres.query("UPDATE users SET role = 'user' WHERE NOT id = ANY(%s)", [admin.id for admin in admins])


def test_the_last_administrator_stays(stack, user, admin):
    alone(stack, admin)
    assert admin.request("PATCH", f"/users/{admin.id}", {"username": "root"}).json()["username"] == "root"
    answer = admin.delete(f"/users/{admin.id}")
    assert_problem(answer, 409)
    assert "last administrator" in answer.json()["detail"]
    assert admin.request("PATCH", f"/users/{user.id}", {"role": "admin"}).status == 200
    assert admin.request("PATCH", f"/users/{user.id}", {"is_active": False}).status == 200
    assert_problem(admin.delete(f"/users/{admin.id}"), 409)  # the other one cannot log in
    assert admin.request("PATCH", f"/users/{user.id}", {"is_active": True}).status == 200
    assert admin.delete(f"/users/{admin.id}").status == 204


@pytest.mark.parametrize("way", ["role", "is_active", "delete"])
def test_two_administrators_against_each_other(stack, admin, way):
    other = stack.new_user()
    assert admin.request("PATCH", f"/users/{other.id}", {"role": "admin"}).status == 200
    alone(stack, admin, other)

    def remove(pair):
        who, whom = pair
        if way == "delete":
            return who.delete(f"/users/{whom.id}").status
        return who.request("PATCH", f"/users/{whom.id}", {way: {"role": "user", "is_active": False}[way]}).status

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        with stack.postgres.held("SELECT FROM users WHERE id = ANY(%s) FOR UPDATE", [admin.id, other.id], until=2):
            answers = [pool.submit(remove, pair) for pair in ((admin, other), (other, admin))]
        assert sorted(answer.result() for answer in answers) in ([200, 409], [204, 409])
    assert stack.postgres.value("SELECT count(*) FROM users WHERE role = 'admin' AND is_active") == 1


@pytest.mark.parametrize("body, wrong", [
    ({"role": "owner"}, {"role": "format"}), ({"role": 1}, {"role": "type"}), ({"is_active": 1}, {"is_active": "type"}),
    ({"is_active": "true"}, {"is_active": "type"}), ({"is_active": None}, {"is_active": "type"}),
    ({"email": "x@example.org"}, {"email": "unknown_field"}), ({"username": "x" * 65}, {"username": "too_long"}),
    ({"full_name": "a\nb"}, {"full_name": "control_character"}),
])
def test_what_is_wrong_with_a_change(user, admin, body, wrong):
    assert_invalid(admin.request("PATCH", f"/users/{user.id}", body), **wrong)


def test_changes_are_audited(stack, user, admin):
    admin.request("PATCH", f"/users/{user.id}", {"role": "admin", "full_name": "New"})
    admin.request("PATCH", f"/users/{user.id}", {})
    admin.delete(f"/users/{user.id}")
    entries = admin.get("/admin/audit", params={"subject": f"user:{user.id}"}).json()["items"]
    assert [entry["action"] for entry in entries] == ["user.deleted", "user.changed", "user.registered"]
    deleted, changed, registered = entries
    assert deleted["actor_id"] == changed["actor_id"] == admin.id
    assert registered["actor_id"] is None
    assert changed["detail"]["before"]["role"] == "user" and changed["detail"]["after"]["role"] == "admin"
    assert changed["detail"]["after"]["full_name"] == "New"
    assert changed["address"] == "127.0.0.1" and changed["request_id"]
    assert deleted["detail"] == {"email": user.email}
