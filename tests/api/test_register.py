# SPDX-License-Identifier: Apache-2.0
"""POST /auth/register"""
import concurrent.futures
import json
import re

import pytest

from env.problems import assert_invalid, assert_problem

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$")


def address(stack):
    return f"{stack.unique('reg')}@example.org"


def register(stack, path="/auth/register", **fields):
    fields = {"email": address(stack), "password": "long enough", **fields}
    return stack.client.post(path, {name: value for name, value in fields.items() if value is not ...})


def test_answer(stack):
    email = address(stack)
    answer = register(stack, email=email, username="ada", full_name="Ada Lovelace")
    assert answer.status == 201
    assert answer.media_type == "application/json"
    body = answer.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "refresh_token", "refresh_token_expires_in",
                         "user"}
    assert body["token_type"] == "bearer"
    assert body["expires_in"] == 900
    person = body["user"]
    assert set(person) == {"id", "email", "username", "full_name", "created_at", "updated_at"}
    assert isinstance(person["id"], int) and person["id"] > 0
    assert (person["email"], person["username"], person["full_name"]) == (email, "ada", "Ada Lovelace")
    assert TIME.match(person["created_at"])
    assert person["updated_at"] == person["created_at"]
    verified = stack.client.get("/auth/verify", token=body["access_token"])
    assert verified.json() == {"id": person["id"], "email": email, "created_at": person["created_at"]}


@pytest.mark.parametrize("absent", [..., None])
def test_names_are_optional(stack, absent):
    person = register(stack, username=absent, full_name=absent).json()["user"]
    assert person["username"] is None and person["full_name"] is None


def test_below_the_prefix_too(stack):
    assert register(stack, path="/api/v1/auth/register").status == 201


def test_token_is_not_stored_by_caches(stack):
    assert register(stack).headers["Cache-Control"] == "no-store"


def test_password_is_kept_as_bcrypt_of_the_cost_in_the_settings(stack):
    user = stack.new_user()
    stored = stack.postgres.value("SELECT password_hash FROM users WHERE id = %s", user.id)
    assert re.match(r"^\$2b\$04\$[./A-Za-z0-9]{53}$", stored)


def test_makes_a_personal_workspace(stack):
    user = stack.new_user()
    rows = stack.postgres.query(
        "SELECT m.role, w.personal, w.closed_at FROM memberships m JOIN workspaces w ON w.id = m.workspace_id "
        "WHERE m.user_id = %s", user.id)
    assert rows == [("owner", True, None)]


@pytest.mark.parametrize("change", [str, str.upper, str.title])
def test_address_taken_in_any_case(stack, change):
    user = stack.new_user()
    assert_problem(register(stack, email=change(user.email)), 409)


def test_address_keeps_its_spelling(stack):
    email = address(stack).replace("reg", "ReG")
    assert register(stack, email=email).json()["user"]["email"] == email


def test_of_many_at_once_one_gets_the_address(stack):
    email = address(stack)

    def attempt(_):
        client = stack.new_client()
        try:
            return client.post("/auth/register", {"email": email, "password": "long enough"}).status
        finally:
            client.close()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(attempt, range(8)))
    assert statuses == [201] + [409] * 7
    assert stack.postgres.value("SELECT count(*) FROM users WHERE email = %s::text::citext", email) == 1


def test_taken_address_makes_nothing(stack):
    user = stack.new_user()
    before = stack.postgres.value("SELECT count(*) FROM workspaces")
    assert_problem(register(stack, email=user.email), 409)
    assert stack.postgres.value("SELECT count(*) FROM workspaces") == before


# ---- fields ----

@pytest.mark.parametrize("password, code", [
    ("x" * 7, "format"), ("x" * 8, None), ("x" * 72, None), ("x" * 73, "format"), ("", "format"),
    ("é" * 3 + "x", "format"), ("é" * 4, None), ("é" * 36, None), ("é" * 36 + "x", "format"),
    ("nul\0within", "nul_character"), ("        ", None), ("tab\tand\nline", None), ("🔑🔑", None),
    (12345678, "type"), (None, "type"), (["x" * 8], "type"), (..., "required"),
])
def test_password_bounds_count_bytes(stack, password, code):
    answer = register(stack, password=password)
    if code is None:
        assert answer.status == 201, answer
        email = answer.json()["user"]["email"]
        assert stack.client.post("/auth/login", {"email": email, "password": password}).status == 200
    else:
        assert_invalid(answer, password=code)


def long_address(stack, length, local=20):
    """Of exactly this length, in labels that are not too long."""
    head = stack.unique("a")[-local:].strip("-").ljust(local, "x") + "@"
    rest = length - len(head)
    labels = []
    while rest > 64:
        labels.append("d" * 50)
        rest -= 51
    labels.append("e" * rest)
    email = head + ".".join(labels)
    assert len(email) == length
    return email


@pytest.mark.parametrize("length, good", [(254, True), (255, False)])
def test_address_length(stack, length, good):
    answer = register(stack, email=long_address(stack, length))
    if good:
        assert answer.status == 201, answer
    else:
        assert_invalid(answer, email="too_long")


@pytest.mark.parametrize("local, good", [(64, True), (65, False)])
def test_address_length_before_the_at(stack, local, good):
    answer = register(stack, email=long_address(stack, 120, local))
    if good:
        assert answer.status == 201, answer
    else:
        assert_invalid(answer, email="format")


@pytest.mark.parametrize("pattern", [
    "{}@localhost", "{}+tag@example.org", "a.{}@sub.example.co.uk", "{}!#$%&'*/=?^_`|~@example.org", "{}@1.2",
    "{}@xn--bcher-kva.example",
])
def test_good_addresses(stack, pattern):
    email = pattern.format(stack.unique("u"))
    answer = register(stack, email=email)
    assert answer.status == 201, answer
    assert answer.json()["user"]["email"] == email


@pytest.mark.parametrize("email", [
    "nobody", "@example.org", "a@b@c", "a b@example.org", "a@exa mple.org", "a@-example.org",
    "a@example-.org", "a@example..org", "a@.example.org", "a@example.org.", "a@example_.org", "bücher@example.org",
    "a@bücher.example", '"a"@example.org', "a@[127.0.0.1]", "a@example.org\n", "\ta@example.org", "a@" + "x" * 64,
    "a@example.org,b@example.org", "<a@example.org>",
])
def test_bad_addresses(stack, email):
    assert_invalid(register(stack, email=email), email="format")


@pytest.mark.parametrize("email, code", [
    ("", "too_short"), ("a@", "too_short"), (None, "type"), (5, "type"), (..., "required"), ({}, "type"),
    ("a\0b@example.org", "nul_character"),
])
def test_addresses_that_are_none(stack, email, code):
    assert_invalid(register(stack, email=email), email=code)


@pytest.mark.parametrize("field, most", [("username", 64), ("full_name", 200)])
@pytest.mark.parametrize("character", ["x", "é", "🙂"])
def test_name_bounds_count_characters(stack, field, most, character):
    good = register(stack, **{field: character * most})
    assert good.status == 201, good
    assert good.json()["user"][field] == character * most
    assert_invalid(register(stack, **{field: character * (most + 1)}), **{field: "too_long"})


@pytest.mark.parametrize("field", ["username", "full_name"])
@pytest.mark.parametrize("value, code", [
    ("", "too_short"), (1, "type"), (True, "type"), ("a\nb", "control_character"), ("a\x7fb", "control_character"),
    ("a\x1bb", "control_character"), ("a\0b", "nul_character"),
])
def test_names_that_are_none(stack, field, value, code):
    assert_invalid(register(stack, **{field: value}), **{field: code})


def test_unicode_names_come_back_as_sent(stack):
    name = "Ада 李 \u200d🧑‍🚀 \"quoted\" \\ </script> '; DROP TABLE users; --"
    assert register(stack, full_name=name).json()["user"]["full_name"] == name


def test_all_wrong_fields_at_once(stack):
    answer = stack.client.post("/auth/register", {"email": "x", "username": 1, "full_name": "", "role": "admin"})
    assert_invalid(answer, email="too_short", password="required", username="type", full_name="too_short",
                   role="unknown_field")


@pytest.mark.parametrize("field, value", [("role", "admin"), ("id", 1), ("is_active", True), ("Email", "a@b.c")])
def test_unknown_fields(stack, field, value):
    assert_invalid(register(stack, **{field: value}), **{field: "unknown_field"})


@pytest.mark.parametrize("body", ["[]", "null", '"text"', "1", "true"])
def test_body_that_is_no_object(client, body):
    assert_invalid(client.post("/auth/register", data=body), body="type")


def test_problem_never_repeats_the_password(stack):
    password = "s3cret-" + "x" * 80
    assert password not in register(stack, password=password, email="nobody").text


@pytest.mark.parametrize("size, good", [(16 * 1024, True), (16 * 1024 + 1, False)])
def test_body_size(stack, size, good):
    text = json.dumps({"email": address(stack), "password": "long enough"})
    answer = stack.client.post("/auth/register", data=text.ljust(size))
    if good:
        assert answer.status == 201, answer
    else:
        assert_problem(answer, 413)
