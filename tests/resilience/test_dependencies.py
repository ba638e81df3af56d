# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL and Redis that go away, hang and come back."""
import os
import signal
import socket
import threading

import pytest

from env.load import Load
from env.servers import process_children
from env.wait import wait_for


@pytest.fixture(scope="module")
def frail(make_stack):
    return make_stack(ingest_wait_ms=2000, database_timeout_ms=1500)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_postgresql_restarts_in_a_load_lose_and_double_nothing(frail, how):
    with Load(frail) as load:
        for _ in range(3):
            before = load.count
            wait_for(lambda: load.count > before + 50, what="events")
            frail.postgres.stop(how)
            frail.up()
    assert all(refusal == (503, True) for refusal in load.refused), set(load.refused)
    assert not load.broken
    load.check_stored()


def test_postgresql_killed_by_9_loses_and_doubles_nothing(frail):
    with Load(frail) as load:
        for _ in range(3):
            before = load.count
            wait_for(lambda: load.count > before + 50, what="events")
            family = [frail.postgres.pid, *process_children(frail.postgres.pid)]
            for pid in family:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            wait_for(lambda: frail.postgres.pid is None, what="its end")
            frail.up()
    assert all(refusal == (503, True) for refusal in load.refused), set(load.refused)
    load.check_stored()


def test_without_postgresql_all_pools_answer_503_and_heal(make_stack):
    frail = make_stack(ingest_wait_ms=2000)
    user = frail.new_user()
    workers = [*frail.auth.workers, *frail.ingest.workers, *frail.api.workers]
    lines = {pool: len(pool.log()) for pool in (frail.auth, frail.ingest, frail.api)}
    frail.postgres.stop()
    try:
        for _ in range(15):
            for answer in (
                frail.client.post("/auth/login", {"email": user.email, "password": user.password}),
                user.get("/auth/profile"),
                user.get("/analytics/metrics"),
                frail.client.get("/health/ready"),
            ):
                assert answer.status == 503, answer
                assert answer.headers["Retry-After"]
                assert answer.media_type == "application/problem+json"
        answer = user.post("/analytics/events", {"type": "api_call", "value": 1, "user_id": "u"})
        assert answer.status == 503 and answer.headers["Retry-After"]
        health = frail.client.get("/health")
        assert health.status == 503
        assert health.json()["status"] == "unhealthy"
        assert health.json()["database_connected"] is False
        assert frail.client.get("/health/live").status == 200
    finally:
        frail.up()
    wait_for(lambda: user.get("/analytics/metrics").status == 200, what="healing")
    assert user.post("/analytics/events", {"type": "api_call", "value": 1, "user_id": "u"}).status == 201
    assert user.login().token
    # Nobody was restarted for it.
    assert [*frail.auth.workers, *frail.ingest.workers, *frail.api.workers] == workers
    # No flood: besides the lines of requests, two a process for going and coming.
    for pool, before in lines.items():
        told = [line for line in pool.log()[before:] if "status" not in line]
        assert len(told) <= 4 * len(pool.workers), [line["message"] for line in told]
        assert any("PostgreSQL is away" in line["message"] for line in told)
        assert any("PostgreSQL is back" in line["message"] for line in told)


def test_a_postgresql_that_hangs_is_given_up(frail):
    """A stopped process accepts connections and answers nothing: only deadlines help."""
    user = frail.new_user()
    assert user.get("/analytics/metrics").status == 200
    family = [frail.postgres.pid, *process_children(frail.postgres.pid)]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert user.get("/analytics/metrics").status == 503
        answer = user.post("/analytics/events", {"type": "api_call", "value": 1, "user_id": "u", "id": "hung"})
        assert answer.status == 503
    finally:
        for pid in reversed(family):
            os.kill(pid, signal.SIGCONT)
    wait_for(lambda: user.get("/analytics/metrics").status == 200, what="healing")
    # The unanswered event may or may not have got through; sent again with its id it counts once.
    wait_for(lambda: user.post("/analytics/events", {"type": "api_call", "value": 1, "user_id": "u", "id": "hung"}).status
             in (200, 201), what="the event")
    assert user.get("/analytics/metrics").json()["total_metrics"] == 1


def test_a_start_without_postgresql_heals(make_stack):
    stack = make_stack()
    user = stack.new_user()
    stack.postgres.stop()
    for pool in (stack.api, stack.ingest, stack.auth):
        old = set(pool.workers)
        pool.signal(signal.SIGHUP)  # new workers, which never saw a database
        wait_for(lambda pool=pool, old=old: pool.workers and not old & set(pool.workers), 30, "new workers")
    assert stack.client.get("/health/live").status == 200
    assert user.get("/auth/verify").status == 503
    stack.up()
    wait_for(lambda: user.get("/auth/verify").status == 200, what="healing")
    event = {"type": "api_call", "value": 1, "user_id": "u"}
    wait_for(lambda: user.post("/analytics/events", event).status == 201, what="healing of the other pool")


def test_redis_away_degrades_and_heals(make_stack):
    stack = make_stack()
    user = stack.new_user()
    assert stack.client.get("/health").json()["status"] == "healthy"
    stack.redis.stop()
    health = stack.client.get("/health")
    assert health.status == 200
    assert health.json()["status"] == "degraded"
    assert health.json()["dependencies"]["redis"] == {"status": "down", "latency_ms": None}
    assert stack.client.get("/health/ready").status == 200
    user.record()
    assert user.get("/analytics/metrics").json()["total_metrics"] == 1
    assert user.login().token
    stack.up()
    wait_for(lambda: stack.client.get("/health").json()["status"] == "healthy", what="healing")


def test_a_database_that_takes_no_writes_floods_no_log(make_stack):
    """As after a fail-over: connecting works, reading works, each write is refused."""
    stack = make_stack(ingest_wait_ms=500)
    user = stack.new_user()
    stack.postgres.query("ALTER DATABASE tallygate SET default_transaction_read_only = on", user="postgres")
    stack.postgres.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ 'tallygate'",
                         database="postgres", user="postgres")
    before = {pool: len(pool.log()) for pool in (stack.auth, stack.ingest, stack.api)}
    for _ in range(4):
        answer = user.post("/analytics/events", {"type": "api_call", "value": 1, "user_id": "u"})
        assert answer.status == 503 and answer.headers["Retry-After"]
        login = stack.client.post("/auth/login", {"email": user.email, "password": user.password})
        assert login.status == 503, login
    for pool, start in before.items():
        told = [line["message"] for line in pool.log()[start:] if "status" not in line]
        assert len(told) <= 4 * len(pool.workers), told
    stack.postgres.query("ALTER DATABASE tallygate SET default_transaction_read_only = off",
                         database="postgres", user="postgres")
    wait_for(lambda: user.post("/analytics/events", {"type": "api_call", "value": 1, "user_id": "u"}).status == 201,
             what="healing")


def test_the_next_host_is_tried_when_one_hangs(make_stack):
    """A host that takes connections and says nothing: each has its own limit, so the second is reached."""
    stack = make_stack()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        port = silent.getsockname()[1]
        conninfo = f"host=127.0.0.1,{stack.dir}/run/pg port={port},5432 dbname=tallygate user=tallygate"
        done = stack.program("tallygatectl", "--config", str(stack.config), "migrate", "status",
                             env={"DATABASE_URL": conninfo})
    assert done.returncode == 0, done.stderr
    assert "0001_accounts" in done.stdout


def test_a_full_queue_refuses_at_once(make_stack):
    stack = make_stack(ingest_queue_events=1000, ingest_wait_ms=6000)
    user = stack.new_user()
    events = [{"type": "t", "value": 1, "user_id": "u"}] * 600
    stack.postgres.stop()
    answers = []

    def send():
        answers.append(stack.new_client(user.token).post("/analytics/metrics/batch", {"events": events}))

    # Whichever comes first waits in the queue for the database; there is no room for the other.
    both = [threading.Thread(target=send) for _ in range(2)]
    for thread in both:
        thread.start()
    wait_for(lambda: answers, what="the refusal of one")
    assert len(answers) == 1, "the other should still be waiting"
    for thread in both:
        thread.join()
    for answer in answers:
        assert answer.status == 503 and answer.headers["Retry-After"]
    stack.up()
    wait_for(lambda: user.post("/analytics/metrics/batch", {"events": events}).status == 200, what="healing")
    assert user.get("/analytics/metrics").json()["total_metrics"] == 600


def test_an_unknown_outcome_is_settled(frail):
    """The connection is cut while statements run: each event is answered, and counts once."""
    with Load(frail, threads=8) as load:
        for _ in range(15):
            before = load.count
            frail.postgres.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tallygate-ingest'",
                database="postgres", user="postgres")
            wait_for(lambda: load.count > before + 10, what="events after a cut connection")
    assert load.refused == []
    # Its own earlier success reads as recorded, not as a duplicate.
    assert set(load.acknowledged.values()) == {201}
    load.check_stored()
