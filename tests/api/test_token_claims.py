# SPDX-License-Identifier: Apache-2.0
"""Correctly signed tokens with wrong claims: each claim is checked.

The service's own private key is sealed, so these tests give it a second key whose private part they
have. It is older than the true one, which therefore goes on signing; the api pool, which needs no
private parts, learns it when it starts.
"""
import time

import pytest

from env import tokens
from env.problems import assert_problem
from env.wait import wait_for

KEY = tokens.Key()


@pytest.fixture(scope="module")
def issuer(make_stack):
    """A stack that knows our key."""
    stack = make_stack()
    stack.postgres.query(
        "INSERT INTO signing_keys (kid, public_pem, private_key, active_from) VALUES (%s, %s, %s, now() - interval '1 day')",
        KEY.kid, KEY.public_pem.decode(), b"\0" * 200)
    stack.api.stop()
    return stack.up()


@pytest.fixture
def person(issuer):
    return issuer.new_user()


def claims_with(person, **changes):
    claims = {**tokens.claims_of(person.token), **changes}
    return {name: value for name, value in claims.items() if value is not ...}


def ask(person, claims):
    return person.get("/auth/verify", token=KEY.sign(claims))


def test_same_claims_are_accepted(issuer, person):
    """Else all the others here would prove nothing."""
    assert wait_for(lambda: ask(person, claims_with(person)).status == 200)
    assert ask(person, claims_with(person)).json()["id"] == person.id


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "sid", "iat", "exp", "jti"])
@pytest.mark.parametrize("value", [..., None, "", [], {}, True], ids=repr)
def test_claim_missing_or_of_no_use(person, name, value):
    assert_problem(ask(person, claims_with(person, **{name: value})), 401)


@pytest.mark.parametrize("name, value", [
    ("iss", "https://evil.example"), ("iss", "https://localhost"), ("aud", "other"), ("aud", "Tallygate"),
    ("sub", "0"), ("sub", "-1"), ("sub", "abc"), ("sub", "1x"), ("sub", "9223372036854775808"),
    ("sid", "abc"), ("sid", "00000000-0000-0000-0000-00000000000g"), ("exp", 1), ("exp", 0), ("exp", -1),
    ("exp", "99999999999"), ("iat", "1"), ("jti", 5),
])
def test_wrong_value(person, name, value):
    assert_problem(ask(person, claims_with(person, **{name: value})), 401)


def test_issuer_with_a_slash_more(person, issuer):
    assert_problem(ask(person, claims_with(person, iss=issuer.url + "/")), 401)


def test_just_expired(person):
    assert_problem(ask(person, claims_with(person, exp=int(time.time()))), 401)


@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_from_the_future(person, name):
    assert_problem(ask(person, claims_with(person, **{name: int(time.time()) + 600})), 401)


def test_session_of_another(person, issuer):
    """Signed or not: the session must be that person's."""
    other = issuer.new_user()
    claims = claims_with(person, sid=tokens.claims_of(other.token)["sid"])
    assert_problem(ask(person, claims), 401)


def test_person_who_does_not_exist(person):
    assert_problem(ask(person, claims_with(person, sub="999999999")), 401)


def test_more_claims_do_no_harm(person):
    assert ask(person, claims_with(person, custom={"deep": [1, 2]})).status == 200


def test_length_of_4_kib(person):
    """At the bound it is read, one past it is not."""
    def token(length):
        """The shortest one that has at least this length; base64url grows by one or two."""
        bare = len(KEY.sign(claims_with(person, pad="")))
        for pad in range((length - bare) * 3 // 4 - 8, length):
            made = KEY.sign(claims_with(person, pad="x" * pad))
            if len(made) >= length:
                return made
        raise AssertionError("no such length")

    longest = token(4095)
    assert 4095 <= len(longest) <= 4096
    assert person.get("/auth/verify", token=longest).status == 200
    assert_problem(person.get("/auth/verify", token=token(4097)), 401)
