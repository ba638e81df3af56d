# SPDX-License-Identifier: Apache-2.0
"""The second factor, with codes that oathtool computes."""
import concurrent.futures
import subprocess
import time
import urllib.parse
import xml.etree.ElementTree

import pytest

from env.oauth import TOKEN, send
from env.problems import assert_invalid, assert_problem
from env.wait import wait_for

SVG = "{http://www.w3.org/2000/svg}"


def oathtool(secret, at=None):
    """The code of a key in base32, now or at another Unix time."""
    command = ["oathtool", "--totp", "--base32", secret]
    if at is not None:
        command += ["--now", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class Guarded:
    """Somebody with a second factor."""

    def __init__(self, user):
        self.user = user
        self.stack = user.stack
        begun = user.post("/auth/mfa/totp", {"current_password": user.password})
        assert begun.status == 201, begun
        self.begun = begun.json()
        self.secret = self.begun["secret"]
        answer = user.post("/auth/mfa/totp/confirm", {"code": self.code()})
        assert answer.status == 200, answer
        self.recovery = answer.json()["recovery_codes"]
        self.forget_step()

    def code(self, steps=0):
        return oathtool(self.secret, time.time() + 30 * steps)

    def forget_step(self):
        """As if half a minute had passed since the last code."""
        self.stack.postgres.query("UPDATE totp SET last_step = 0 WHERE user_id = %s", self.user.id)

    def challenge(self):
        answer = self.stack.client.post("/auth/login", {"email": self.user.email, "password": self.user.password})
        assert answer.status == 200, answer
        body = answer.json()
        assert set(body) == {"mfa_required", "challenge", "expires_in"}
        assert body["mfa_required"] is True and body["expires_in"] == 300
        return body["challenge"]

    def login(self, code, challenge=None):
        return self.stack.client.post("/auth/login/mfa", {"challenge": challenge or self.challenge(), "code": code})


@pytest.fixture
def guarded(user):
    return Guarded(user)


# ---- having one ----

def test_the_key_comes_as_text_uri_and_picture(stack, user):
    assert user.get("/auth/mfa").json() == {"enabled": False, "recovery_codes_left": 0}
    answer = user.post("/auth/mfa/totp", {"current_password": user.password})
    assert answer.status == 201
    body = answer.json()
    assert set(body) == {"secret", "otpauth_uri", "qr_svg"}
    uri = urllib.parse.urlsplit(body["otpauth_uri"])
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    host = f"localhost:{stack.port}"
    assert urllib.parse.unquote(uri.path) == f"/{host}:{user.email}"
    assert dict(urllib.parse.parse_qsl(uri.query)) == {
        "secret": body["secret"], "issuer": host, "algorithm": "SHA1", "digits": "6", "period": "30"}
    assert len(body["secret"]) == 32  # 160 bits
    picture = xml.etree.ElementTree.fromstring(body["qr_svg"])
    assert picture.tag == f"{SVG}svg" and len(picture.findall(f"{SVG}path")) == 2
    # It does not count before a code of it came, so nobody is locked out by half a set-up.
    assert user.get("/auth/mfa").json()["enabled"] is False
    assert user.login().token
    second = user.post("/auth/mfa/totp", {"current_password": user.password}).json()["secret"]
    assert_invalid(user.post("/auth/mfa/totp/confirm", {"code": oathtool(body["secret"])}), code="wrong")
    assert user.post("/auth/mfa/totp/confirm", {"code": oathtool(second)}).status == 200
    assert user.get("/auth/mfa").json() == {"enabled": True, "recovery_codes_left": 10}
    assert user.get("/users/me").json()["mfa_enabled"] is True


def test_the_password_is_asked_for(user):
    for path in ("/auth/mfa/totp", "/auth/mfa/recovery-codes", "/auth/mfa/disable"):
        assert_invalid(user.post(path, {}), current_password="required")
        answer = user.post(path, {"current_password": "wrong"})
        assert answer.status == 403 and answer.json()["errors"][0]["code"] == "wrong", answer
    assert_problem(user.post("/auth/mfa/totp/confirm", {"code": "123456"}), 409)
    for path in ("/auth/mfa/recovery-codes", "/auth/mfa/disable"):
        assert_problem(user.post(path, {"current_password": user.password}), 409)


def test_a_second_one_is_refused(guarded):
    assert_problem(guarded.user.post("/auth/mfa/totp", {"current_password": guarded.user.password}), 409)
    assert_problem(guarded.user.post("/auth/mfa/totp/confirm", {"code": guarded.code()}), 409)


def test_switching_it_off(guarded):
    assert guarded.user.post("/auth/mfa/disable", {"current_password": guarded.user.password}).status == 204
    assert guarded.user.get("/auth/mfa").json() == {"enabled": False, "recovery_codes_left": 0}
    assert guarded.user.login().token


def test_a_key_that_was_only_begun_is_none(stack, user):
    assert user.post("/auth/mfa/totp", {"current_password": user.password}).status == 201
    assert_problem(user.post("/auth/mfa/disable", {"current_password": user.password}), 409)
    assert_problem(user.post("/auth/mfa/totp/confirm", {"code": "123456"}), 409)  # it is gone all the same
    assert stack.postgres.query("SELECT payload->>'template' FROM outbox WHERE payload->>'to' = %s", user.email) == [("verify",)]


def test_an_administrator_helps_nobody_that_is_none(stack, guarded):
    assert stack.ctl("user", "role", guarded.user.email, "admin").returncode == 0
    assert_problem(guarded.user.delete(f"/users/{guarded.user.id}/mfa"), 409)  # that takes the password
    assert_problem(guarded.user.delete("/users/999999999/mfa"), 404)
    assert guarded.user.get("/auth/mfa").json()["enabled"] is True


def test_one_that_is_switched_on_during_a_login(make_stack):
    stack = make_stack(bcrypt_cost=4)
    user = stack.new_user()
    stack.down()
    stack.up(bcrypt_cost=6)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        # The stronger hash is about to be stored; whether there is a second factor was looked up before.
        with stack.postgres.held("SELECT FROM users WHERE id = %s FOR NO KEY UPDATE", user.id, until=1) as wait:
            answer = pool.submit(stack.client.post, "/auth/login", {"email": user.email, "password": user.password})
            wait(1)
            stack.postgres.query("INSERT INTO totp (user_id, sealed, confirmed_at) VALUES (%s, '', now())", user.id)
        assert_problem(answer.result(), 401)
    assert stack.postgres.value("SELECT count(*) FROM sessions WHERE user_id = %s", user.id) == 1


def test_an_administrator_helps_who_lost_all(stack, guarded):
    admin = stack.new_user()
    assert stack.ctl("user", "role", admin.email, "admin").returncode == 0
    challenge = guarded.challenge()
    assert admin.delete(f"/users/{guarded.user.id}/mfa").status == 204
    assert_problem(admin.delete(f"/users/{guarded.user.id}/mfa"), 409)
    assert guarded.user.login().token
    assert_problem(guarded.login(guarded.code(), challenge), 401)


# ---- logging in ----

def test_login_in_two_steps(stack, guarded):
    answer = guarded.login(guarded.code())
    assert answer.status == 200, answer
    body = answer.json()
    assert body["user"]["id"] == guarded.user.id and body["refresh_token"]
    assert stack.new_client(body["access_token"]).get("/auth/verify").status == 200


def test_no_code_is_taken_twice(guarded):
    code = guarded.code()
    assert guarded.login(code).status == 200
    assert_invalid(guarded.login(code), code="wrong")
    # Nor one of a step before the one that was used, which the window would let in.
    assert_invalid(guarded.login(guarded.code(-1)), code="wrong")
    assert guarded.login(guarded.code(1)).status == 200


def test_one_of_many_at_once_gets_in(guarded):
    challenge, code = guarded.challenge(), guarded.code()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: guarded.login(code, challenge), range(4)))
    assert sorted(answer.status for answer in answers) == [200, 422, 422, 422]


def test_clocks_may_differ_by_one_step(guarded):
    for steps in (-1, 1):
        assert guarded.login(guarded.code(steps)).status == 200
        guarded.forget_step()
    for steps in (-3, 3):
        assert_invalid(guarded.login(guarded.code(steps)), code="wrong")


@pytest.mark.parametrize("code", ["", "0", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "x" * 33, "-" * 32, "AAAAA-AAAAA", "000000"])
def test_codes_that_are_none(guarded, code):
    answer = guarded.login(code)
    assert_invalid(answer, code="too_short" if not code else "too_long" if len(code) > 32 else "wrong")


def test_blanks_in_a_code_do_not_matter(guarded):
    code = guarded.code()
    assert guarded.login(f" {code[:3]} {code[3:]}").status == 200


def test_recovery_codes(guarded):
    assert len(set(guarded.recovery)) == 10
    assert guarded.login(guarded.recovery[0]).status == 200
    assert_invalid(guarded.login(guarded.recovery[0]), code="wrong")
    assert guarded.login(guarded.recovery[1].lower().replace("-", "")).status == 200
    assert guarded.user.get("/auth/mfa").json()["recovery_codes_left"] == 8
    renewed = guarded.user.post("/auth/mfa/recovery-codes", {"current_password": guarded.user.password})
    assert renewed.status == 200
    assert guarded.user.get("/auth/mfa").json()["recovery_codes_left"] == 10
    assert_invalid(guarded.login(guarded.recovery[2]), code="wrong")
    assert guarded.login(renewed.json()["recovery_codes"][9]).status == 200


def test_two_sets_of_codes_at_once(stack, guarded):
    stack.postgres.query("DELETE FROM recovery_codes WHERE user_id = %s", guarded.user.id)
    renew = lambda _: guarded.user.post("/auth/mfa/recovery-codes", {"current_password": guarded.user.password})
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        with stack.postgres.held("SELECT FROM totp WHERE user_id = %s FOR UPDATE", guarded.user.id, until=2):
            answers = [pool.submit(renew, n) for n in range(2)]
        assert [answer.result().status for answer in answers] == [200, 200]
    assert guarded.user.get("/auth/mfa").json()["recovery_codes_left"] == 10


def test_what_happens_to_it_is_told(stack, guarded):
    user = guarded.user
    assert guarded.login(guarded.recovery[0]).status == 200
    assert user.post("/auth/mfa/recovery-codes", {"current_password": user.password}).status == 200
    assert user.post("/auth/mfa/disable", {"current_password": user.password}).status == 204
    said = [row[0] for row in stack.postgres.query(
        "SELECT action FROM audit_log WHERE subject = %s AND action <> 'user.registered' ORDER BY id", f"user:{user.id}")]
    assert said == ["user.mfa_begun", "user.mfa_enabled", "user.recovery_code_used", "user.recovery_codes_renewed", "user.mfa_disabled"]
    wait_for(lambda: len(stack.mails(user.email)) == 5, what="four notices")
    assert [mail["Subject"] for mail in stack.mails(user.email)] == [
        "Confirm your address", "A second factor was switched on", "A recovery code was used", "New recovery codes were made",
        "The second factor was switched off"]
    assert not any(code in mail.as_string() for mail in stack.mails(user.email) for code in [*guarded.recovery, guarded.secret])


def test_a_code_of_another_account(stack, guarded):
    other = Guarded(stack.new_user())
    assert_invalid(guarded.login(other.recovery[0]), code="wrong")
    assert other.login(other.recovery[0]).status == 200


def test_five_wrong_codes_and_a_pause(stack, guarded):
    challenge = guarded.challenge()
    for _ in range(5):
        assert_invalid(guarded.login("000000", challenge), code="wrong")
    for code in (guarded.code(), guarded.recovery[0]):
        answer = guarded.login(code, challenge)
        assert_problem(answer, 429)
        assert 290 <= int(answer.headers["Retry-After"]) <= 300
    # Who waits so long gets through.
    stack.postgres.query("UPDATE totp SET wait_until = wait_until - interval '300 s' WHERE user_id = %s", guarded.user.id)
    assert guarded.login(guarded.code()).status == 200
    assert stack.postgres.value("SELECT count(*) FROM audit_log WHERE action = 'user.mfa_failed' AND subject = %s",
                                f"user:{guarded.user.id}") == 5


def test_challenges_that_are_none(stack, guarded):
    good = guarded.challenge()
    for challenge in ("x", "tgf_", good[:-1], good + "A", "tgf_" + "A" * (len(good) - 4),
                      good[:10] + ("A" if good[10] != "A" else "B") + good[11:]):
        assert_problem(guarded.login(guarded.code(), challenge), 401)
    # Of another account's second factor it is of no use.
    other = Guarded(stack.new_user())
    assert_invalid(guarded.login(other.code(), good), code="wrong")
    # A change of the password ends it.
    assert guarded.user.put("/auth/profile", {"password": "quite another 77 sentence",
                                              "current_password": guarded.user.password}).status == 200
    assert_problem(guarded.login(guarded.code(), good), 401)


def test_a_challenge_is_no_token(stack, guarded):
    challenge = guarded.challenge()
    assert_problem(stack.client.get("/auth/verify", token=challenge), 401)
    assert_problem(stack.client.post("/auth/refresh", {"refresh_token": challenge}), 401)


def test_a_switched_off_account(stack, guarded):
    challenge = guarded.challenge()
    stack.postgres.query("UPDATE users SET is_active = false WHERE id = %s", guarded.user.id)
    assert_problem(guarded.login(guarded.code(), challenge), 401)


def test_the_password_grant_does_not_go_round_it(stack, guarded):
    answer = send(stack, TOKEN, grant_type="password", username=guarded.user.email, password=guarded.user.password)
    assert (answer.status, answer.json()["error"]) == (400, "invalid_grant")
    assert "access_token" not in answer.json()


def test_refreshing_needs_no_code(stack, guarded):
    body = guarded.login(guarded.code()).json()
    assert stack.client.post("/auth/refresh", {"refresh_token": body["refresh_token"]}).status == 200


def test_nothing_is_stored_in_plain(stack, guarded):
    dump = str(stack.postgres.query("SELECT t::text, r::text FROM totp t JOIN recovery_codes r USING (user_id)"))
    for secret in (guarded.secret, *guarded.recovery):
        assert secret not in dump
    actions = [row[0] for row in stack.postgres.query(
        "SELECT action FROM audit_log WHERE subject = %s ORDER BY id", f"user:{guarded.user.id}")]
    assert "user.mfa_enabled" in actions
    wait_for(lambda: stack.log_files(), what="logs")
    for path in stack.log_files():
        text = path.read_text(errors="replace")
        assert guarded.secret not in text and guarded.recovery[0] not in text, path
