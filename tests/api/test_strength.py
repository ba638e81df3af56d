# SPDX-License-Identifier: Apache-2.0
"""How hard passwords are to guess, and which are taken."""
import pytest

from env.problems import assert_invalid


@pytest.fixture(scope="module")
def stack(make_stack):
    return make_stack(password_min_score=2)


def judge(client, password, **account):
    answer = client.post("/auth/password/strength", {"password": password, **account})
    assert answer.status == 200, answer
    return answer.json()


@pytest.mark.parametrize("password, reasons", [
    ("password", {"common"}), ("P@ssw0rd", {"common"}), ("12345678", {"common"}), ("qwertyuiop", {"common"}),
    ("zxcvfdsa", {"keyboard"}), ("abcdefgh", {"sequence"}), ("aaaaaaaa", {"repeats"}), ("19901231", {"date"}),
    ("short", {"length", "common"}),
])
def test_easy_ones(client, password, reasons):
    told = judge(client, password)
    assert told["accepted"] is False
    assert told["score"] < 2
    assert reasons <= set(told["reasons"]), told


@pytest.mark.parametrize("password", ["correct horse battery staple", "tIg%9v.Kq2", "пароль не простой", "x" * 3 + "Wq8#rT5z"])
def test_hard_ones(client, password):
    told = judge(client, password)
    assert told["accepted"] is True and told["score"] >= 2, told


def test_what_is_like_the_account(client):
    account = {"email": "Augusta.King@lovelace.example", "username": "countess", "full_name": "Ada Byron"}
    for password in ("augustaking", "KingLovelace", "countess1", "byronbyron", "Lovelace1!"):
        told = judge(client, password, **account)
        assert told["accepted"] is False and "account" in told["reasons"], (password, told)


def test_too_long_ones_are_told(client):
    told = judge(client, "correct horse battery staple " * 3)
    assert told["accepted"] is False and "length" in told["reasons"]
    judge(client, "ü" * 1024)
    assert_invalid(client.post("/auth/password/strength", {"password": "x" * 1025}), password="too_long")


def test_it_is_work_for_the_hashing_pool(stack):
    """The worst texts keep zxcvbn busy for long, and must hold up nothing else."""
    answer = stack.client.post("/auth/password/strength", {"password": "12" * 36})
    assert answer.json()["accepted"] is False
    assert stack.auth.log_of(answer.headers["X-Request-ID"])["route"] == "/auth/password/strength"


def test_where_a_password_is_set(stack, user):
    body = {"email": f"{stack.unique('weak')}@example.org", "password": "password1"}
    problem = assert_invalid(stack.client.post("/auth/register", body), password="too_weak")
    assert "common" in problem["errors"][0]["message"] and "password1" not in problem["detail"]
    word = body["email"].partition("@")[0]
    assert_invalid(stack.client.post("/auth/register", {**body, "password": word}), password="too_weak")
    change = {"password": "password1", "current_password": user.password}
    for method, path in (("PUT", "/auth/profile"), ("PATCH", "/users/me")):
        assert_invalid(user.request(method, path, change), password="too_weak")
    # It is compared with the names that come with it, too.
    assert_invalid(user.put("/auth/profile", {**change, "password": "mynewname", "full_name": "mynewname"}), password="too_weak")


def test_the_bar_is_a_setting(make_stack):
    stack = make_stack(password_min_score=0)
    assert judge(stack.client, "password")["accepted"] is True
    assert stack.new_user(password="password").token
