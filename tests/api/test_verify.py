# SPDX-License-Identifier: Apache-2.0
"""GET /auth/verify, what an access token holds, and attacks on it."""
import hashlib
import uuid

import jwt
import pytest

from env import tokens
from env.problems import assert_problem
from env.wait import wait_for


def public_pem(stack):
    return stack.postgres.value("SELECT public_pem FROM signing_keys").encode()


def refused(stack, token):
    """Everywhere, and in the same way: by each pool."""
    for method, path, body in [
        ("GET", "/auth/verify", None),
        ("PUT", "/auth/profile", {"username": "x"}),
        ("POST", "/analytics/events", {"type": "x", "value": 1, "user_id": "u"}),
        ("GET", "/analytics/metrics", None),
    ]:
        answer = stack.client.request(method, path, body, token=token)
        problem = assert_problem(answer, 401)
        assert token not in answer.text and token not in answer.headers["WWW-Authenticate"]
    return problem


def test_answer(user):
    answer = user.get("/auth/verify")
    assert answer.status == 200
    assert answer.json() == {k: user.account[k] for k in ("id", "email", "created_at")}
    assert answer.headers["Cache-Control"] == "no-store"
    assert user.get("/api/v1/auth/verify").json() == answer.json()


def test_follows_a_change_of_address(stack, user):
    email = f"{stack.unique('moved')}@example.org"
    assert user.put("/auth/profile", {"email": email, "current_password": user.password}).status == 200
    assert user.get("/auth/verify").json()["email"] == email


# ---- asked again within a second ----

def set_email(stack, user, email):
    stack.postgres.query("UPDATE users SET email = %s WHERE id = %s", email, user.id)


def test_a_hot_token_is_not_looked_up_each_time(make_stack):
    """A change behind the service's back shows whether the database was asked."""
    stack = make_stack(api_workers=1)
    user = stack.new_user()

    def attempt():
        before = user.get("/auth/verify").json()["email"]
        email = f"{stack.unique('moved')}@example.org"
        set_email(stack, user, email)
        kept = user.get("/auth/verify").json()["email"] == before
        wait_for(lambda: user.get("/auth/verify").json()["email"] == email, 3, "the new address")
        return kept

    wait_for(attempt, what="an answer that was kept")


def test_what_is_kept_is_of_one_session(stack, user, other):
    again = user.login()
    for _ in range(10):
        for somebody in (user, other, again):
            assert somebody.get("/auth/verify").json()["email"] == somebody.email


def test_an_account_that_is_switched_off_ends_within_a_second(stack, user):
    assert user.get("/auth/verify").status == 200
    stack.postgres.query("UPDATE users SET is_active = false WHERE id = %s", user.id)
    # There are two workers, each of which learns of it by itself.
    wait_for(lambda: all(user.get("/auth/verify").status == 401 for _ in range(8)), 3, "the end of it")
    assert_problem(user.get("/auth/verify"), 401)


def test_a_revoked_session_ends_whatever_is_kept(stack, user):
    other_session = user.login()
    assert other_session.get("/auth/verify").status == 200
    body = {"password": "another password", "current_password": user.password}
    assert user.put("/auth/profile", body).status == 200
    wait_for(lambda: other_session.get("/auth/verify").status == 401, 3, "the end of the other session")
    assert user.get("/auth/verify").status == 200


# ---- what is in a token ----

def test_header(stack, user):
    header = tokens.header_of(user.token)
    assert header["alg"] == "ES256"
    assert header["typ"] == "at+jwt"  # RFC 9068
    assert header["kid"] == stack.postgres.value("SELECT kid FROM signing_keys")


def test_signature_and_claims_by_another_library(stack, user):
    claims = jwt.decode(user.token, public_pem(stack), algorithms=["ES256"], audience="tallygate", issuer=stack.url,
                        options={"require": ["iss", "aud", "sub", "sid", "iat", "exp", "jti"]})
    assert claims["sub"] == str(user.id)
    assert claims["exp"] - claims["iat"] == 900
    assert uuid.UUID(claims["sid"]).version == 7
    assert stack.postgres.value("SELECT user_id FROM sessions WHERE id = %s", claims["sid"]) == user.id


def test_holds_nothing_personal(user):
    text = tokens.decode(user.token.split(".")[1]).decode()
    assert user.email not in text and user.password not in text


def test_session_and_token_ids_are_unique(user):
    all_claims = [tokens.claims_of(session.token) for session in (user, user.login(), user.login())]
    for name in ("sid", "jti"):
        assert len({claims[name] for claims in all_claims}) == 3


def test_key_id_is_the_thumbprint(stack):
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    key = load_pem_public_key(public_pem(stack))
    assert stack.postgres.value("SELECT kid FROM signing_keys") == tokens.thumbprint(key)


def test_private_key_is_not_stored_in_the_clear(stack):
    sealed = bytes(stack.postgres.value("SELECT private_key FROM signing_keys"))
    assert b"PRIVATE" not in sealed and b"BEGIN" not in sealed
    assert len(sealed) > 100


# ---- none, or no bearer token ----

@pytest.mark.parametrize("header", [
    None, "", "Bearer", "Bearer ", "bearer", "Basic dXNlcjpwdw==", "Token {token}", "{token}", "Bearer{token}",
    "Bearer, {token}", "Digest Bearer {token}",
])
def test_no_bearer_token(stack, user, header):
    headers = {} if header is None else {"Authorization": header.format(token=user.token)}
    answer = stack.raw("GET", "/auth/verify", headers)
    assert_problem(answer, 401)


def test_challenge_without_a_token_names_no_error(client):
    assert client.get("/auth/verify").headers["WWW-Authenticate"] == 'Bearer realm="tallygate"'


def test_challenge_with_a_bad_token(client):
    challenge = client.get("/auth/verify", token="abc").headers["WWW-Authenticate"]
    assert challenge.startswith('Bearer realm="tallygate", error="invalid_token", error_description="')


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer", "bEaReR"])
def test_scheme_in_any_case(stack, user, scheme):
    assert stack.raw("GET", "/auth/verify", {"Authorization": f"{scheme} {user.token}"}).status == 200


@pytest.mark.parametrize("place", ["/auth/verify?access_token={}", "/auth/verify?token={}"])
def test_token_elsewhere_does_not_count(client, user, place):
    assert_problem(client.get(place.format(user.token)), 401)
    assert_problem(client.get("/auth/verify", headers={"Cookie": f"access_token={user.token}"}), 401)


# ---- malformed ----

@pytest.mark.parametrize("token", [
    "x", ".", "..", "...", "a.b", "a.b.c", "a.b.c.d", "e30.e30.", "e30.e30.e30", "=.=.=", "ey.ey.ey",
    "null", "undefined", "%00", "eyJhbGciOiJFUzI1NiJ9..", "é", "a b", '"', "{}",
])
def test_malformed(stack, token):
    assert_problem(stack.raw("GET", "/auth/verify", {"Authorization": f"Bearer {token}"}), 401)


@pytest.mark.parametrize("change", [
    lambda token: token[:-1], lambda token: token.replace(".", "", 1), lambda token: "A" + token,
    lambda token: token.rpartition(".")[0], lambda token: token.rpartition(".")[0] + ".",
    lambda token: token.partition(".")[2], lambda token: token.swapcase(),
])
def test_cut(stack, user, change):
    refused(stack, change(user.token))


@pytest.mark.parametrize("tail", ["A", "AAAA", "=", "==", ".", "..", ".e30", "!", "=junk", "!junk", ",", "+", "/"])
def test_lengthened(stack, user, tail):
    """A token has three parts in base64url without padding (RFC 7515 sections 2 and 7.1), so there is
    one way to write it."""
    refused(stack, user.token + tail)


@pytest.mark.parametrize("header", [
    "[]", "null", "1", '"ES256"', '{"alg":"ES256"}', '{"alg":"ES256","kid":null}', '{"alg":"ES256","kid":1}',
    '{"alg":"ES256","kid":"KID"', '{"alg":"ES256","kid":"KID",}', "{'alg':'ES256','kid':'KID'}",
    '{"alg":["ES256"],"kid":"KID"}', '{"alg":"ES256","kid":"KID\\u0000"}', '{"alg":"ES256","kid":"KIDKID"}',
    '{"alg":"ES256","kid":""}', '{"kid":"KID"}', '{"alg":"es256","kid":"KID"}',
    '{"alg":"ES256","kid":"KID","crit":["exp"]}',
])
def test_odd_headers(stack, user, header):
    text = header.replace("KID", tokens.header_of(user.token)["kid"])
    refused(stack, tokens.with_parts(user.token, header=tokens.encode(text.encode())))


@pytest.mark.parametrize("length", [4097, 5000, 7500])
def test_longer_than_4_kib(stack, length):
    refused(stack, ("eyJhbGciOiJFUzI1NiJ9." + "A" * length)[:length])


def test_longer_than_4_kib_is_refused_for_its_length(stack, user):
    """A padded header keeps the token well-formed."""
    header = {**tokens.header_of(user.token), "pad": "x" * 4000}
    refused(stack, tokens.with_parts(user.token, header=header))


# ---- forged ----

@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("keep_signature", [False, True])
def test_alg_none(stack, user, alg, keep_signature):
    header = {**tokens.header_of(user.token), "alg": alg}
    signature = None if keep_signature else ""
    refused(stack, tokens.with_parts(user.token, header=header, signature=signature))


@pytest.mark.parametrize("alg, digest", [("HS256", hashlib.sha256), ("HS384", hashlib.sha384),
    ("HS512", hashlib.sha512)])
@pytest.mark.parametrize("change", [bytes, bytes.strip, lambda pem: b"".join(pem.split(b"\n")[1:-2]), lambda pem: b""])
def test_public_key_as_a_shared_secret(stack, user, alg, digest, change):
    header = {**tokens.header_of(user.token), "alg": alg}
    secret = change(public_pem(stack))
    refused(stack, tokens.sign_hmac(header, tokens.claims_of(user.token), secret, digest))


@pytest.mark.parametrize("alg", ["ES384", "ES512", "RS256", "PS256", "EdDSA", "ES256K"])
def test_other_algorithms(stack, user, alg):
    refused(stack, tokens.with_parts(user.token, header={**tokens.header_of(user.token), "alg": alg}))


@pytest.mark.parametrize("name, value", [("sub", "1"), ("exp", 99999999999), ("ws", 1),
    ("sid", "01890000-0000-7000-8000-000000000001"), ("x", 1)])
def test_claims_changed(stack, user, name, value):
    refused(stack, tokens.with_parts(user.token, claims={**tokens.claims_of(user.token), name: value}))


@pytest.mark.parametrize("position", [0, 20, 42, 63])
def test_signature_changed(stack, user, position):
    signature = bytearray(tokens.decode(user.token.split(".")[2]))
    signature[position] ^= 1
    refused(stack, tokens.with_parts(user.token, signature=tokens.encode(bytes(signature))))


@pytest.mark.parametrize("signature", [b"\0" * 64, b"\xff" * 64, b"\0" * 63, b"\0" * 65, b"", b"0" * 200])
def test_signatures_that_prove_nothing(stack, user, signature):
    """Among them r = s = 0, which broken libraries accept for any message."""
    refused(stack, tokens.with_parts(user.token, signature=tokens.encode(signature)))


def test_signature_of_another_token(stack, user, other):
    refused(stack, tokens.with_parts(user.token, signature=other.token.split(".")[2]))


def test_own_key_under_the_name_of_the_true_one(stack, user):
    kid = tokens.header_of(user.token)["kid"]
    refused(stack, tokens.Key().sign(tokens.claims_of(user.token), kid=kid))


def test_own_key_under_its_own_name(stack, user):
    refused(stack, tokens.Key().sign(tokens.claims_of(user.token)))


@pytest.mark.parametrize("kid", ["../../etc/passwd", "' OR '1'='1", "x' UNION SELECT 'k", "\n", "%s%s%s%n"])
def test_strange_key_ids(stack, user, kid):
    refused(stack, tokens.Key().sign(tokens.claims_of(user.token), kid=kid))


def test_key_carried_in_the_header(stack, user):
    key = tokens.Key()
    numbers = key.private.public_key().public_numbers()
    jwk = {"kty": "EC", "crv": "P-256", "kid": key.kid, "x": tokens.encode(numbers.x.to_bytes(32, "big")),
           "y": tokens.encode(numbers.y.to_bytes(32, "big"))}
    kid = tokens.header_of(user.token)["kid"]
    for header in ({"jwk": jwk}, {"jku": f"{stack.url}/jwks.json"}, {"x5u": f"{stack.url}/cert.pem"}):
        refused(stack, key.sign(tokens.claims_of(user.token), kid=kid, header=header))


def test_token_of_another_installation(stack, make_stack):
    foreign = make_stack(issuer=stack.url).new_user()
    refused(stack, foreign.token)


def test_expired(make_stack):
    """The shortest lifetime that the settings allow."""
    stack = make_stack(access_token_ttl_s=10)
    user = stack.new_user()
    claims = tokens.claims_of(user.token)
    assert claims["exp"] - claims["iat"] == 10
    assert user.get("/auth/verify").status == 200
    wait_for(lambda: user.get("/auth/verify").status == 401, 15, "the end of the token", 0.1)
    assert "expired" in refused(stack, user.token)["detail"]
    assert user.login().get("/auth/verify").status == 200


def test_session_that_is_gone(stack, user):
    stack.postgres.query("DELETE FROM sessions WHERE id = %s", tokens.claims_of(user.token)["sid"])
    assert_problem(user.get("/auth/verify"), 401)
