# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL or Redis away: 503 for what needs them, all else goes on, and it heals by itself."""
import concurrent.futures
import signal

import pytest

from env.problems import assert_problem
from env.wait import wait_for

EVENT = {"type": "cost", "value": 1, "user_id": "u"}
NEEDS_POSTGRES = [
    ("POST", "/auth/register", {"email": "new@example.org", "password": "long enough"}),
    ("POST", "/auth/login", {"email": "nobody@example.org", "password": "long enough"}),
    ("GET", "/auth/verify", None),
    ("GET", "/auth/profile", None),
    ("PUT", "/auth/profile", {"username": "x"}),
    ("DELETE", "/auth/users/999999999", None),
    ("POST", "/analytics/events", EVENT),
    ("POST", "/analytics/metrics/batch", {"events": [EVENT]}),
    ("GET", "/analytics/metrics", None),
    ("GET", "/analytics/usage/u", None),
    ("GET", "/analytics/costs", None),
    ("GET", "/analytics/reports/daily", None),
    ("GET", "/analytics/events/date-range", None),
    ("GET", "/analytics/users/u/events", None),
    ("GET", "/analytics/export", None),
    ("GET", "/health/ready", None),
]


@pytest.fixture(scope="module")
def stack(make_stack):
    """Waits are short, so that refusals come soon. Each test ends with all servers up."""
    return make_stack(ingest_wait_ms=300, database_timeout_ms=2000)


@pytest.fixture
def without_postgres(stack, user):
    stack.postgres.stop()
    yield user
    stack.up()
    wait_for(lambda: stack.client.get("/health").json()["status"] == "healthy")


@pytest.fixture
def without_redis(stack, user):
    stack.redis.stop()
    yield user
    stack.up()
    wait_for(lambda: stack.client.get("/health").json()["status"] == "healthy")


# ---- PostgreSQL ----

def test_what_needs_postgres_says_503(without_postgres):
    for method, path, body in NEEDS_POSTGRES:
        answer = without_postgres.request(method, path, body)
        assert_problem(answer, 503)
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.headers["Strict-Transport-Security"]


def test_health_without_postgres(stack, without_postgres):
    answer = stack.client.get("/health")
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.media_type == "application/json"
    body = answer.json()
    assert (body["status"], body["database_connected"]) == ("unhealthy", False)
    assert (body["metrics_count"], body["users_count"]) == (None, None)
    assert body["dependencies"]["postgres"] == {"status": "down", "latency_ms": None}
    assert body["dependencies"]["redis"]["status"] == "up"


def test_what_needs_nothing_goes_on(stack, without_postgres):
    assert stack.client.get("/health/live").json() == {"status": "alive"}
    assert_problem(stack.client.get("/auth/nothing"), 404)
    assert_problem(stack.client.get("/auth/login"), 405)
    assert_problem(stack.client.post("/auth/login", data="{"), 400)
    assert_problem(stack.client.post("/auth/login", {}), 422)
    assert_problem(stack.client.get("/auth/verify"), 401)
    assert stack.client.request("OPTIONS", "/auth/login").status == 204


def test_no_worker_ends_and_logs_stay_short(stack, without_postgres):
    before = {pool: (server.pid, server.workers) for pool, server in vars(stack).items() if pool in ("auth", "ingest",
        "api")}
    lines = sum(len(getattr(stack, pool).log()) for pool in before)
    requests = 0
    for _ in range(3):
        for method, path, body in NEEDS_POSTGRES:
            without_postgres.request(method, path, body)
            requests += 1
    for pool, family in before.items():
        assert (getattr(stack, pool).pid, getattr(stack, pool).workers) == family
    # A line a request, and no more than a few beside.
    more = sum(len(getattr(stack, pool).log()) for pool in before) - lines
    assert more <= 2 * requests + 30, more


def test_all_committers_heal_with_the_first(stack, user):
    """One that failed for long would else wait for up to a second more, and its events get 503 beside the others'."""
    for n in range(4):
        stack.postgres.stop()
        clients = [stack.new_client(user.token) for _ in range(4)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            # Two committers, who fail again and again, each time for the wait limit.
            for _ in range(6):
                asked = pool.map(lambda client: client.post("/analytics/events", EVENT).status, clients)
                assert set(asked) == {503}
        stack.up()
        wait_for(lambda: user.post("/analytics/events", EVENT).status == 201, what="the first event")
        for k in range(20):
            user.record("cost", 1, "u", id=f"after-{n}-{k}")


def test_heals_with_nothing_lost(stack, user):
    """What was acknowledged is there once; what was refused may be sent again under its id."""
    for n in range(20):
        user.record("cost", 1, "u", id=f"before-{n}")
    pids = [server.workers for server in (stack.auth, stack.ingest, stack.api)]
    stack.postgres.stop()
    try:
        refused = user.post("/analytics/events", {**EVENT, "id": "during"})
        assert_problem(refused, 503)
    finally:
        stack.up()
    wait_for(lambda: user.post("/analytics/events", {**EVENT, "id": "during"}).status in (200, 201),
        what="healing of ingest")
    again = user.post("/analytics/events", {**EVENT, "id": "before-0"})
    assert (again.status, again.json()["status"]) == (200, "duplicate")
    # Each thread of the pool has a connection and a backoff of its own.
    costs = wait_for(lambda: [a for a in [user.get("/analytics/costs")] if a.status == 200], what="healing of the api pool")
    body = costs[0].json()
    assert (body["events"], body["total_cost"]) == (21, 21)
    login = {"email": user.email, "password": user.password}
    wait_for(lambda: stack.client.post("/auth/login", login).status == 200)
    assert [server.workers for server in (stack.auth, stack.ingest, stack.api)] == pids, "no restart was needed"


def test_killed_postgres_heals_as_well(stack, user):
    user.record("cost", 1, "u", id="kept")
    stack.postgres.stop(signal.SIGKILL)
    assert_problem(user.post("/analytics/events", EVENT), 503)
    stack.up()
    wait_for(lambda: user.get("/analytics/costs").status == 200)
    wait_for(lambda: user.post("/analytics/events", {**EVENT, "id": "kept"}).status == 200)
    assert user.get("/analytics/costs").json()["events"] == 1


# ---- Redis ----

def test_health_without_redis(stack, without_redis):
    answer = stack.client.get("/health")
    assert answer.status == 200
    body = answer.json()
    assert (body["status"], body["database_connected"]) == ("degraded", True)
    assert body["dependencies"]["redis"] == {"status": "down", "latency_ms": None}
    assert body["dependencies"]["postgres"]["status"] == "up"
    assert stack.client.get("/health/ready").status == 200


def test_everything_works_without_redis(stack, without_redis):
    user = stack.new_user()
    assert user.login().get("/auth/verify").status == 200
    assert user.put("/auth/profile", {"username": "x"}).status == 200
    user.record("cost", 2, "u", id="a")
    assert user.post("/analytics/events", {**EVENT, "id": "a"}).status == 200
    assert user.post("/analytics/metrics/batch", {"events": [EVENT]}).json()["accepted"] == 1
    assert user.get("/analytics/metrics").json()["total_metrics"] == 2
    assert user.get("/analytics/usage/u").json()["total_cost"] == 3
    assert user.get("/analytics/costs").json()["total_cost"] == 3
    assert user.get("/analytics/reports/daily").status == 200
    assert user.delete(f"/auth/users/{user.id}").status == 204


def test_redis_comes_back(stack):
    stack.redis.stop()
    wait_for(lambda: stack.client.get("/health").json()["status"] == "degraded")
    stack.up()
    wait_for(lambda: stack.client.get("/health").json()["dependencies"]["redis"]["status"] == "up")


def test_without_redis_in_the_settings(make_stack):
    stack = make_stack(redis_url="")
    body = stack.client.get("/health").json()
    assert body["status"] == "healthy"
    assert body["dependencies"]["redis"] == {"status": "disabled", "latency_ms": None}


# ---- a pool away ----

@pytest.mark.parametrize("pool, method, path", [("auth", "POST", "/auth/login"),
    ("ingest", "POST", "/analytics/events"), ("api", "GET", "/health")])
def test_a_pool_that_is_gone_is_503_by_nginx(stack, pool, method, path):
    """And the other pools do not notice."""
    getattr(stack, pool).stop()
    try:
        answer = stack.client.request(method, path, {} if method == "POST" else None)
        assert_problem(answer, 503)
        assert int(answer.headers["Retry-After"]) >= 1
        for other, other_path in (("auth", "/auth/login"), ("ingest", "/analytics/events")):
            if other != pool:
                assert stack.client.post(other_path, {}).status in (401, 422)
        if pool != "api":
            assert stack.client.get("/health").status == 200
    finally:
        stack.up()
    assert stack.client.request(method, path, {} if method == "POST" else None).status in (200, 401, 422)
