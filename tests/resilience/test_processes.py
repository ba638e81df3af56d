# SPDX-License-Identifier: Apache-2.0
"""Workers that die, pools that stop and are reloaded, in the middle of a load."""
import os
import signal
import subprocess
import time

import pytest

from env.load import Load
from env.servers import process_alive
from env.wait import wait_for


@pytest.fixture(scope="module")
def busy(make_stack):
    return make_stack(drain_s=10)


def test_killed_workers_lose_nothing_and_are_replaced(busy):
    with Load(busy) as load:
        for _ in range(8):
            before = load.count
            victims = wait_for(lambda: busy.ingest.workers, what="a worker")
            os.kill(victims[0], signal.SIGKILL)
            wait_for(lambda: not process_alive(victims[0]), what="its end")
            wait_for(lambda: load.count > before + 20, what="events after a worker was killed")
    assert load.count > 160
    # What was under way is answered by nginx: try again. Nothing else may happen.
    assert all(refusal == (503, True) for refusal in load.refused), set(load.refused)
    assert not load.broken
    load.check_stored()


def test_a_killed_worker_is_replaced_within_a_second(busy):
    wait_for(lambda: len(busy.api.workers) == 2, what="both workers")
    for _ in range(3):
        victim = busy.api.workers[0]
        os.kill(victim, signal.SIGKILL)
        started = time.monotonic()
        wait_for(lambda: len(busy.api.workers) == 2 and victim not in busy.api.workers, 10, every_s=0.005)
        # The bound is the promise itself; process creation takes some milliseconds.
        assert time.monotonic() - started < 1
    assert busy.client.get("/health/live").status == 200
    told = [line for line in busy.api.log() if "starting another" in line["message"]]
    assert len(told) >= 3


def test_reload_under_load_cuts_and_refuses_nothing(busy):
    master = busy.ingest.pid
    with Load(busy) as load:
        for _ in range(6):
            old = set(busy.ingest.workers)
            before = load.count
            for pool in (busy.auth, busy.ingest, busy.api):
                pool.signal(signal.SIGHUP)
            wait_for(lambda: busy.ingest.workers and not old & set(busy.ingest.workers), 30, "new workers alone")
            wait_for(lambda: load.count > before + 20, what="events after a reload")
    assert busy.ingest.pid == master  # the process id stays, so a supervisor notices nothing
    assert load.refused == []
    assert load.broken == []
    assert all(status == 201 for status in load.acknowledged.values())
    load.check_stored()


def test_reload_takes_new_settings_and_keeps_the_counts(make_stack):
    stack = make_stack()
    uptime = wait_for(lambda: stack.client.get("/health").json()["uptime_seconds"], what="a second of uptime")
    assert len(stack.api.workers) == 2
    with stack.config.open("a") as settings:
        settings.write("\napi_workers = 3\n")
    stack.api.signal(signal.SIGHUP)
    wait_for(lambda: len(stack.api.workers) == 3, what="three workers")
    wait_for(lambda: stack.client.get("/health/ready").status == 200, what="readiness")
    assert stack.client.get("/health").json()["uptime_seconds"] >= uptime  # the memory went along


def test_reload_refuses_settings_that_would_not_start(make_stack):
    stack = make_stack()
    good = stack.config.read_text()
    workers = set(stack.api.workers)
    stack.config.write_text(good + "\nno_such_key = 1\n")
    stack.api.signal(signal.SIGHUP)
    wait_for(lambda: "reload refused" in stack.api.log_text, what="the refusal")
    assert "unknown key 'no_such_key'" in stack.api.log_text
    assert set(stack.api.workers) == workers
    assert stack.client.get("/health/ready").status == 200
    stack.config.write_text(good)
    stack.api.signal(signal.SIGHUP)
    wait_for(lambda: stack.api.workers and not workers & set(stack.api.workers), what="new workers")
    assert stack.client.get("/health/ready").status == 200


def test_a_stop_finishes_what_runs(make_stack):
    stack = make_stack(drain_s=10)
    with Load(stack) as load:
        for _ in range(3):
            before = load.count
            wait_for(lambda: load.count > before + 20, what="events")
            stack.ingest.stop(signal.SIGTERM)
            assert "requests still run after drain_s" not in stack.ingest.log_text
            stack.up()
    assert all(refusal == (503, True) for refusal in load.refused), set(load.refused)
    assert not load.broken
    # Every event that was stored was also acknowledged: no answer was cut by the stop.
    load.check_stored()
    stored = stack.postgres.value("SELECT count(*) FROM events WHERE workspace_id = %s", load.user.workspace)
    assert stored == load.count


def test_workers_follow_a_master_that_was_killed(make_stack):
    stack = make_stack()
    workers = stack.api.workers
    os.kill(stack.api.pid, signal.SIGKILL)
    wait_for(lambda: not any(map(process_alive, workers)), what="the end of the workers")
    assert "the master is gone" in stack.api.log_text
    stack.up()
    assert stack.client.get("/health/ready").status == 200


def test_one_connection_wakes_one_thread(make_stack):
    """All threads of all workers wait for the same listener; EPOLLEXCLUSIVE must wake just one."""
    stack = make_stack(api_workers=2, api_threads=16)

    def switches():
        total = 0
        for worker in stack.api.workers:
            for task in os.listdir(f"/proc/{worker}/task"):
                with open(f"/proc/{worker}/task/{task}/status", encoding="ascii") as status:
                    total += sum(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt"))
        return total

    requests = 200
    stack.client.get("/health/live")
    before = switches()
    for _ in range(requests):
        assert stack.client.get("/health/live").status == 200
    per_request = (switches() - before) / requests
    # A request that is served by the thread that woke costs a few switches; 32 threads that all wake
    # would cost 32. The housekeepers add four a second each.
    assert per_request < 8, per_request


@pytest.mark.parametrize("pool", ["auth", "ingest", "api"])
def test_a_listener_that_is_none_stops_the_start(busy, pool):
    done = busy.program("tallygate-fcgi", "--pool", pool, "--config", str(busy.config))
    assert done.returncode == 1
    assert "descriptor 0 is not a listening socket" in done.stderr


def test_usage_is_told():
    from env.wait import BUILD

    done = subprocess.run([str(BUILD / "tallygate-fcgi")], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage: tallygate-fcgi" in done.stderr
