# SPDX-License-Identifier: Apache-2.0
"""POST /auth/refresh: each use gives the next token, a lost answer logs nobody out, a copy ends the session."""
import base64
import concurrent.futures
import hashlib

import pytest

from env import tokens
from env.problems import assert_invalid, assert_problem
from env.wait import wait_for

REFUSED = "The refresh token is not valid, or its session has ended. Log in again."


def logged_in(user):
    """The answer of a login."""
    answer = user.stack.client.post("/auth/login", {"email": user.email, "password": user.password})
    assert answer.status == 200
    return answer.json()


def refresh(stack, token):
    return stack.client.post("/auth/refresh", {"refresh_token": token})


def refreshed(stack, token):
    answer = refresh(stack, token)
    assert answer.status == 200, answer
    return answer.json()


def refused(stack, token):
    problem = assert_problem(refresh(stack, token), 401)
    assert problem["detail"] == REFUSED
    assert token not in str(problem)


def session_of(token):
    return tokens.claims_of(token)["sid"]


def age(stack, session, seconds):
    """As if its refresh token had been used so long ago."""
    stack.postgres.query("UPDATE sessions SET refreshed_at = now() - make_interval(secs => %s) WHERE id = %s",
                         seconds, session)


def is_good(stack, access_token):
    return stack.client.get("/auth/verify", token=access_token).status == 200


def audit_rows(stack, session):
    return stack.postgres.query("SELECT action, detail->>'user_id', host(address), request_id FROM audit_log "
                                "WHERE subject = %s AND action <> 'session.opened'", f"session:{session}")


# ---- what one gets ----

def test_login_and_registration_give_one(stack):
    answer = stack.client.post("/auth/register", {"email": f"{stack.unique()}@example.org", "password": "long enough"})
    assert answer.status == 201
    for body in (answer.json(), stack.client.post("/auth/login", {
            "email": answer.json()["user"]["email"], "password": "long enough"}).json()):
        assert body["refresh_token"].startswith("tgr_") and len(body["refresh_token"]) == 74
        assert body["refresh_token_expires_in"] == 30 * 86400
        assert is_good(stack, body["access_token"])


def test_answer(stack, user):
    first = logged_in(user)
    answer = refresh(stack, first["refresh_token"])
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "refresh_token", "refresh_token_expires_in", "user"}
    assert body["user"] == first["user"]
    assert body["refresh_token"] != first["refresh_token"]
    assert session_of(body["access_token"]) == session_of(first["access_token"])
    assert tokens.claims_of(body["access_token"])["jti"] != tokens.claims_of(first["access_token"])["jti"]
    assert is_good(stack, body["access_token"]) and is_good(stack, first["access_token"])


def test_a_long_chain(stack, user):
    token, seen = logged_in(user)["refresh_token"], set()
    for _ in range(30):
        seen.add(token)
        token = refreshed(stack, token)["refresh_token"]
    assert token not in seen and len(seen) == 30


def test_what_is_stored(stack, user):
    """A digest, and nothing that could be sent."""
    body = logged_in(user)
    row = stack.postgres.query("SELECT refresh_hash, seed, sessions::text FROM sessions WHERE id = %s",
                               session_of(body["access_token"]))[0]
    assert bytes(row[0]) == hashlib.sha256(body["refresh_token"].encode()).digest()
    secret = base64.urlsafe_b64decode(body["refresh_token"][4:] + "==")[20:]
    assert len(secret) == 32
    assert secret.hex() not in row[2] and body["refresh_token"] not in row[2]


def test_the_session_goes_on_from_its_last_use(stack, user):
    body = logged_in(user)
    session = session_of(body["access_token"])
    stack.postgres.query("UPDATE sessions SET expires_at = now() + interval '1 minute' WHERE id = %s", session)
    refreshed(stack, body["refresh_token"])
    assert stack.postgres.value("SELECT expires_at > now() + interval '29 days' FROM sessions WHERE id = %s", session)


def test_it_is_not_in_the_logs(stack, user):
    body = logged_in(user)
    successor = refreshed(stack, body["refresh_token"])
    refused(stack, "tgr_" + "A" * 70)
    answer = refresh(stack, successor["refresh_token"])
    stack.api.log_of(answer.headers["X-Request-ID"])
    for path in stack.log_files():
        text = path.read_text(errors="replace")
        assert body["refresh_token"] not in text and successor["refresh_token"] not in text


# ---- used again ----

def test_a_lost_answer(stack, user):
    """The one before gets the same successor, as often as it is asked."""
    first = logged_in(user)["refresh_token"]
    successor = refreshed(stack, first)["refresh_token"]
    for _ in range(3):
        again = refreshed(stack, first)
        assert again["refresh_token"] == successor
        assert is_good(stack, again["access_token"])
    assert refreshed(stack, successor)["refresh_token"] not in (first, successor)


def test_fifty_at_once_get_one_successor(stack, user):
    body = logged_in(user)
    clients = [stack.new_client() for _ in range(50)]
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(
            lambda client: client.post("/auth/refresh", {"refresh_token": body["refresh_token"]}), clients))
    assert {answer.status for answer in answers} == {200}
    successors = {answer.json()["refresh_token"] for answer in answers}
    assert len(successors) == 1
    assert stack.postgres.value("SELECT generation FROM sessions WHERE id = %s", session_of(body["access_token"])) == 1
    refreshed(stack, successors.pop())


def test_after_the_grace_time_the_session_ends(stack, user):
    first = logged_in(user)
    session = session_of(first["access_token"])
    second = refreshed(stack, first["refresh_token"])
    age(stack, session, 25)
    refreshed(stack, first["refresh_token"])
    age(stack, session, 31)
    refused(stack, first["refresh_token"])
    for token in (first["refresh_token"], second["refresh_token"]):
        refused(stack, token)
    wait_for(lambda: not is_good(stack, second["access_token"]), 3, "the end of the access tokens")
    assert not is_good(stack, first["access_token"])
    rows = audit_rows(stack, session)
    assert [row[:3] for row in rows] == [("session.refresh_token_reused", str(user.id), "127.0.0.1")]
    assert rows[0][3]


def test_an_older_one_ends_the_session_at_once(stack, user):
    first = logged_in(user)
    second = refreshed(stack, first["refresh_token"])
    third = refreshed(stack, second["refresh_token"])
    refused(stack, first["refresh_token"])
    refused(stack, third["refresh_token"])
    assert len(audit_rows(stack, session_of(first["access_token"]))) == 1


def test_other_sessions_go_on(stack, user):
    stays, ends = logged_in(user), logged_in(user)
    second = refreshed(stack, ends["refresh_token"])
    refreshed(stack, second["refresh_token"])
    refused(stack, ends["refresh_token"])
    refreshed(stack, stays["refresh_token"])
    assert user.get("/auth/verify").status == 200


def test_without_a_grace_time(make_stack):
    stack = make_stack(refresh_grace_s=0)
    body = logged_in(stack.new_user())
    age(stack, session_of(body["access_token"]), 1)
    refreshed(stack, body["refresh_token"])
    age(stack, session_of(body["access_token"]), 1)
    refused(stack, body["refresh_token"])


# ---- no token, or nobody's ----

def forged(token, place, change=1):
    """With one byte of what it holds changed."""
    data = bytearray(tokens.decode(token[4:]))
    data[place] ^= change
    return "tgr_" + tokens.encode(bytes(data))


@pytest.mark.parametrize("place", [0, 15, 16, 19, 20, 51])
def test_a_changed_byte(stack, user, place):
    """It is no token, and ends nobody's session: whoever reads a session's id in a log could else log people out."""
    token = logged_in(user)["refresh_token"]
    refused(stack, forged(token, place))
    refreshed(stack, token)


def test_an_earlier_generation_cannot_be_made_up(stack, user):
    token = logged_in(user)["refresh_token"]
    for _ in range(3):
        token = refreshed(stack, token)["refresh_token"]
    data = bytearray(tokens.decode(token[4:]))
    data[19] = 0
    refused(stack, "tgr_" + tokens.encode(bytes(data)))
    refreshed(stack, token)


@pytest.mark.parametrize("token", [
    "x", "tgr_", "tgr_" + "A" * 70, "TGR_" + "A" * 70, "tgr_" + "A" * 69, "tgr_" + "A" * 71, "tgr_" + "!" * 70,
    "tgr_" + "A" * 69 + "=", "é" * 74, "a" * 512, "' OR 1=1 --",
])
def test_garbage(stack, token):
    refused(stack, token)


@pytest.mark.parametrize("body, wrong", [
    ({}, {"refresh_token": "required"}), ({"refresh_token": 5}, {"refresh_token": "type"}),
    ({"refresh_token": None}, {"refresh_token": "type"}), ({"refresh_token": ""}, {"refresh_token": "too_short"}),
    ({"refresh_token": "x" * 513}, {"refresh_token": "too_long"}),
    ({"refresh_token": "x", "scope": "y"}, {"scope": "unknown_field"}),
])
def test_invalid(client, body, wrong):
    assert_invalid(client.post("/auth/refresh", body), **wrong)


def test_an_access_token_is_none(stack, user):
    refused(stack, user.token[:512])
    assert stack.client.get("/auth/verify", token=logged_in(user)["refresh_token"]).status == 401


def test_an_expired_session(stack, user):
    body = logged_in(user)
    stack.postgres.query("UPDATE sessions SET expires_at = now() WHERE id = %s", session_of(body["access_token"]))
    refused(stack, body["refresh_token"])


@pytest.mark.parametrize("end", ["password", "switched off", "deleted"])
def test_when_the_account_says_so(stack, user, end):
    body = logged_in(user)
    if end == "password":
        assert user.put("/auth/profile", {"password": "a new password", "current_password": user.password}).status == 200
    elif end == "switched off":
        stack.postgres.query("UPDATE users SET is_active = false WHERE id = %s", user.id)
    else:
        assert user.delete(f"/auth/users/{user.id}").status == 204
    refused(stack, body["refresh_token"])


def test_under_another_secret_no_token_is_good(make_stack, stack, user):
    """The database alone is not enough."""
    body = logged_in(user)
    other = make_stack()
    columns = "id, user_id, expires_at, refreshed_at, generation, seed, refresh_hash"
    row = stack.postgres.query(f"SELECT {columns} FROM sessions WHERE id = %s", session_of(body["access_token"]))[0]
    stranger = other.new_user()
    other.postgres.query(f"INSERT INTO sessions ({columns}) VALUES (%s, %s, %s, %s, %s, %s, %s)",
                         row[0], stranger.id, *row[2:])
    refused(other, body["refresh_token"])


def test_it_needs_the_database(make_stack):
    stack = make_stack()
    body = logged_in(stack.new_user())
    stack.postgres.stop()
    assert_problem(refresh(stack, body["refresh_token"]), 503)
    stack.up()
    wait_for(lambda: refresh(stack, body["refresh_token"]).status == 200, 15, "a new token")
