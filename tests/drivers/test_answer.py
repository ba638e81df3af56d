# SPDX-License-Identifier: Apache-2.0
"""src/analytics/answer.c with a Redis that two workers share, that lies, hangs and is gone."""
import base64
import hashlib
import itertools
import json

import pytest

from env.driver import Driver
from env.lone_redis import LoneRedis
from env.wait import wait_for

HIT, MISS = "tallygate; hit", "tallygate; fwd=miss"
TIMEOUT_MS = 200


def key_of(workspace, user, version):
    return f"usage|ws={workspace}|user_id={len(user)}:{user}#{version}".encode()


def name_of(workspace, user="u", version=0):
    digest = base64.urlsafe_b64encode(hashlib.sha256(key_of(workspace, user, version)).digest()).rstrip(b"=").decode()
    return f"tallygate:answer:1:{workspace}:{digest}"


class Answer:
    def __init__(self, line):
        self.status, process, in_redis, took_us, body = line.split("\t")
        self.hits = (int(process), int(in_redis))
        self.took_ms = int(took_us) / 1000
        self.body = json.loads(body)
        self.made = (self.body["maker"], self.body["number"])


class Worker:
    def __init__(self, server, name):
        self.driver = Driver("answer_driver", server.url, name)

    def ask(self, workspace=1, user="u", version=0):
        answer = Answer(self.driver.ask(f"{workspace} {user} {version}"))
        assert answer.body["workspace"] == workspace
        return answer


@pytest.fixture
def server():
    running = LoneRedis()
    yield running
    running.remove()


@pytest.fixture
def workers(server):
    """A process for each host, as it were."""
    made = [Worker(server, name) for name in ("one", "two")]
    yield made
    for worker in made:
        worker.driver.end()


def test_workers_share_what_is_over(server, workers):
    one, two = workers
    assert (one.ask().status, one.ask().made, one.ask().hits) == (MISS, ("one", 1), (2, 0))
    theirs = two.ask()
    assert (theirs.status, theirs.made, theirs.hits) == (HIT, ("one", 1), (0, 1))
    assert two.ask().hits == (1, 1), "now it is their own"
    assert two.ask(version=1).made == ("two", 1), "of what came since"
    assert one.ask(version=1).made == ("two", 1)
    assert {key.decode() for key in server.client().keys()} == {name_of(1), name_of(1, version=1)}


def test_how_it_lies_in_redis(server, workers):
    workers[0].ask(7, "u|x=1")
    name = name_of(7, "u|x=1")
    assert server.client().get(name) == key_of(7, "u|x=1", 0) + b'\0{"maker":"one","number":1,"workspace":7}\n'
    assert 3_500_000 < server.client().pttl(name) <= 3_600_000


def test_each_tenant_has_its_own(workers):
    assert workers[0].ask(1).made == ("one", 1)
    assert workers[0].ask(2).made == ("one", 2)
    assert workers[1].ask(2).made == ("one", 2)
    assert workers[1].ask(11).made == ("two", 1)
    assert workers[1].ask(1, "u1").made == ("two", 2)


@pytest.mark.parametrize("poison", [
    key_of(2, "u", 0) + b'\0{"workspace":2}', key_of(1, "v", 0) + b'\0{"workspace":1}',
    key_of(1, "u", 1) + b'\0{"workspace":1}', b'\0{"workspace":1}', b"\0", b"x",
    key_of(1, "u", 0), key_of(1, "u", 0) + b"\0", key_of(1, "u", 0) + b'1\0{"workspace":1}',
    key_of(1, "u", 0) + b'{"workspace":1}', key_of(1, "u", 0) + b'\0{"workspace":1', key_of(1, "u", 0) + b"\0<html>",
])
def test_what_does_not_belong_there_is_a_miss(server, workers, poison):
    server.client().set(name_of(1), poison)
    answer = workers[0].ask()
    assert (answer.status, answer.made) == (MISS, ("one", 1))
    assert workers[1].ask().made == ("one", 1), "and is put right"


def test_larger_than_any_of_ours_is_a_miss(server, workers):
    server.client().set(name_of(1), key_of(1, "u", 0) + b'\0"' + b"x" * 3_000_000 + b'"')
    assert workers[0].ask().status == MISS


def test_other_types_are_a_miss(server, workers):
    server.client().rpush(name_of(1), "x")
    assert workers[0].ask().status == MISS
    assert workers[1].ask().made == ("one", 1)


def test_without_redis_each_worker_keeps_its_own(server, workers):
    server.stop()
    one, two = workers
    assert one.ask().made == one.ask().made == ("one", 1)
    assert two.ask().made == two.ask().made == ("two", 1)
    assert one.ask().hits == (2, 0)
    server.start()
    users = itertools.count()
    wait_for(lambda: one.ask(user=f"u{next(users)}") and server.client().dbsize(), what="healing")


def test_one_that_hangs_delays_one_answer(server, workers):
    one, _ = workers
    one.ask()
    server.hang()
    times = [one.ask(user=f"u{n}").took_ms for n in range(20)]
    slow = [n for n, took_ms in enumerate(times) if took_ms >= TIMEOUT_MS]
    assert slow and slow[0] == 0, "who finds out waits once, and does not ask again to store"
    assert times[0] < 2 * TIMEOUT_MS
    assert len(slow) <= 4, "now and then one looks whether it is back"
    server.resume()
