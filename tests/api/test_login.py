# SPDX-License-Identifier: Apache-2.0
"""POST /auth/login"""
import concurrent.futures
import json

import pytest

from env import tokens
from env.problems import assert_invalid, assert_problem


def login(stack, email, password, path="/auth/login"):
    return stack.client.post(path, {"email": email, "password": password})


def test_same_shape_as_register(stack):
    user = stack.new_user(username="ada", full_name="Ada")
    answer = login(stack, user.email, user.password)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "refresh_token", "refresh_token_expires_in",
                         "user"}
    assert body["token_type"] == "bearer" and body["expires_in"] == 900
    assert body["user"] == user.account
    assert stack.client.get("/auth/verify", token=body["access_token"]).json()["id"] == user.id


def test_each_login_is_a_session_of_its_own(user):
    assert user.login().token != user.token
    assert user.get("/auth/verify").status == 200


def test_below_the_prefix_too(stack, user):
    assert login(stack, user.email, user.password, "/api/v1/auth/login").status == 200


@pytest.mark.parametrize("change", [str.upper, str.title])
def test_address_in_any_case(stack, user, change):
    assert login(stack, change(user.email), user.password).json()["user"]["id"] == user.id


def words(answer):
    problem = assert_problem(answer, 401)
    del problem["request_id"]
    return problem


def test_wrong_password_and_unknown_address_have_the_same_words(stack, user):
    wrong = login(stack, user.email, user.password + "x")
    unknown = login(stack, f"{stack.unique('nobody')}@example.org", user.password)
    assert words(wrong) == words(unknown)
    changing = {"Date", "X-Request-ID", "traceparent"}
    assert {k: v for k, v in wrong.headers.items() if k not in changing} == {
        k: v for k, v in unknown.headers.items() if k not in changing}
    assert user.email not in wrong.text


@pytest.mark.parametrize("attempt", [
    lambda password: password[:-1], lambda password: password.upper(), lambda password: password + " ",
    lambda password: " " + password, lambda password: "x", lambda password: "x" * 1024,
])
def test_other_passwords_are_wrong(stack, user, attempt):
    assert_problem(login(stack, user.email, attempt(user.password)), 401)


def test_nothing_counts_past_72_bytes_by_accident(stack):
    """bcrypt itself would ignore what follows, and find the longer one equal."""
    user = stack.new_user(password="p" * 72)
    assert login(stack, user.email, "p" * 72).status == 200
    assert_problem(login(stack, user.email, "p" * 73), 401)
    assert_problem(login(stack, user.email, "p" * 71), 401)


def test_address_that_is_none_is_just_unknown(stack, user):
    assert words(login(stack, "not an address", "long enough")) == words(login(stack, user.email, "long enough"))


def test_inactive_account_has_the_same_words(stack, user):
    stack.postgres.query("UPDATE users SET is_active = false WHERE id = %s", user.id)
    assert words(login(stack, user.email, user.password)) == words(login(stack, "nobody@example.org", "12345678"))
    assert_problem(user.get("/auth/verify"), 401)


def test_deleted_account_has_the_same_words(stack, user):
    assert user.delete(f"/auth/users/{user.id}").status == 204
    assert words(login(stack, user.email, user.password)) == words(login(stack, "nobody@example.org", "12345678"))


@pytest.mark.parametrize("body, wrong", [
    ({}, {"email": "required", "password": "required"}),
    ({"email": "a@b.c"}, {"password": "required"}),
    ({"email": None, "password": None}, {"email": "type", "password": "type"}),
    ({"email": 1, "password": []}, {"email": "type", "password": "type"}),
    ({"email": "", "password": ""}, {"email": "too_short", "password": "too_short"}),
    ({"email": "a" * 254, "password": "x" * 1025}, {"password": "too_long"}),
    ({"email": "a" * 255, "password": "x" * 1024}, {"email": "too_long"}),
    ({"email": "a\0@b.c", "password": "x\0"}, {"email": "nul_character", "password": "nul_character"}),
    ({"email": "a@b.c", "password": "x", "remember": True}, {"remember": "unknown_field"}),
])
def test_wrong_fields(client, body, wrong):
    assert_invalid(client.post("/auth/login", body), **wrong)


@pytest.mark.parametrize("size, status", [(16 * 1024, 401), (16 * 1024 + 1, 413)])
def test_body_size(client, size, status):
    text = json.dumps({"email": "nobody@example.org", "password": "long enough"})
    assert_problem(client.post("/auth/login", data=text.ljust(size)), status)


@pytest.mark.parametrize("injection", ["' OR 1=1 --", "a@b.c'; DROP TABLE users; --", "%", "_%@%", "\\", "{}", "$1"])
def test_sql_in_the_address_is_text(stack, injection):
    assert_problem(login(stack, injection, "long enough"), 401)


def test_user_agent_of_any_bytes(stack, user):
    body = json.dumps({"email": user.email, "password": user.password}).encode()
    agent = b"\xff\xfe odd \x80".decode("utf-8", "surrogateescape")
    answer = stack.raw("POST", "/auth/login", {"Content-Type": "application/json", "User-Agent": agent}, body)
    assert answer.status == 200, answer


def stored_cost(stack, user):
    return stack.postgres.value("SELECT substr(password_hash, 1, 7) FROM users WHERE id = %s", user.id)


def test_rehash_when_the_cost_was_raised(make_stack):
    stack = make_stack(bcrypt_cost=4)
    user, absent = stack.new_user(), stack.new_user()
    assert stored_cost(stack, user) == "$2b$04$"
    stack.down()
    stack.up(bcrypt_cost=6)
    assert_problem(login(stack, user.email, "wrong password"), 401)
    assert stored_cost(stack, user) == "$2b$04$"
    user.login()
    assert stored_cost(stack, user) == "$2b$06$"
    assert stored_cost(stack, absent) == "$2b$04$"
    user.login()
    stack.down()
    stack.up(bcrypt_cost=5)
    user.login()
    assert stored_cost(stack, user) == "$2b$06$", "a lowered cost must weaken nobody"


def test_two_logins_that_both_store_a_stronger_hash(make_stack):
    stack = make_stack(bcrypt_cost=4)
    user = stack.new_user()
    stack.down()
    stack.up(bcrypt_cost=6)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        with stack.postgres.held("SELECT FROM users WHERE id = %s FOR UPDATE", user.id, until=2):
            answers = [pool.submit(login, stack, user.email, user.password) for _ in range(2)]
        assert [answer.result().status for answer in answers] == [200, 200]
    assert stored_cost(stack, user) == "$2b$06$"


def test_a_login_makes_a_session_of_its_own(stack, user):
    """Whatever a client brings along: nobody is given a session that another knows (session fixation)."""
    brought = user.login()
    with_token = stack.client.post("/auth/login", {"email": user.email, "password": user.password}, token=brought.token,
                                   headers={"Cookie": f"session={sid(brought.token)}", "X-Session-ID": sid(brought.token)})
    assert with_token.status == 200
    assert sid(with_token.json()["access_token"]) not in (sid(brought.token), sid(user.token))
    for name in ("session_id", "sid", "refresh_token"):
        answer = stack.client.post("/auth/login", {"email": user.email, "password": user.password, name: sid(brought.token)})
        assert_invalid(answer, **{name: "unknown_field"})


def sid(token):
    return tokens.claims_of(token)["sid"]
