# SPDX-License-Identifier: Apache-2.0
"""GET /health, /health/live and /health/ready while all is well; test_outage.py has the rest."""
import pytest

from env.wait import wait_for


def test_answer(client):
    answer = client.get("/health")
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert set(body) == {"status", "version", "uptime_seconds", "database_connected", "metrics_count", "users_count",
                         "dependencies"}
    assert body["status"] == "healthy"
    assert body["database_connected"] is True
    assert set(body["dependencies"]) == {"postgres", "redis"}
    for dependency in body["dependencies"].values():
        assert set(dependency) == {"status", "latency_ms"}
        assert dependency["status"] == "up"
        assert 0 <= dependency["latency_ms"] < 1000
    for count in ("uptime_seconds", "metrics_count", "users_count"):
        assert isinstance(body[count], int) and body[count] >= 0


def test_version_is_the_program_s(stack):
    version = stack.program("tallygate-fcgi", "--version").stdout.split()[-1]
    assert stack.client.get("/health").json()["version"] == version


def test_counts_follow(stack):
    before = stack.client.get("/health").json()
    user = stack.new_user()
    user.record(id="a")
    user.post("/analytics/events", {"type": "x", "value": 1, "user_id": "u", "id": "a"})
    user.post("/analytics/metrics/batch", {"events": [{"type": "x", "value": 1, "user_id": "u"}] * 10 + [{}]})
    after = stack.client.get("/health").json()
    assert after["users_count"] == before["users_count"] + 1
    assert after["metrics_count"] == before["metrics_count"] + 11


def test_counts_are_no_scan(stack):
    """A row that bypassed the running totals is not seen."""
    before = stack.client.get("/health").json()["users_count"]
    email = f"{stack.unique('hidden')}@example.org"
    stack.postgres.query("INSERT INTO users (email, password_hash) VALUES (%s, 'x')", email)
    try:
        assert stack.client.get("/health").json()["users_count"] == before
    finally:
        stack.postgres.query("DELETE FROM users WHERE email = %s", email)


def test_uptime_grows(stack):
    before = stack.client.get("/health").json()["uptime_seconds"]
    wait_for(lambda: stack.client.get("/health").json()["uptime_seconds"] > before, 5, every_s=0.1)


@pytest.mark.parametrize("path, status", [("/health/live", "alive"), ("/health/ready", "ready")])
def test_live_and_ready(client, path, status):
    answer = client.get(path)
    assert (answer.status, answer.json()) == (200, {"status": status})
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_below_the_prefix_and_with_a_bad_token(client, path):
    assert client.get("/api/v1" + path).status == 200
    assert client.get(path, token="nonsense").status == 200


def test_tells_nothing_of_the_inside(stack):
    text = stack.client.get("/health").text
    for secret in (str(stack.dir), "redis.sock", "dbname"):
        assert secret not in text
