# SPDX-License-Identifier: Apache-2.0
"""src/store/redis.c against a Redis that answers, is gone, hangs or refuses."""
import time

import pytest

from env.driver import Driver
from env.lone_redis import LoneRedis
from env.wait import wait_for

TIMEOUT_MS = 200
LONG_MS = 3600 * 1000


class Connections:
    """Four connections of one process."""

    def __init__(self, url, timeout_ms=TIMEOUT_MS):
        self.driver = Driver("redis_driver", url, timeout_ms)

    def run(self, line):
        """(what came of it, milliseconds, bytes)"""
        result, took_us, value = self.driver.ask(line).split(" ")
        return result, int(took_us) / 1000, bytes.fromhex(value)

    def ping(self, n=0):
        return self.run(f"{n} ping")[0]

    def get(self, key, max_bytes=100000, n=0):
        """The value, or what came instead."""
        result, _, value = self.run(f"{n} get {key.hex()} {max_bytes}")
        return value if result == "ok" else result

    def set(self, key, value, ttl_ms=LONG_MS, n=0):
        return self.run(f"{n} set {key.hex()} {value.hex()} {ttl_ms}")[0]

    def took_ms(self, n=0):
        result, took_ms, _ = self.run(f"{n} get 6b 100")
        assert result == "away"
        return took_ms


@pytest.fixture
def server():
    running = LoneRedis()
    yield running
    running.remove()


@pytest.fixture
def connections(server):
    made = Connections(server.url)
    yield made
    made.driver.end()


def test_what_is_set_is_got(server, connections):
    assert connections.get(b"k") == "miss"
    assert connections.set(b"k", b"value") == "ok"
    assert connections.get(b"k") == b"value"
    assert connections.get(b"k", n=1) == b"value"
    assert server.client().get("k") == b"value"
    assert connections.set(b"k", b"other") == "ok"
    assert connections.get(b"k") == b"other"
    assert connections.ping() == "ok"


def test_keys_and_values_are_bytes(connections):
    everything = bytes(range(256))
    assert connections.set(b"\0\r\n$" + everything, everything * 2) == "ok"
    assert connections.get(b"\0\r\n$" + everything) == everything * 2
    assert connections.get(b"\0") == "miss"


def test_ends_after_its_time(server, connections):
    assert connections.set(b"long", b"v", LONG_MS) == "ok"
    assert 0 < server.client().pttl("long") <= LONG_MS
    assert connections.set(b"short", b"v", 1) == "ok"
    wait_for(lambda: connections.get(b"short") == "miss", what="the end of a value")
    assert connections.get(b"long") == b"v"


def test_larger_than_wanted_is_a_miss(server, connections):
    assert connections.set(b"k", b"x" * 1000) == "ok"
    assert connections.get(b"k", max_bytes=1000) == b"x" * 1000
    assert connections.get(b"k", max_bytes=999) == "miss"
    server.client().set("huge", b"x" * 100_000_000)
    before = server.client().info("stats")["total_net_output_bytes"]
    assert connections.get(b"huge", max_bytes=1000) == "miss"
    sent = server.client().info("stats")["total_net_output_bytes"] - before
    assert sent < 100_000, "nor is it sent"
    assert connections.get(b"k") == b"x" * 1000


def test_other_types_are_a_miss(server, connections):
    server.client().rpush("list", "x")
    server.client().hset("hash", "a", "b")
    assert connections.get(b"list") == "miss"
    assert connections.get(b"hash") == "miss"
    assert connections.set(b"list", b"v") == "ok"
    assert connections.get(b"list") == b"v"


def test_a_full_redis_refuses_and_can_be_read(server, connections):
    assert connections.set(b"k", b"v") == "ok"
    server.client().config_set("maxmemory", 1)
    assert connections.set(b"other", b"v") == "away"
    assert connections.get(b"k") == b"v", "the connection goes on"
    server.client().config_set("maxmemory", 0)
    assert connections.set(b"other", b"v") == "ok"


def test_idle_over_a_restart(server, connections):
    """No command is lost to a connection that was closed meanwhile."""
    assert connections.set(b"k", b"v") == "ok"
    server.stop()
    server.start()
    assert connections.get(b"k") == "miss"
    assert connections.set(b"k", b"v") == "ok"


def test_gone_and_back(server, connections):
    assert connections.ping() == "ok"
    assert connections.ping(1) == "ok"
    server.stop()
    for n in range(4):
        assert connections.get(b"k", n=n) == "away"
        assert connections.set(b"k", b"v", n=n) == "away"
    server.start()
    wait_for(lambda: connections.set(b"k", b"v") == "ok", what="healing")
    assert [connections.get(b"k", n=n) for n in range(4)] == [b"v"] * 4
    log = connections.driver.end()
    assert log.count("Redis is away") == 1
    assert log.count("Redis is back") == 1


def test_one_that_hangs_costs_one_timeout(server):
    """Then all connections of the process do without, but for one look when the backoff is over."""
    connections = Connections(server.url)
    for n in range(3):
        assert connections.ping(n) == "ok"
    server.hang()
    assert TIMEOUT_MS <= connections.took_ms() < 5 * TIMEOUT_MS, "the first finds out"
    start = time.monotonic()
    slow, quick = 0, 0
    while time.monotonic() - start < 3:
        for n in range(4):  # the fourth was never connected
            if connections.took_ms(n) >= TIMEOUT_MS:
                slow += 1
            else:
                quick += 1
    # After 50, 100, 200, 400, 800 and 1000 ms of backoff; a Redis that can be connected to is not back.
    assert slow <= 5
    assert quick > 100
    server.resume()
    wait_for(lambda: connections.ping() == "ok", what="healing")
    assert connections.set(b"k", b"v", n=3) == "ok"
    assert connections.get(b"k", n=1) == b"v", "no reply of an earlier command"
    log = connections.driver.end()
    assert log.count("Redis is away") == 1
    assert log.count("Redis is back") == 1


def test_replies_do_not_mix_after_a_timeout(server):
    connections = Connections(server.url, 50)
    assert connections.set(b"a", b"of a") == "ok"
    assert connections.set(b"b", b"of b") == "ok"
    for _ in range(5):
        server.hang()
        wait_for(lambda: connections.get(b"a") == "away", what="a time-out")
        server.resume()
        wait_for(lambda: connections.get(b"b") != "away", what="healing")
        assert connections.get(b"b") == b"of b"
    connections.driver.end()


def test_password(server):
    server.client().config_set("requirepass", "pw")
    without = Connections(server.url)
    assert without.ping() == "away"
    assert without.get(b"k") in ("miss", "away")
    assert "NOAUTH" in without.driver.end()


def test_none_in_the_settings():
    connections = Connections("")
    assert connections.ping() == "away"
    assert connections.get(b"k") == "away"
    assert connections.set(b"k", b"v") == "away"
    assert connections.driver.end() == ""
