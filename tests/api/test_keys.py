# SPDX-License-Identifier: Apache-2.0
"""The keys that sign tokens: published, and changed while the service runs."""
import re
import signal
import time

import jwt
import pytest
from jwt.algorithms import ECAlgorithm

from env import clients, tokens
from env.load import Load
from env.problems import assert_problem
from env.wait import wait_for

JWKS = "/.well-known/jwks.json"


def published(stack):
    answer = stack.client.get(JWKS)
    assert answer.status == 200, answer
    return answer.json()["keys"]


def status(stack):
    """[(kid, state)], the latest first."""
    done = stack.ctl("keys", "status")
    assert done.returncode == 0, done.stderr
    return [tuple(line.split()[:2]) for line in done.stdout.splitlines()[1:]]


def activate(stack):
    """As if the time of the next key had come."""
    stack.postgres.query("UPDATE signing_keys SET active_from = now() - interval '1 s' WHERE active_from > now()")


# ---- published ----

def test_jwks(stack, user):
    answer = stack.client.get(JWKS)
    assert answer.status == 200
    assert answer.media_type == "application/jwk-set+json"
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    [key] = answer.json()["keys"]
    assert {name: key[name] for name in ("kty", "crv", "use", "alg")} == {
        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256"}
    assert set(key) == {"kty", "crv", "use", "alg", "x", "y", "kid"}
    public = ECAlgorithm.from_jwk(key)
    assert key["kid"] == tokens.thumbprint(public) == tokens.header_of(user.token)["kid"]
    claims = jwt.decode(user.token, public, algorithms=["ES256"], audience="tallygate", issuer=stack.url)
    assert claims["client_id"] == "tallygate"
    assert stack.client.get("/api/v1" + JWKS).json() == answer.json()


def test_without_keys_there_is_no_empty_set(make_stack):
    """It would make everybody who verifies tokens refuse all of them."""
    stack = make_stack()
    old = stack.api.workers
    stack.postgres.stop()
    stack.api.signal(signal.SIGHUP)  # new workers, which never saw a database
    wait_for(lambda: stack.api.workers and not set(old) & set(stack.api.workers), 30, "new workers")
    assert_problem(stack.client.get(JWKS), 503)
    stack.up()
    assert len(wait_for(lambda: stack.client.get(JWKS).status == 200 and published(stack), 15, "the keys")) == 1


def checked_by_jose(stack, *checked):
    order = {"jwks": stack.url + JWKS, "issuer": stack.url, "audience": "tallygate", "tokens": checked}
    return clients.run(stack, "jose.js", order)


def test_a_library_that_is_not_ours_takes_what_we_take(stack, user):
    """jose finds the key in the published set, and checks a token by RFC 9068."""
    body, signature = user.token.rsplit(".", 1)
    results = checked_by_jose(stack, user.token, f"{body}.{'A' * len(signature)}",
                              tokens.with_parts(user.token, header={"alg": "none", "typ": "at+jwt"}, signature=""))
    assert results[0] == tokens.claims_of(user.token)
    assert results[1]["error"] == "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"
    assert "error" in results[2]


# ---- changed ----

@pytest.fixture(scope="module")
def rotating(make_stack):
    return make_stack(api_workers=2)


def test_a_rotation(rotating):
    """The next key is published, signs when its time has come, and the old one goes on verifying."""
    stack = rotating
    user = stack.new_user()
    [(old, state)] = status(stack)
    assert state == "signs"
    done = stack.ctl("keys", "rotate")
    assert done.returncode == 0, done.stderr
    kid, at = re.fullmatch(r"kid   (\S+)\nfrom  (\S+)\n", done.stdout).groups()
    assert at.endswith("Z")
    assert status(stack) == [(kid, "next"), (old, "signs")]
    assert tokens.header_of(user.login().token)["kid"] == old, "not before its time"

    done = stack.ctl("keys", "rotate")
    assert done.returncode == 1 and "waits for its turn already" in done.stderr

    # Everybody loads the keys every half a minute, long before the time comes: here, by a new start.
    for pool in (stack.auth, stack.api, stack.ingest):
        pool.stop()
    stack.up()
    assert [key["kid"] for key in published(stack)] == [kid, old]
    assert tokens.header_of(user.login().token)["kid"] == old

    activate(stack)
    for pool in (stack.auth, stack.api):
        pool.stop()
    stack.up()
    again = user.login()
    assert tokens.header_of(again.token)["kid"] == kid
    assert status(stack) == [(kid, "signs"), (old, "verifies")]
    for session in (user, again):
        assert session.get("/auth/verify").status == 200
        session.record(id=stack.unique())
    results = checked_by_jose(stack, user.token, again.token, tokens.Key().sign(tokens.claims_of(user.token)))
    assert [result.get("sub") for result in results] == [str(user.id), str(user.id), None]
    assert results[2]["error"] == "ERR_JWKS_NO_MATCHING_KEY"
    public = {key["kid"]: ECAlgorithm.from_jwk(key) for key in published(stack)}
    for session in (user, again):
        jwt.decode(session.token, public[tokens.header_of(session.token)["kid"]], algorithms=["ES256"],
                   audience="tallygate")


def test_an_old_key_goes_when_its_tokens_have_ended(make_stack):
    stack = make_stack()
    stack.new_user()
    [(old, _)] = status(stack)
    assert stack.ctl("keys", "rotate").returncode == 0

    def turn_clock(hours):
        """As if the old key had signed for some days, and the new one for so many hours since."""
        stack.postgres.query("UPDATE signing_keys SET active_from = now() - make_interval(hours => "
                             "CASE WHEN kid = %s THEN 100 ELSE %s END)", old, hours)
        stack.auth.stop()
        stack.up()

    turn_clock(24)
    assert [state for _, state in status(stack)] == ["signs", "verifies"]
    turn_clock(26)
    wait_for(lambda: old not in [kid for kid, _ in status(stack)], what="the end of the old key")
    assert [state for _, state in status(stack)] == ["signs"]


def test_no_request_is_refused_while_a_key_comes_in(make_stack):
    """The shortest rotation there is, by the clock, under load: tokens of both keys are good all the time."""
    stack = make_stack(ingest_workers=2, api_workers=2)
    user, other = stack.new_user(), stack.new_user()
    [(old, _)] = status(stack)
    done = stack.ctl("keys", "rotate", "400")
    assert done.returncode == 0, done.stderr
    # All load the keys every half a minute; nobody has to keep a set for five minutes here.
    stack.postgres.query("UPDATE signing_keys SET active_from = now() + interval '50 s' WHERE active_from > now()")
    with Load(stack, threads=4) as load:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            session = other.login()
            assert session.get("/auth/verify").status == 200
            session.record(id=stack.unique())
    assert tokens.header_of(session.token)["kid"] != old
    assert user.get("/auth/verify").status == 200
    assert load.refused == [] and not load.broken
    load.check_stored()


def test_no_key_is_made_under_another_secret(make_stack, tmp_path):
    """It would sign in the end, and nobody could open it."""
    stack = make_stack()
    stack.new_user()
    before = status(stack)
    secret = tmp_path / "secret.key"
    secret.write_bytes(b"x" * 32)
    secret.chmod(0o600)
    config = tmp_path / "tallygate.conf"
    config.write_text(f"database_url = {stack.shared['database_url']}\nsecret_key_file = {secret}\n")
    done = stack.ctl("keys", "rotate", config=config)
    assert done.returncode == 1 and "not the master secret" in done.stderr
    assert status(stack) == before


@pytest.mark.parametrize("arguments", [(), ("rotate", "now"), ("rotate", ""), ("rotate", "399"), ("rotate", "900s"),
                                       ("rotate", "2592001"), ("rotate", "400", "400"), ("status", "x"), ("x",)])
def test_usage(stack, arguments):
    assert stack.ctl("keys", *arguments).returncode == 2


def test_a_token_of_a_foreign_key_is_refused(stack, user):
    key = tokens.Key()
    assert_problem(user.get("/auth/verify", token=key.sign(tokens.claims_of(user.token))), 401)
    assert_problem(user.get("/auth/verify", token=key.sign(tokens.claims_of(user.token),
                                                           kid=tokens.header_of(user.token)["kid"])), 401)
