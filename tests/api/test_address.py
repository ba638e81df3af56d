# SPDX-License-Identifier: Apache-2.0
"""What people prove by a token that was mailed: their address, a new one, and who they are without the password."""
import concurrent.futures
import re
import statistics
import time

import pytest

from env.problems import assert_invalid, assert_problem
from env.wait import wait_for

NEW_PASSWORD = "quite another 77 sentence"


@pytest.fixture(scope="module")
def stack(make_stack):
    return make_stack(address_change_confirmed="yes", password_min_score=2)


def mail_to(stack, address, subject, count=1):
    """The latest of at least `count` mails."""
    def find():
        found = [mail for mail in stack.mails(address) if subject in mail["Subject"]]
        return found if len(found) >= count else None
    return wait_for(find, what=f"a mail about {subject}")[-1]


def token_in(mail):
    return re.search(r"\?token=(tgm_[A-Za-z0-9_-]{43})\s", mail.get_content())[1]


def forget(stack, address):
    answer = stack.client.post("/auth/password/forgot", {"email": address})
    assert (answer.status, answer.body) == (202, b""), answer


def reset(stack, token, password=NEW_PASSWORD):
    return stack.client.post("/auth/password/reset", {"token": token, "password": password})


def expire(stack, user):
    stack.postgres.query("UPDATE mail_tokens SET expires_at = now() WHERE user_id = %s", user.id)


# ---- the own address ----

def test_a_mail_comes_with_the_registration(stack, user):
    mail = mail_to(stack, user.email, "Confirm")
    assert mail["From"] == "Tallygate <noreply@localhost>"
    assert mail["Message-ID"] and mail["Date"] and mail["Auto-Submitted"] == "auto-generated"
    assert f"{stack.url}/verify-address?token=" in mail.get_content()
    token = token_in(mail)
    assert user.get("/users/me").json()["email_verified"] is False
    assert stack.client.post("/auth/address/verify", {"token": token}).status == 204
    assert user.get("/users/me").json()["email_verified"] is True
    assert_invalid(stack.client.post("/auth/address/verify", {"token": token}), token="wrong")
    # There is nothing to prove any more.
    assert user.post("/auth/address/verification").status == 202
    assert stack.postgres.value("SELECT count(*) FROM mail_tokens WHERE user_id = %s", user.id) == 0


def test_another_mail(stack, user):
    first = token_in(mail_to(stack, user.email, "Confirm"))
    assert user.post("/auth/address/verification").status == 202
    second = token_in(mail_to(stack, user.email, "Confirm", 2))
    assert first != second
    assert stack.client.post("/auth/address/verify", {"token": second}).status == 204


def test_five_mails_an_hour(stack, user):
    for _ in range(8):
        assert user.post("/auth/address/verification").status == 202
    for _ in range(8):
        forget(stack, user.email)
    assert stack.postgres.query(
        "SELECT purpose, count(*) FROM mail_tokens WHERE user_id = %s GROUP BY 1 ORDER BY 1", user.id) == [
            ("reset", 5), ("verify", 5)]


def test_five_also_of_many_at_once(stack, user):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: forget(stack, user.email), range(32)))
        assert {answer.status for answer in pool.map(lambda _: user.post("/auth/address/verification"), range(32))} == {202}
    assert stack.postgres.query(
        "SELECT purpose, count(*) FROM mail_tokens WHERE user_id = %s GROUP BY 1 ORDER BY 1", user.id) == [
            ("reset", 5), ("verify", 5)]


@pytest.mark.parametrize("token", ["", "x", "tgm_", "tgm_" + "A" * 43, "tgm_" + "A" * 44, "x" * 255])
@pytest.mark.parametrize("path", ["/auth/address/verify", "/auth/address/confirm", "/auth/password/reset"])
def test_tokens_that_are_none(stack, path, token):
    body = {"token": token, **({"password": NEW_PASSWORD} if "reset" in path else {})}
    assert_invalid(stack.client.post(path, body), token="wrong" if token else "too_short")


def test_expired_tokens(stack, user):
    forget(stack, user.email)
    verify, new = token_in(mail_to(stack, user.email, "Confirm")), token_in(mail_to(stack, user.email, "password"))
    expire(stack, user)
    assert_invalid(stack.client.post("/auth/address/verify", {"token": verify}), token="wrong")
    assert_invalid(reset(stack, new), token="wrong")


def test_a_token_is_for_one_purpose(stack, user):
    forget(stack, user.email)
    verify, new = token_in(mail_to(stack, user.email, "Confirm")), token_in(mail_to(stack, user.email, "password"))
    assert_invalid(reset(stack, verify), token="wrong")
    for path in ("verify", "confirm"):
        assert_invalid(stack.client.post(f"/auth/address/{path}", {"token": new}), token="wrong")
    assert reset(stack, new).status == 204


# ---- the forgotten password ----

def test_a_new_password(stack, user):
    other = user.login()
    forget(stack, user.email.upper())
    forget(stack, user.email)
    first, second = [token_in(mail) for mail in wait_for(
        lambda: [m for m in stack.mails(user.email) if "Set a new password" in m["Subject"]][1:] and
        [m for m in stack.mails(user.email) if "Set a new password" in m["Subject"]], what="two mails")]
    assert_invalid(reset(stack, second, "12345678"), password="too_weak")
    assert_invalid(reset(stack, second, user.email), password="too_weak")
    assert reset(stack, second).status == 204
    wait_for(lambda: user.get("/auth/verify").status == 401 and other.get("/auth/verify").status == 401, 1,
             "the end of all sessions")
    assert_problem(stack.client.post("/auth/login", {"email": user.email, "password": user.password}), 401)
    again = user.login(NEW_PASSWORD)
    assert again.get("/users/me").json()["email_verified"] is True  # the mail came
    for token in (first, second):
        assert_invalid(reset(stack, token), token="wrong")
    notice = mail_to(stack, user.email, "was changed")
    assert "tgm_" not in notice.get_content()
    actions = [row[0] for row in stack.postgres.query(
        "SELECT action FROM audit_log WHERE subject = %s ORDER BY id", f"user:{user.id}")]
    assert "user.password_reset" in actions


def test_a_change_of_the_password_voids_what_was_mailed(stack, user):
    forget(stack, user.email)
    token = token_in(mail_to(stack, user.email, "Set a new password"))
    assert user.put("/auth/profile", {"password": NEW_PASSWORD, "current_password": user.password}).status == 200
    assert_invalid(reset(stack, token, NEW_PASSWORD + " 2"), token="wrong")
    assert user.login(NEW_PASSWORD).token


@pytest.mark.parametrize("way", ["password", "reset", "another"])
def test_a_new_address_that_somebody_else_asked_for(stack, user, way):
    """Who knew the password for a while keeps no way in: the owner's next step voids the token."""
    thief = f"{stack.unique('thief')}@example.org"
    assert change(user, thief).status == 200
    token = token_in(mail_to(stack, thief, "Confirm your new address"))
    if way == "password":
        assert user.put("/auth/profile", {"password": NEW_PASSWORD, "current_password": user.password}).status == 200
    elif way == "reset":
        forget(stack, user.email)
        assert reset(stack, token_in(mail_to(stack, user.email, "Set a new password"))).status == 204
    else:
        assert change(user, f"{stack.unique('own')}@example.org").status == 200
    assert_invalid(stack.client.post("/auth/address/confirm", {"token": token}), token="wrong")
    assert stack.postgres.value("SELECT email FROM users WHERE id = %s", user.id) == user.email


def test_one_of_many_at_once_sets_it(stack, user):
    forget(stack, user.email)
    token = token_in(mail_to(stack, user.email, "Set a new password"))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: reset(stack, token, f"{NEW_PASSWORD} {n}"), range(8)))
    assert sorted(answer.status for answer in answers) == [204] + [422] * 7
    winner = [answer.status for answer in answers].index(204)
    assert user.login(f"{NEW_PASSWORD} {winner}").token


def test_asking_tells_nothing(stack, user):
    """Neither in words, nor in what is written, nor in time."""
    nobody = f"{stack.unique('nobody')}@example.org"
    tokens = stack.postgres.value("SELECT count(*) FROM mail_tokens")
    mails = stack.postgres.value("SELECT count(*) FROM outbox")
    for address in (nobody, user.email):
        forget(stack, address)
        tokens, mails = tokens + 1, mails + 1
        assert stack.postgres.value("SELECT count(*) FROM mail_tokens") == tokens
        assert stack.postgres.value("SELECT count(*) FROM outbox") == mails
    mail_to(stack, user.email, "Set a new password")
    assert not stack.mails(nobody)
    # A switched-off account is nobody.
    stack.postgres.query("UPDATE users SET is_active = false WHERE id = %s", user.id)
    forget(stack, user.email)
    assert len([m for m in stack.mails(user.email) if "Set a new" in m["Subject"]]) == 1


def test_asking_takes_as_long(make_stack):
    """By medians of many, taken in turns. Without equal work the one that is known takes a third longer."""
    stack = make_stack()
    users = [stack.new_user() for _ in range(20)]
    times = {"known": [], "unknown": []}
    for n in range(100):
        for kind, address in (("known", users[n % 20].email), ("unknown", f"{stack.unique('no')}@example.org")):
            before = time.perf_counter()
            forget(stack, address)
            times[kind].append(time.perf_counter() - before)
    known, unknown = (statistics.median(times[kind]) for kind in ("known", "unknown"))
    assert 0.7 < known / unknown < 1.4, (known, unknown)


# ---- a new address ----

def change(user, address, **more):
    return user.put("/auth/profile", {"email": address, "current_password": user.password, **more})


def test_a_new_address_counts_when_it_is_confirmed(stack, user):
    other = user.login()
    address = f"{stack.unique('new')}@example.org"
    answer = change(user, address, full_name="Ada")
    assert answer.status == 200, answer
    assert (answer.json()["email"], answer.json()["pending_email"], answer.json()["full_name"]) == (user.email, address, "Ada")
    assert user.get("/users/me").json()["email"] == user.email
    assert other.get("/auth/verify").status == 200
    mail = mail_to(stack, address, "Confirm your new address")
    assert stack.client.post("/auth/address/confirm", {"token": token_in(mail)}).status == 204
    wait_for(lambda: other.get("/auth/verify").status == 401, 1, "the end of the sessions")
    assert_problem(stack.client.post("/auth/login", {"email": user.email, "password": user.password}), 401)
    notice = mail_to(stack, user.email, "Your address was changed")
    assert address not in notice.get_content()
    user.email = address
    me = user.login().get("/users/me").json()
    assert (me["email"], me["email_verified"]) == (address, True)
    assert_invalid(stack.client.post("/auth/address/confirm", {"token": token_in(mail)}), token="wrong")


def test_an_address_that_somebody_took_meanwhile(stack, user):
    address = f"{stack.unique('new')}@example.org"
    assert change(user, address).status == 200
    token = token_in(mail_to(stack, address, "Confirm your new address"))
    stack.new_user(email=address)
    assert_problem(stack.client.post("/auth/address/confirm", {"token": token}), 409)
    assert user.get("/users/me").json()["email"] == user.email


def test_asking_for_an_address_tells_not_whose_it_is(stack, user):
    other = stack.new_user()
    assert change(user, other.email).status == 200
    assert_problem(stack.client.post("/auth/address/confirm", {
        "token": token_in(mail_to(stack, other.email, "Confirm your new address"))}), 409)


def test_the_same_address_is_no_change(stack, user):
    answer = change(user, user.email.upper())
    assert answer.status == 200 and "pending_email" not in answer.json()
    assert stack.postgres.value("SELECT count(*) FROM mail_tokens WHERE user_id = %s AND purpose = 'change'", user.id) == 0


def test_setting_the_present_address_calls_a_change_off(stack, user):
    address = f"{stack.unique('new')}@example.org"
    assert change(user, address).status == 200
    notice = mail_to(stack, user.email, "A new address was asked for")
    assert address not in notice.get_content() and "token" not in notice.get_content()
    assert change(user, user.email).status == 200
    assert_invalid(stack.client.post("/auth/address/confirm", {
        "token": token_in(mail_to(stack, address, "Confirm your new address"))}), token="wrong")


def test_a_changed_password_is_told(stack, user):
    assert user.put("/auth/profile", {"password": NEW_PASSWORD, "current_password": user.password}).status == 200
    assert NEW_PASSWORD not in mail_to(stack, user.email, "Your password was changed").as_string()


def test_too_many_new_addresses(stack, user):
    for _ in range(5):
        assert change(user, f"{stack.unique('new')}@example.org").status == 200
    answer = change(user, f"{stack.unique('new')}@example.org")
    assert_problem(answer, 429)
    assert answer.headers["Retry-After"] == "3600"


def test_old_tokens_go_with_the_old_address(stack, user):
    address = f"{stack.unique('new')}@example.org"
    forget(stack, user.email)
    old = token_in(mail_to(stack, user.email, "Set a new password"))
    change(user, address)
    stack.client.post("/auth/address/confirm", {"token": token_in(mail_to(stack, address, "Confirm your new"))})
    assert_invalid(reset(stack, old), token="wrong")


def test_without_confirmation(make_stack):
    stack = make_stack(address_change_confirmed="no")
    user = stack.new_user()
    stack.client.post("/auth/address/verify", {"token": token_in(mail_to(stack, user.email, "Confirm"))})
    address = f"{stack.unique('new')}@example.org"
    answer = change(user, address)
    assert answer.json()["email"] == address
    assert address not in mail_to(stack, user.email, "Your address was changed").get_content()
    assert user.get("/users/me").json()["email_verified"] is False


# ---- the outbox ----

def test_no_token_is_stored_in_plain(stack, user):
    forget(stack, user.email)
    token = token_in(mail_to(stack, user.email, "Set a new password"))
    dump = str(stack.postgres.query("SELECT o::text, t::text FROM outbox o, mail_tokens t"))
    assert user.email in dump and token not in dump
    for path in stack.log_files():
        assert token not in path.read_text(errors="replace"), path


def test_a_mail_goes_out_with_its_cause_or_not_at_all(stack, user):
    before = stack.postgres.value("SELECT count(*) FROM outbox")
    assert_problem(stack.client.post("/auth/register", {"email": user.email, "password": NEW_PASSWORD}), 409)
    assert stack.postgres.value("SELECT count(*) FROM outbox") == before


def test_mails_wait_for_whoever_sends_them(make_stack, tmp_path):
    stack = make_stack()
    stack.mail.stop()
    user = stack.new_user()
    assert not stack.mails(user.email)
    done = stack.ctl("mail", "write", str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "wrote 1 mails\n"), done
    assert len(list(tmp_path.glob("*.eml"))) == 1
    assert stack.ctl("mail", "write", str(tmp_path)).stdout == "wrote 0 mails\n"
    stack.new_user()
    assert stack.ctl("mail", "write", str(tmp_path / "missing")).returncode == 1
    assert stack.ctl("mail", "write", str(tmp_path)).stdout == "wrote 1 mails\n"  # it was not lost
    assert stack.ctl("mail", "write").returncode == 2


def test_mails_that_another_secret_sealed_wait(make_stack, tmp_path):
    stack = make_stack()
    stack.mail.stop()
    user = stack.new_user()
    config = (stack.dir / "etc" / "tallygate.conf").read_text()
    (tmp_path / "other.key").write_bytes(bytes(range(64)))
    (tmp_path / "other.key").chmod(0o600)
    other = tmp_path / "other.conf"
    other.write_text(re.sub(r"(?m)^secret_key_file *=.*$", f"secret_key_file = {tmp_path}/other.key", config))
    done = stack.ctl("mail", "write", str(tmp_path), config=other)
    assert (done.returncode, done.stdout) == (1, "wrote 0 mails\n")
    assert "1 mails wait on: they were sealed with another master secret" in done.stderr
    assert stack.ctl("mail", "write", str(tmp_path)).stdout == "wrote 1 mails\n"
    assert "/verify-address?token=" in next(tmp_path.glob("*.eml")).read_text()
    assert not stack.mails(user.email)
