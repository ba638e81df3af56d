# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random moments: two tallygate-jobd, PostgreSQL and Redis, while jobs run, the schedule is due and events are carried on.

Twenty seconds of it; TALLYGATE_MAYHEM_S makes it longer. What must hold in the end: each job was done, each event reached webhook, stream and
figures (where a repeat has the same id), in order of each subject, nothing is held by anybody, and no minute of the schedule ran twice.
"""
import collections
import json
import os
import random
import signal
import time

import psycopg2
import redis

from env.database import new_database
from env.jobd import Jobd
from env.receiver import Receiver
from env.servers import process_alive, process_children
from env.wait import wait_for

SECONDS = float(os.environ.get("TALLYGATE_MAYHEM_S", "20"))
SUBJECTS, PIECE, JOBS, BEHIND = 50, 100, 40, 3000
KEY = "tallygate:events"


def kill(server):
    family = [server.pid, *process_children(server.pid)]
    for pid in family:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    wait_for(lambda: not any(map(process_alive, family)), 30, "the end of them")


class Mayhem:
    def __init__(self, stack, database, folder, receiver):
        self.stack, self.database, self.receiver = stack, database, receiver
        self.source = random.Random(int(time.time()))
        self.jobds = []
        for n in range(2):
            (folder / str(n)).mkdir()
            self.jobds.append(Jobd(database, folder / str(n), webhook_allow="127.0.0.0/8", redis_url=f"unix:{stack.dir}/run/redis.sock", drain_s=20))
        self.processes = [jobd.start() for jobd in self.jobds]
        done = stack.ctl("--json", "webhook", "add", "tallygate", receiver.url(), "--types", "user.*", config=self.jobds[0].config)
        assert done.returncode == 0, done
        self.redis = redis.Redis(unix_socket_path=f"{stack.dir}/run/redis.sock")
        self.redis.xgroup_create(KEY, "reader", "0", mkstream=True)
        database.query("INSERT INTO schedules (name, cron, type, payload) VALUES ('mayhem', '* * * * *', 'nothing', '{\"of\": \"mayhem\"}')")
        self.told = self.put = 0
        self.kills = collections.Counter()
        self.read = []

    def patient(self, act):
        """Again, while PostgreSQL is away; an act is one transaction."""
        def attempt():
            try:
                act()
                return True
            except psycopg2.OperationalError:
                return False
        wait_for(attempt, 60, "PostgreSQL")

    def work(self):
        """What is written twice, as nobody knows whether the first time took effect, has the same numbers."""
        def write():
            self.database.query(
                "WITH jobs AS (INSERT INTO jobs (type, payload) SELECT 'nothing', jsonb_build_object('n', n) FROM generate_series(%s, %s) n "
                "WHERE NOT EXISTS (SELECT FROM mayhem WHERE told = %s)), marked AS (INSERT INTO mayhem VALUES (%s) ON CONFLICT DO NOTHING) "
                "INSERT INTO event_outbox (id, type, subject, workspace_id, platform, user_id, data) SELECT gen_random_uuid(), 'user.login', 'user:' || n %% %s, "
                "(SELECT id FROM workspaces WHERE platform), true, 'mayhem', jsonb_build_object('n', n) FROM generate_series(%s, %s) n "
                "WHERE NOT EXISTS (SELECT FROM mayhem WHERE told = %s) ORDER BY n",
                self.put + 1, self.put + JOBS, self.told, self.told, SUBJECTS, self.told + 1, self.told + PIECE, self.told)
        self.patient(write)
        self.told += PIECE
        self.put += JOBS

    def listen(self):
        try:
            found = self.redis.xreadgroup("reader", "one", {KEY: ">"}, 500)
            for id, fields in found[0][1] if found else []:
                self.read.append(json.loads(fields[b"event"])["data"]["n"])
                self.redis.xack(KEY, "reader", id)
        except redis.exceptions.RedisError:
            pass  # it is away, or has no group yet

    def strike(self):
        victim = self.source.choice(["jobd", "jobd", "jobd", "postgres", "redis"])
        self.kills[victim] += 1
        if victim == "jobd":
            n = self.source.randrange(2)
            self.processes[n].kill()
            self.processes[n].wait()
            self.processes[n] = self.jobds[n].start()
        else:
            kill(getattr(self.stack, victim))
            time.sleep(self.source.random() / 2)
            self.stack.up()

    def is_behind(self):
        """The receiver is no quick one: more than so much is not waited for in the end."""
        try:
            return self.database.value("SELECT count(*) FROM (SELECT FROM event_outbox UNION ALL SELECT FROM deliveries LIMIT %s) d", BEHIND) == BEHIND
        except psycopg2.OperationalError:
            return False

    def settle(self):
        def settled():
            self.listen()
            self.database.query("SELECT pg_advisory_xact_lock(hashtext('deliveries')); "
                                "UPDATE deliveries SET next_at = now() WHERE next_at > now() + interval '60 s'")
            return self.database.value("SELECT (SELECT count(*) FROM jobs WHERE type IN ('nothing', 'events.relay', 'webhooks.deliver')) + "
                                       "(SELECT count(*) FROM event_outbox) + (SELECT count(*) FROM deliveries)") == 0
        wait_for(settled, 180, "all to be done", every_s=0.5)
        wait_for(lambda: self.listen() or len(set(self.read)) == self.told, 60, "the stream to have all", every_s=0.2)


def test_kill_9_at_random(make_stack, tmp_path):
    stack = make_stack()
    with new_database(stack) as database, Receiver() as receiver:
        database.query("CREATE TABLE mayhem (told bigint PRIMARY KEY)")
        mayhem = Mayhem(stack, database, tmp_path, receiver)
        try:
            # A group that nobody has seen yet is its reader's own matter.
            wait_for(lambda: database.value("SELECT count(*) FROM event_stream_groups") == 1, 30, "the group to be known")
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                next_at = time.monotonic() + mayhem.source.uniform(0.5, 4)
                while time.monotonic() < next_at:
                    if not mayhem.is_behind():
                        mayhem.work()
                    mayhem.listen()
                    time.sleep(0.1)
                mayhem.strike()
            mayhem.settle()
            print(f"{mayhem.told} events and {mayhem.put} jobs through {dict(mayhem.kills)}; {len(receiver.at())} requests, {len(mayhem.read)} entries read")
            check(mayhem)
        finally:
            for jobd in mayhem.jobds:
                jobd.stop()


def check(mayhem):
    database, told = mayhem.database, mayhem.told
    # Each job once, as its end is told in the transaction that its runner holds it in.
    assert database.value("SELECT count(DISTINCT payload->>'n') FROM jobs_done WHERE payload ? 'n'") == mayhem.put
    assert database.value("SELECT count(*) FROM jobs_done WHERE payload ? 'n'") == mayhem.put
    assert database.value("SELECT count(*) FROM jobs WHERE state = 'running' AND started_at < now() - interval '1 minute'") == 0
    # No minute of the schedule twice.
    assert database.query("SELECT date_trunc('minute', created_at) FROM jobs_done WHERE payload->>'of' = 'mayhem' GROUP BY 1 HAVING count(*) > 1") == []
    # Figures count each event once.
    platform = database.value("SELECT id FROM workspaces WHERE platform")
    assert database.value("SELECT count(*) FROM events WHERE workspace_id = %s AND user_id = 'mayhem'", platform) == told
    assert database.value("SELECT sum(events) FROM rollup_user_day WHERE workspace_id = %s AND user_id = 'mayhem'", platform) == told
    # The webhook heard of each, in order of each subject but for repeats, which have the same id.
    order, ids = collections.defaultdict(dict), {}
    for event in mayhem.receiver.events():
        n = event["data"]["n"]
        assert ids.setdefault(n, event["id"]) == event["id"]
        order[n % SUBJECTS].setdefault(n)
    assert set(ids) == set(range(1, told + 1))
    assert all(list(numbers) == sorted(numbers) for numbers in order.values())
    assert database.value("SELECT count(*) FROM deliveries_done WHERE state <> 'delivered'") == 0
    # So did the reader of the stream, in the order in which they were carried on.
    assert set(mayhem.read) == set(range(1, told + 1))
