# SPDX-License-Identifier: Apache-2.0
"""Domain events in Redis' stream: a database, a Redis and tallygate-jobd of the test's own, and groups of readers as other programs have them."""
import json
import signal

import pytest

from env.database import new_database
from env.jobd import Jobd
from env.lone_redis import LoneRedis
from env.wait import wait_for

KEY, KEPT = "tallygate:events", 1000


class World:
    def __init__(self, database, redis, folder):
        self.database, self.redis = database, redis
        self.folder = folder
        self.jobds = []
        self.workspace = database.new_workspace()
        self.told = 0

    def start(self):
        folder = self.folder / str(len(self.jobds))
        folder.mkdir()
        self.jobds.append(Jobd(self.database, folder, redis_url=self.redis.url))
        return self.jobds[-1].start()

    def tell(self, count=1):
        self.database.query("INSERT INTO event_outbox (id, type, subject, workspace_id, platform, user_id, data) SELECT gen_random_uuid(), 'apikey.created', "
                            "'apikey:' || n %% 7, %s, false, NULL, jsonb_build_object('n', n) FROM generate_series(%s, %s) n", self.workspace, self.told + 1,
                            self.told + count)
        self.told += count

    def sent(self):
        return self.database.value("SELECT sent_no FROM event_stream")

    def wait_until_sent(self):
        wait_for(lambda: self.sent() == self.told, 30, "all to be sent")

    def entries(self):
        return [(int(id.split(b"-")[0]), json.loads(fields[b"event"])) for id, fields in self.redis.client().xrange(KEY)]

    def read(self, group, count=100000, acknowledge=True, old=False):
        found = self.redis.client().xreadgroup(group, "reader", {KEY: "0" if old else ">"}, count)
        entries = found[0][1] if found else []
        if acknowledge and entries:
            self.redis.client().xack(KEY, group, *[id for id, _ in entries])
        return [json.loads(fields[b"event"])["data"]["n"] for _, fields in entries if fields]

    def confirmed(self, group):
        rows = self.database.query("SELECT confirmed_no FROM event_stream_groups WHERE name = %s", group)
        return rows[0][0] if rows else None


@pytest.fixture
def world(stack, tmp_path):
    redis = LoneRedis()
    with new_database(stack) as database:
        made = World(database, redis, tmp_path)
        yield made
        for jobd in made.jobds:
            jobd.stop()
    redis.remove()


def test_all_in_order_with_their_numbers(world):
    world.tell(200)
    world.start()
    world.wait_until_sent()
    assert [number for number, _ in world.entries()] == list(range(1, 201))
    assert [event["data"]["n"] for _, event in world.entries()] == list(range(1, 201))
    [first] = world.redis.client().xrange(KEY, count=1)
    assert first[1][b"type"] == b"apikey.created"
    event = json.loads(first[1][b"event"])
    assert set(event) == {"id", "type", "workspace_id", "data", "timestamp", "correlation_id"} and event["workspace_id"] == world.workspace


def test_what_all_have_read_is_cut_off(world):
    for group in ("quick", "slow"):
        world.redis.client().xgroup_create(KEY, group, "0", mkstream=True)
    world.start()
    world.tell(KEPT + 500)
    world.wait_until_sent()
    assert world.read("quick") == list(range(1, KEPT + 501))
    world.tell(10)
    wait_for(lambda: world.confirmed("quick") == KEPT + 500 and world.confirmed("slow") == 0, 30, "it to be noted")
    world.wait_until_sent()
    assert world.redis.client().xlen(KEY) == KEPT + 510  # slow has not read yet
    assert world.read("slow", 800) == list(range(1, 801))
    world.read("slow", 500)
    # What was given and not acknowledged is not confirmed.
    assert world.read("slow", acknowledge=False) == list(range(KEPT + 301, KEPT + 511))
    wait_for(lambda: world.confirmed("slow") == KEPT + 300, 30, "it to be noted")
    world.tell()
    wait_for(lambda: world.entries()[0][0] == 300, 30, "what both have read to go")


def test_a_redis_that_comes_back_empty_gets_what_was_not_confirmed(world):
    world.start()
    world.tell(50)
    world.wait_until_sent()
    for group in ("ahead", "behind"):
        world.redis.client().xgroup_create(KEY, group, "0")
    ids = {event["data"]["n"]: event["id"] for _, event in world.entries()}
    assert world.read("ahead") == list(range(1, 51)) and world.read("behind", 20) == list(range(1, 21))
    assert world.read("behind", 10, acknowledge=False) == list(range(21, 31))
    wait_for(lambda: (world.confirmed("ahead"), world.confirmed("behind")) == (50, 20), 30, "it to be noted")
    world.redis.stop()
    world.tell(30)
    wait_for(lambda: world.database.value("SELECT NOT reached FROM event_stream"), 30, "it to be missed")
    world.redis.start()
    world.wait_until_sent()
    assert [number for number, _ in world.entries()] == list(range(21, 81))
    assert world.read("ahead") == list(range(51, 81))
    assert world.read("behind") == list(range(21, 81))
    assert {event["data"]["n"]: event["id"] for _, event in world.entries() if event["data"]["n"] <= 50}.items() <= ids.items()


def test_also_when_a_reader_made_its_group_first(world):
    world.start()
    world.tell(30)
    world.wait_until_sent()
    world.redis.client().xgroup_create(KEY, "reader", "0")
    world.read("reader", 10)
    wait_for(lambda: world.confirmed("reader") == 10, 30, "it to be noted")
    world.redis.client().flushall()
    world.redis.client().xgroup_create(KEY, "reader", "0", mkstream=True)
    world.tell()
    wait_for(lambda: world.redis.client().xlen(KEY) == 21, 30, "what it lacks")
    assert world.read("reader") == list(range(11, 32))


def test_a_group_that_is_destroyed_holds_nothing(world):
    world.start()
    world.tell()
    world.wait_until_sent()
    world.redis.client().xgroup_create(KEY, "gone", "0")
    wait_for(lambda: world.confirmed("gone") == 0, 30, "it to be seen")
    world.redis.client().xgroup_destroy(KEY, "gone")
    wait_for(lambda: world.confirmed("gone") is None, 30, "it to be forgotten")


def test_without_readers_the_last_ones_are_there(world):
    world.start()
    world.tell(KEPT + 300)
    world.wait_until_sent()
    world.tell(100)
    wait_for(lambda: world.entries()[0][0] >= 300, 30, "the first to go")
    world.redis.client().flushall()
    world.tell()
    wait_for(lambda: len(world.entries()) == KEPT + 1, 30, "the last ones")


def test_nothing_is_lost_whoever_is_killed(world):
    """jobd, the connections of the database and Redis, again and again, while a group reads: it sees each event, in order but for repeats."""
    world.redis.client().xgroup_create(KEY, "reader", "0", mkstream=True)
    seen = []
    process = world.start()
    for round in range(8):
        world.tell(150)
        if round % 4 == 1:
            process.send_signal(signal.SIGKILL)
            process.wait(30)
            process = world.start()
        elif round % 4 == 2:
            world.database.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        elif round % 4 == 3:
            wait_for(lambda: world.confirmed("reader") is not None, 30, "the group to be known")
            world.redis.stop()
            world.redis.start()
        wait_for(lambda: world.redis.client().exists(KEY), 30, "the stream")
        wait_for(lambda: world.redis.client().xinfo_groups(KEY), 30, "the group")
        seen += world.read("reader", 70)
    world.wait_until_sent()
    wait_for(lambda: seen.extend(world.read("reader")) or len(set(seen)) == world.told, 30, "all")
    assert list(dict.fromkeys(seen)) == list(range(1, world.told + 1))


def test_a_database_of_earlier_goes_on_behind_the_stream(world):
    """As after a restore: the stream has numbers that are to come, and what is told now gets others."""
    world.start()
    world.tell(30)
    world.wait_until_sent()
    world.redis.client().xgroup_create(KEY, "reader", "0")
    assert world.read("reader") == list(range(1, 31))
    wait_for(lambda: world.confirmed("reader") == 30, 30, "it to be noted")
    world.database.query("DELETE FROM domain_events WHERE no > 20")
    world.database.query("UPDATE event_relay SET last_no = 20")
    world.database.query("UPDATE event_stream SET sent_no = 20")
    world.tell(5)
    wait_for(lambda: len(world.entries()) == 35, 30, "them")
    assert world.read("reader") == list(range(31, 36)) and [number for number, _ in world.entries()][-5:] == list(range(31, 36))


def test_a_redis_of_earlier_has_its_groups_again(world):
    """It has all events, but not the group that was made last."""
    world.start()
    world.tell(20)
    world.wait_until_sent()
    client = world.redis.client()
    client.xgroup_create(KEY, "reader", "0")
    assert world.read("reader", 15) == list(range(1, 16))
    wait_for(lambda: world.confirmed("reader") == 15, 30, "it to be noted")
    entries = client.xrange(KEY)
    world.redis.stop()
    world.redis.start()
    pipeline = world.redis.client().pipeline(transaction=True)
    for id, fields in entries:
        pipeline.xadd(KEY, fields, id=id)
    pipeline.execute()
    wait_for(lambda: world.redis.client().xinfo_groups(KEY), 30, "the group")
    assert world.read("reader")[-5:] == list(range(16, 21)) and world.confirmed("reader") is not None


def test_names_that_are_none_stop_nobody(world):
    client = world.redis.client()
    for name in (b"\xff", b"x" * 300, b"fine"):
        client.xgroup_create(KEY, name, "0", mkstream=True)
    world.start()
    world.tell(20)
    world.wait_until_sent()
    wait_for(lambda: world.confirmed("fine") == 0, 30, "the one that can be kept")
    assert world.database.value("SELECT count(*) FROM event_stream_groups") == 1 and len(world.entries()) == 20
