# SPDX-License-Identifier: Apache-2.0
"""Growing delays for those who guess passwords, and nobody else."""
import concurrent.futures

import pytest

from env.oauth import TOKEN, send
from env.problems import assert_problem
from env.wait import wait_for


@pytest.fixture(scope="module")
def slow(make_stack):
    return make_stack(login_delays="yes")


@pytest.fixture
def victim(slow):
    slow.postgres.query("DELETE FROM login_attempts")
    return slow.new_user()


def login(stack, email, password="wrong"):
    return stack.client.post("/auth/login", {"email": email, "password": password})


def age(stack, seconds):
    """As if so much time had passed."""
    stack.postgres.query("UPDATE login_attempts SET last_at = last_at - %s * interval '1 s'", seconds)


def test_the_delay_grows_and_waiting_gets_through(slow, victim):
    for _ in range(5):
        assert_problem(login(slow, victim.email), 401)
    expected = 1
    for _ in range(8):
        answer = login(slow, victim.email, victim.password)
        assert_problem(answer, 429)
        wait_s = int(answer.headers["Retry-After"])
        assert expected - 1 <= wait_s <= expected, (expected, wait_s)
        assert_problem(login(slow, victim.email), 429)  # refused attempts do not count
        age(slow, wait_s)
        assert_problem(login(slow, victim.email), 401)
        expected *= 2
    age(slow, 256)
    assert login(slow, victim.email, victim.password).status == 200
    # A success forgets what was before.
    for _ in range(4):
        assert_problem(login(slow, victim.email), 401)
    assert login(slow, victim.email, victim.password).status == 200


def test_of_many_at_once_one_goes_on(slow, victim):
    slow.postgres.query("DELETE FROM login_attempts")
    for _ in range(6):
        login(slow, victim.email)
    age(slow, 3600)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        with slow.postgres.held("SELECT FROM login_attempts FOR UPDATE", until=2):
            answers = [pool.submit(login, slow, victim.email) for _ in range(4)]
        assert sorted(answer.result().status for answer in answers) == [401, 429, 429, 429]


def test_the_longest_delay(slow, victim):
    slow.postgres.query("DELETE FROM login_attempts")
    login(slow, victim.email)
    slow.postgres.query("UPDATE login_attempts SET failures = 1000000000 WHERE account <> ''")
    answer = login(slow, victim.email)
    assert_problem(answer, 429)
    assert 899 <= int(answer.headers["Retry-After"]) <= 900


def test_nobody_locks_out_another(slow, victim):
    """Attempts from elsewhere do not slow the owner down."""
    login(slow, victim.email)
    slow.postgres.query("UPDATE login_attempts SET failures = 1000, network = '192.0.2.7' WHERE account <> ''")
    assert login(slow, victim.email, victim.password).status == 200


def test_other_accounts_are_not_slowed_down_by_a_few(slow, victim):
    for _ in range(6):
        login(slow, victim.email)
    other = slow.new_user()
    assert login(slow, other.email, other.password).status == 200


def test_one_password_on_many_accounts(slow, victim):
    for n in range(30):
        assert_problem(login(slow, f"nobody-{n}@example.org"), 401)
    answer = login(slow, victim.email, victim.password)
    assert_problem(answer, 429)
    assert int(answer.headers["Retry-After"]) == 1
    slow.postgres.query("UPDATE login_attempts SET failures = 1000000 WHERE account = ''")
    assert 59 <= int(login(slow, victim.email).headers["Retry-After"]) <= 60


def test_unknown_accounts_are_counted_alike(slow, victim):
    for email in ("nobody@example.org", victim.email):
        statuses = [login(slow, email).status for _ in range(7)]
        assert statuses == [401] * 5 + [429] * 2
    # In either case of the letters.
    assert login(slow, victim.email.upper()).status == 429


def test_other_spellings_are_no_way_round(slow):
    """To citext the Kelvin sign is a k, so an address would have many names; none of them is looked for."""
    user = slow.new_user(email=f"kiki-{slow.unique('k')}@example.org")
    for _ in range(5):
        login(slow, user.email)
    spelled = user.email.replace("k", "\u212a", 1)
    assert_problem(login(slow, spelled, user.password), 401)
    assert_problem(login(slow, user.email, user.password), 429)


def test_guessing_with_a_stolen_session(slow, victim):
    """It is counted, and noted, as at the login; and with that together."""
    for path in ("/auth/mfa/disable", "/auth/mfa/totp", "/auth/mfa/recovery-codes"):
        assert victim.post(path, {"current_password": "wrong"}).status == 403
    assert victim.put("/auth/profile", {"password": "quite another 77 sentence", "current_password": "wrong"}).status == 403
    assert_problem(login(slow, victim.email), 401)
    assert_problem(victim.post("/auth/mfa/totp", {"current_password": victim.password}), 429)
    assert_problem(login(slow, victim.email, victim.password), 429)
    assert slow.postgres.value("SELECT count(*) FROM audit_log WHERE action = 'user.password_refused' AND subject = %s",
                               f"user:{victim.id}") == 4
    age(slow, 1)
    assert victim.post("/auth/mfa/totp", {"current_password": victim.password}).status == 201


def test_guessing_under_idempotency_keys(slow, victim):
    """What a request makes is stored with its key, or not at all; a wrong guess counts all the same."""
    guess = lambda n: victim.post("/auth/mfa/totp", {"current_password": f"guess {n}"}, headers={"Idempotency-Key": f"guess-{n}"})
    assert [guess(n).status for n in range(6)] == [403] * 5 + [429]
    assert slow.postgres.value("SELECT count(*) FROM audit_log WHERE subject = %s AND action = 'user.password_refused'",
                               f"user:{victim.id}") == 5


def test_the_other_door(slow, victim):
    for _ in range(5):
        answer = send(slow, TOKEN, grant_type="password", username=victim.email, password="wrong")
        assert (answer.status, answer.json()["error"]) == (400, "invalid_grant")
    answer = send(slow, TOKEN, grant_type="password", username=victim.email, password=victim.password)
    assert (answer.status, answer.json()["error"]) == (429, "slow_down")
    assert int(answer.headers["Retry-After"]) == 1
    assert_problem(login(slow, victim.email, victim.password), 429)


def test_a_day_later_all_is_forgotten(slow, victim):
    for _ in range(6):
        login(slow, victim.email)
    age(slow, 86401)
    for _ in range(5):
        assert_problem(login(slow, victim.email), 401)


def test_failures_are_audited_without_what_was_typed(slow, victim):
    secret = "typed-into-the-wrong-field"
    login(slow, f"{secret}@example.org", secret)
    login(slow, victim.email, secret)
    rows = slow.postgres.query("SELECT subject, host(address), detail::text FROM audit_log "
                               "WHERE action = 'session.login_failed' ORDER BY id DESC LIMIT 2")
    assert rows == [(f"user:{victim.id}", "127.0.0.1", None), ("user:unknown", "127.0.0.1", None)]
    for table in ("audit_log", "login_attempts"):
        assert secret not in str(slow.postgres.query(f"SELECT t::text FROM {table} t"))


def test_old_attempts_are_pruned(make_stack):
    stack = make_stack(login_delays="yes")
    login(stack, "nobody@example.org")
    age(stack, 2 * 86400)
    stack.auth.signal(1)  # new workers prune at once
    wait_for(lambda: stack.postgres.value("SELECT count(*) FROM login_attempts") == 0, 30, "pruning")
