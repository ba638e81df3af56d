# SPDX-License-Identifier: Apache-2.0
"""A database of its own with the real schema, and committers of the test's own in it.

By these a test decides what no client can: which transactions overlap, which of them fail, and, with a
turned clock, at what instant each of them happens.
"""
import collections
import contextlib
import datetime
import uuid

from env.wait import TOP

QUERIES = TOP / "sql" / "queries"
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
LOCK_LIMIT = "30s"  # nothing here waits so long, unless it waits for ever

Attempt = collections.namedtuple("Attempt", "workspace id time type value user_id metadata receipt")
Fate = collections.namedtuple("Fate", "word time")  # recorded, duplicate or homeless; of the event that counts


HOMELESS = Fate("homeless", None)


def standing(is_own, time_us):
    """What the row that stands under its id makes of an attempt."""
    time = None if time_us is None else EPOCH + datetime.timedelta(microseconds=time_us)
    return Fate("recorded" if is_own else "duplicate", time)


def attempt(workspace, id, time, type="api_call", value="1", user_id="u", metadata=None):
    """One attempt to record an event; another attempt with the same id has another receipt."""
    return Attempt(workspace, id, time, type, value, user_id, metadata, str(uuid.uuid4()))


class Database:
    def __init__(self, stack):
        self.stack = stack
        self.name = stack.unique("db").replace("-", "_")
        self.url = stack.postgres.make_database(self.name)
        config = stack.dir / "etc" / f"{self.name}.conf"
        config.write_text(f"database_url = {self.url}\nsecret_key_file = {stack.dir}/etc/secret.key\n")
        done = stack.ctl("migrate", "up", config=config)
        config.unlink()
        assert done.returncode == 0, done.stderr
        self._open = []

    def remove(self):
        for connection in self._open:
            connection.close()
        self.stack.postgres.drop_database(self.name)

    def connect(self):
        """A connection without autocommit, which is closed in the end."""
        connection = self.stack.postgres.connect(self.name)
        connection.autocommit = False
        self._open.append(connection)
        return connection

    def query(self, sql, *params):
        return self.stack.postgres.query(sql, *params, database=self.name)

    def value(self, sql, *params):
        return self.stack.postgres.value(sql, *params, database=self.name)

    def new_workspace(self):
        return self.value("INSERT INTO workspaces (name) VALUES ('w') RETURNING id")

    def is_waiting(self, pid):
        """Whether that connection's statement waits for another transaction."""
        return self.value("SELECT cardinality(pg_blocking_pids(%s)) > 0", pid)

    def turn_clock(self):
        """Let committers that ask for it have a clock of their own. Names are looked for along the
        search_path, so a now() in a schema before pg_catalog is the one that a query's text means."""
        self.query("CREATE SCHEMA turned")
        self.query("CREATE FUNCTION turned.now() RETURNS timestamptz LANGUAGE sql STABLE AS "
                   "$$ SELECT current_setting('turned.now')::timestamptz $$")


class Committer:
    """What src/analytics/committer.c sends, by a connection of its own. `turned`: see turn_clock()."""

    def __init__(self, database, shard, turned=False):
        self.shard = shard
        self.connection = database.connect()
        self.cursor = self.connection.cursor()
        self.turned = turned
        self.attempts = []  # of the transaction that is open, as they were given
        self.told = {}      # what it told, by place in the order sent
        path = "turned, public, pg_catalog" if turned else "public"
        self.cursor.execute(f"SET search_path = {path}; SET timezone = 'UTC'; SET jit = off; "
                            f"SET lock_timeout = '{LOCK_LIMIT}'")
        for name in ("ingest", "ingest_settle"):
            self.cursor.execute(f"PREPARE {name} AS " + (QUERIES / f"{name}.sql").read_text())
        self.connection.commit()

    @property
    def pid(self):
        return self.connection.get_backend_pid()

    def _turn(self, at):
        if self.turned:
            self.cursor.execute("SELECT set_config('turned.now', %s, true)", (at.isoformat(),))

    def send(self, attempts, at=None):
        """Run the statement; its transaction stays open."""
        place = sorted(range(len(attempts)), key=lambda n: (attempts[n].workspace, attempts[n].id.encode(), n))
        ordered = [attempts[n] for n in place]
        self.attempts = attempts
        self._turn(at)
        columns = ([getattr(a, name) for a in ordered] for name in (
            "workspace", "id", "type", "value", "user_id", "metadata", "time", "receipt"))
        self.cursor.execute(
            "EXECUTE ingest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],"
            " %s::timestamptz[], %s::uuid[], %s)", (*columns, self.shard))
        self.told = {place[row[0] - 1]: row[1:] for row in self.cursor.fetchall()}

    def rollback(self):
        self.connection.rollback()

    def commit(self, at=None):
        """Returns each attempt's fate. What the statement could not see is asked for afterwards, at `at`."""
        self.connection.commit()
        fates = [Fate("recorded", a.time) for a in self.attempts]
        unseen = []
        for n, (is_open, is_own, time_us) in self.told.items():
            if is_open and is_own is None:
                unseen.append(n)
            fates[n] = standing(is_own, time_us) if is_open else HOMELESS
        if unseen:
            self._settle(unseen, fates, at)
        return fates

    def _settle(self, unseen, fates, at):
        self._turn(at)
        columns = ([getattr(self.attempts[n], name) for n in unseen] for name in ("workspace", "id", "receipt"))
        self.cursor.execute("EXECUTE ingest_settle(%s::bigint[], %s::text[], %s::uuid[])", tuple(columns))
        for n in unseen:
            fates[n] = HOMELESS
        for place, is_own, time_us in self.cursor.fetchall():
            fates[unseen[place - 1]] = standing(is_own, time_us)
        self.connection.commit()

    def record(self, attempts, at=None):
        self.send(attempts, at)
        return self.commit(at)


def committers(postgres, condition):
    """How many connections of the service's own committers are so, by a condition on pg_stat_activity."""
    return postgres.value(
        f"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tallygate-ingest' AND {condition}",
        database="postgres", user="postgres")


@contextlib.contextmanager
def new_database(stack):
    database = Database(stack)
    try:
        yield database
    finally:
        database.remove()
