# SPDX-License-Identifier: Apache-2.0
"""GET and PUT /auth/profile"""
import json

import pytest

from env.problems import assert_invalid, assert_problem
from env.wait import wait_for

PROFILE = {"id", "email", "username", "full_name", "created_at", "updated_at"}


@pytest.fixture(scope="module")
def lenient(make_stack):
    """Where a new password or address needs no current_password."""
    return make_stack(profile_requires_password="no")


def test_get(stack):
    user = stack.new_user(username="ada", full_name="Ada Lovelace")
    answer = user.get("/auth/profile")
    assert answer.status == 200
    assert answer.json() == user.account
    assert set(answer.json()) == PROFILE
    assert answer.headers["Cache-Control"] == "no-store"
    assert user.get("/api/v1/auth/profile").json() == user.account


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_needs_a_token(client, method):
    body = {"username": "x"} if method == "PUT" else None
    assert_problem(client.request(method, "/auth/profile", body), 401)


@pytest.mark.parametrize("query", ["?x=1", "?id=1", "?email=a@b.c"])
def test_query_is_no_way_to_another(user, other, query):
    assert user.get("/auth/profile" + query).json()["id"] == user.id


@pytest.mark.parametrize("field, value", [
    ("username", "new"), ("full_name", "New Name"), ("username", "u" * 64), ("full_name", "ü" * 200),
])
def test_names_change_without_password(stack, field, value):
    user = stack.new_user(username="old", full_name="Old")
    answer = user.put("/auth/profile", {field: value})
    assert answer.status == 200, answer
    body = answer.json()
    assert set(body) == PROFILE
    assert body == {**user.account, field: value, "updated_at": body["updated_at"]}
    assert body["updated_at"] > user.account["updated_at"]
    assert user.get("/auth/profile").json() == body


@pytest.mark.parametrize("field", ["username", "full_name"])
def test_null_unsets_a_name_and_absence_keeps_it(stack, field):
    user = stack.new_user(username="old", full_name="Old")
    body = user.put("/auth/profile", {field: None}).json()
    kept = {"username": "old", "full_name": "Old"}
    kept[field] = None
    assert {name: body[name] for name in kept} == kept


def test_all_at_once(stack, user):
    email = f"{stack.unique('all')}@example.org"
    body = {"email": email, "password": "another one", "username": "u", "full_name": "F",
        "current_password": user.password}
    answer = user.put("/auth/profile", body)
    assert answer.status == 200, answer
    assert {k: answer.json()[k] for k in ("email", "username", "full_name")} == {
        "email": email, "username": "u", "full_name": "F"}
    assert stack.client.post("/auth/login", {"email": email, "password": "another one"}).status == 200
    assert_problem(stack.client.post("/auth/login", {"email": user.email, "password": "another one"}), 401)
    assert_problem(stack.client.post("/auth/login", {"email": email, "password": user.password}), 401)


# ---- current_password ----

@pytest.mark.parametrize("change", [{"password": "a new one"}, {"email": "new@example.org"}])
def test_current_password_is_needed(user, change):
    assert_invalid(user.put("/auth/profile", change), current_password="required")
    assert user.get("/auth/profile").json() == user.account


@pytest.mark.parametrize("change", [{"password": "a new one"}, {"email": "new@example.org"}])
@pytest.mark.parametrize("given", ["wrong password", "x", "y" * 73, "z" * 1024])
def test_current_password_must_be_right(user, change, given):
    problem = assert_problem(user.put("/auth/profile", {**change, "current_password": given}), 403)
    assert [error["field"] for error in problem["errors"]] == ["current_password"]
    assert user.get("/auth/profile").json() == user.account
    user.login()


def test_current_password_past_72_bytes_is_wrong(stack):
    user = stack.new_user(password="p" * 72)
    body = {"password": "a new one", "current_password": "p" * 73}
    assert_problem(user.put("/auth/profile", body), 403)


@pytest.mark.parametrize("change, field", [({"password": "a new one"}, "password"), ({"email": None}, "email")])
def test_the_setting_off_needs_none(lenient, change, field):
    user = lenient.new_user()
    if field == "email":
        change = {"email": f"{lenient.unique('new')}@example.org"}
    answer = user.put("/auth/profile", change)
    assert answer.status == 200, answer
    body = {"email": change.get("email", user.email), "password": change.get("password", user.password)}
    assert lenient.client.post("/auth/login", body).status == 200


# ---- address ----

@pytest.mark.parametrize("change", [str, str.upper])
def test_address_of_another(user, other, change):
    body = {"email": change(other.email), "username": "x", "current_password": user.password}
    assert_problem(user.put("/auth/profile", body), 409)
    assert user.get("/auth/profile").json() == user.account


def test_own_address_in_another_case(user):
    answer = user.put("/auth/profile", {"email": user.email.upper(), "current_password": user.password})
    assert answer.status == 200, answer
    assert answer.json()["email"] == user.email.upper()


def test_address_is_free_again_after_a_change(stack, user):
    answer = user.put("/auth/profile", {"email": f"{stack.unique('b')}@example.org", "current_password": user.password})
    assert answer.status == 200, answer
    assert stack.new_user(email=user.email).id != user.id


# ---- sessions ----

@pytest.mark.parametrize("what", ["password", "email"])
def test_a_sensitive_change_ends_the_other_sessions(stack, user, what):
    others = [user.login(), user.login()]
    value = "brand new one" if what == "password" else f"{stack.unique('n')}@example.org"
    assert user.put("/auth/profile", {what: value, "current_password": user.password}).status == 200
    for other in others:
        # The database is asked here, so at once; elsewhere within a second.
        assert_problem(other.get("/auth/verify"), 401)
        for method, path, body in [("GET", "/auth/profile", None), ("GET", "/analytics/metrics", None),
                                   ("PUT", "/auth/profile", {"username": "x"}),
                                   ("POST", "/analytics/events", {"type": "x", "value": 1, "user_id": "u"})]:
            wait_for(lambda: other.request(method, path, body).status == 401, 1, f"401 from {method} {path}", 0.05)
    assert user.get("/auth/verify").status == 200
    assert user.get("/analytics/metrics").status == 200


def test_a_name_ends_no_session(user):
    other = user.login()
    assert user.put("/auth/profile", {"username": "new"}).status == 200
    assert other.get("/auth/verify").status == 200


def test_new_password_is_the_only_one(stack, user):
    answer = user.put("/auth/profile", {"password": "brand new one", "current_password": user.password})
    assert answer.status == 200
    assert "password" not in answer.text
    assert_problem(stack.client.post("/auth/login", {"email": user.email, "password": user.password}), 401)
    assert user.login("brand new one").id == user.id


# ---- fields ----

@pytest.mark.parametrize("body, wrong", [
    ({"email": "nobody"}, {"email": "format"}),
    ({"email": None}, {"email": "type"}),
    ({"email": "a@" + "x" * 253}, {"email": "too_long"}),
    ({"password": "x" * 7}, {"password": "format"}),
    ({"password": "x" * 73}, {"password": "format"}),
    ({"password": None}, {"password": "type"}),
    ({"password": "nul\0within"}, {"password": "nul_character"}),
    ({"username": ""}, {"username": "too_short"}),
    ({"username": "x" * 65}, {"username": "too_long"}),
    ({"username": "a\tb"}, {"username": "control_character"}),
    ({"full_name": "x" * 201}, {"full_name": "too_long"}),
    ({"full_name": 5}, {"full_name": "type"}),
    ({"username": "x", "current_password": ""}, {"current_password": "too_short"}),
    ({"username": "x", "current_password": "x" * 1025}, {"current_password": "too_long"}),
    ({"username": "x", "id": 1}, {"id": "unknown_field"}),
    ({"username": "x", "role": "admin"}, {"role": "unknown_field"}),
    ({"email": 1, "password": 1, "username": 1, "full_name": 1},
     {"email": "type", "password": "type", "username": "type", "full_name": "type"}),
])
def test_wrong_fields(user, body, wrong):
    assert_invalid(user.put("/auth/profile", body), **wrong)
    assert user.get("/auth/profile").json() == user.account


@pytest.mark.parametrize("body", [{}, {"current_password": "something"}])
def test_nothing_to_change(user, body):
    assert_problem(user.put("/auth/profile", body), 422)


@pytest.mark.parametrize("size, status", [(16 * 1024, 200), (16 * 1024 + 1, 413)])
def test_body_size(user, size, status):
    answer = user.put("/auth/profile", data=json.dumps({"username": "x"}).ljust(size))
    assert answer.status == status, answer


@pytest.mark.parametrize("password", ["x" * 8, "x" * 72, "é" * 36])
def test_password_bounds(user, password):
    answer = user.put("/auth/profile", {"password": password, "current_password": user.password})
    assert answer.status == 200, answer
    user.login(password)
