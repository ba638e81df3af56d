# SPDX-License-Identifier: Apache-2.0
"""Who may ask how often."""
import re
import time

import pytest

from env.oauth import TOKEN, Service, send
from env.problems import assert_problem
from env.wait import wait_for
from env.workspaces import make_key

EVENT = {"type": "x", "value": 1, "user_id": "u"}


@pytest.fixture(scope="module")
def stack(make_stack):
    return make_stack(rate_user_per_hour=50, rate_admin_per_hour=80, rate_service_per_hour=60, rate_events_per_second=2,
                      rate_events_burst=20, rate_login_per_minute=0)


def told(answer, name, quota, window):
    """What the headers say is left."""
    assert answer.headers["RateLimit-Policy"] == f'"{name}";q={quota};w={window}'
    found = re.fullmatch(rf'"{name}";r=(\d+);t=(\d+)', answer.headers["RateLimit"])
    left, full_s = int(found[1]), int(found[2])
    assert answer.headers["X-RateLimit-Limit"] == str(quota)
    assert answer.headers["X-RateLimit-Remaining"] == str(left)
    assert abs(int(answer.headers["X-RateLimit-Reset"]) - (time.time() + full_s)) < 3
    return left


def drain(ask, most=200):
    """Ask until refused; returns how many got through, and the refusal."""
    for count in range(most):
        answer = ask()
        if answer.status == 429:
            return count, answer
    raise AssertionError(f"{most} requests and no end")


def forget(stack):
    """As if all had waited long enough: in Redis, and in new workers."""
    stack.redis.client().flushall()
    stack.api.signal(1)
    stack.ingest.signal(1)


def test_a_person_has_so_many_an_hour(stack):
    user = stack.new_user()
    lefts = [told(user.get("/users/me"), "user", 50, 3600) for _ in range(3)]
    assert lefts == [49, 48, 47]
    count, refused = drain(lambda: user.get("/users/me"))
    assert count == 47
    assert_problem(refused, 429)
    assert told(refused, "user", 50, 3600) == 0
    assert 60 <= int(refused.headers["Retry-After"]) <= 72  # one in 72 seconds
    # On every route of that kind, whatever worker; and nobody else is meant.
    assert_problem(user.get("/analytics/metrics"), 429)
    assert user.post("/analytics/events", EVENT).status == 201
    assert stack.new_user().get("/users/me").status == 200


def test_who_waits_gets_through(stack):
    """The time that Retry-After says is neither too short nor much too long."""
    user = stack.new_user()
    count, refused = drain(lambda: user.post("/analytics/events", EVENT))
    assert 20 <= count <= 30  # the burst, and what came back meanwhile
    wait_s = int(refused.headers["Retry-After"])
    assert wait_s == 1
    until = time.monotonic() + wait_s
    wait_for(lambda: time.monotonic() >= until, what="the time to pass")
    answer = user.post("/analytics/events", EVENT)
    assert answer.status == 201, answer
    told(answer, "events", 2, 1)


def test_an_administrator_has_more(stack):
    admin = stack.new_user()
    assert stack.ctl("user", "role", admin.email, "admin").returncode == 0
    count, refused = drain(lambda: admin.get("/users/me"))
    assert count == 50 + 80  # asked only when the first were used up
    assert told(refused, "admin", 80, 3600) == 0


def test_what_is_refused_counts_as_well(stack):
    user = stack.new_user()
    count, refused = drain(lambda: user.get("/users"))
    assert count == 50 and told(refused, "user", 50, 3600) == 0
    user = stack.new_user()
    count, refused = drain(lambda: user.post("/analytics/events", EVENT, headers={"X-Workspace": "none"}))
    assert count >= 20 and told(refused, "events", 2, 1) == 0


def test_administrators_without_a_limit(make_stack):
    stack = make_stack(rate_user_per_hour=5, rate_admin_per_hour=0)
    user, admin = stack.new_user(), stack.new_user()
    assert stack.ctl("user", "role", admin.email, "admin").returncode == 0
    assert {admin.get("/users/me").status for _ in range(30)} == {200}
    assert drain(lambda: user.get("/users/me"))[0] == 5


def test_a_service(stack):
    service = Service(stack)
    token = service.token()
    count, refused = drain(lambda: stack.client.get("/auth/verify", token=token))
    assert count == 60 and told(refused, "service", 60, 3600) == 0
    service.remove()


def test_a_key_has_a_limit_of_its_own(stack):
    user = stack.new_user()
    plain = make_key(user, ["events:write"])["key"]
    own = make_key(user, ["events:write"], per_second=1, burst=5)["key"]
    count, refused = drain(lambda: stack.client.post("/analytics/events", EVENT, token=own))
    assert 5 <= count <= 7
    told(refused, "events", 1, 1)
    assert stack.client.post("/analytics/events", EVENT, token=plain).status == 201
    assert user.post("/analytics/events", EVENT).status == 201


def test_limits_hold_over_workers_and_restarts(stack):
    """What was used is in Redis: new workers know it."""
    user = stack.new_user()
    count, _ = drain(lambda: user.get("/users/me"))
    assert count == 50
    old = stack.api.workers
    stack.api.signal(1)
    wait_for(lambda: not set(old) & set(stack.api.workers), 30, "new workers")
    assert_problem(user.get("/users/me"), 429)


def test_nothing_of_who_asks_is_in_redis(stack):
    user = stack.new_user()
    user.get("/users/me")
    keys = [key.decode() for key in stack.redis.client().keys("tallygate:rl:*")]
    assert keys and all(re.fullmatch(r"tallygate:rl:[0-9a-f]{32}", key) for key in keys)
    assert all(0 < stack.redis.client().pttl(key) <= 3700 * 1000 for key in keys)


def test_without_redis_each_process_counts(make_stack):
    stack = make_stack(rate_user_per_hour=20, api_workers=1)
    stack.redis.stop()
    user = stack.new_user()
    count, refused = drain(lambda: user.get("/users/me"))
    assert count == 20
    assert 170 <= int(refused.headers["Retry-After"]) <= 180
    stack.up()
    wait_for(lambda: stack.new_user().get("/users/me").status == 200, what="an answer")


def test_redis_that_lost_its_scripts(make_stack):
    stack = make_stack(rate_user_per_hour=50)
    user = stack.new_user()
    assert told(user.get("/users/me"), "user", 50, 3600) == 49
    stack.redis.client().script_flush()
    assert told(user.get("/users/me"), "user", 50, 3600) == 48


def test_redis_that_refuses(make_stack):
    """A full one takes no writes: then each process counts, and nobody gets a 500."""
    stack = make_stack(rate_user_per_hour=10, api_workers=1)
    user = stack.new_user()
    stack.redis.client().config_set("maxmemory", "1")
    stack.redis.client().config_set("maxmemory-policy", "noeviction")
    count, _ = drain(lambda: user.get("/users/me"))
    assert count == 10


def test_logins_by_network(make_stack):
    stack = make_stack(rate_login_per_minute=5)
    user = stack.new_user()  # the first
    body = {"email": user.email, "password": user.password}
    lefts = [told(stack.client.post("/auth/login", body), "login", 5, 60) for _ in range(2)]
    assert lefts == [3, 2]
    for _ in range(2):
        assert send(stack, TOKEN, grant_type="password", username=user.email, password=user.password).status == 200
    for path in ("/auth/login", "/auth/register", "/auth/password/forgot"):
        answer = stack.client.post(path, body if "login" in path else {})
        assert_problem(answer, 429)
        assert 10 <= int(answer.headers["Retry-After"]) <= 12
    answer = send(stack, TOKEN, grant_type="password", username=user.email, password=user.password)
    assert (answer.status, answer.json()["error"]) == (429, "slow_down")
    # Who is in already goes on.
    assert user.get("/auth/verify").status == 200
    assert send(stack, TOKEN, grant_type="refresh_token", refresh_token="x").status == 400


def test_switched_off(make_stack):
    stack = make_stack()
    answer = stack.new_user().get("/users/me")
    assert answer.status == 200 and not [name for name in answer.headers if "ratelimit" in name.lower()]
