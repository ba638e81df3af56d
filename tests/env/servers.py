# SPDX-License-Identifier: Apache-2.0
"""One class for each kind of server of a stack: its processes, its log, its own door.

Process ids are those that dev/up recorded in DIR/run/<service>.pid.
"""
import contextlib
import json
import os
import signal
from pathlib import Path

import psycopg2
import redis

from env.wait import wait_for


def process_state(pid):
    """The state letter of /proc/PID/stat; None when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return None


def process_alive(pid):
    return process_state(pid) not in (None, "Z", "X")


def process_children(pid):
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [int(child) for child in found if process_alive(int(child))]


class Server:
    """A service that dev/up started in `stack`."""

    log_name = None
    stop_signal = signal.SIGTERM

    def __init__(self, stack, name):
        self.stack = stack
        self.name = name

    @property
    def pid(self):
        """Of the master; None when it does not run."""
        try:
            pid = int((self.stack.dir / "run" / f"{self.name}.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None
        return pid if process_alive(pid) else None

    @property
    def workers(self):
        return process_children(self.pid) if self.pid else []

    @property
    def log_path(self):
        return self.stack.dir / "log" / f"{self.log_name or self.name}.log"

    @property
    def log_text(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def signal(self, number):
        os.kill(self.pid, number)

    def stop(self, number=None):
        """Stop the master and wait until it and its children are gone; stack.up() starts it again."""
        pid = self.pid
        if pid is None:
            return
        family = [pid, *process_children(pid)]
        os.kill(pid, number or self.stop_signal)
        wait_for(lambda: not any(map(process_alive, family)), 60, f"the end of {self.name}")


class Postgres(Server):
    stop_signal = signal.SIGINT

    def connect(self, database="tallygate", user="tallygate"):
        connection = psycopg2.connect(host=str(self.stack.dir / "run" / "pg"), dbname=database, user=user)
        connection.autocommit = True
        return connection

    def query(self, sql, *params, database="tallygate", user="tallygate"):
        """All rows of one statement, in a connection of its own."""
        connection = self.connect(database, user)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, params or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def value(self, sql, *params, **more):
        """The first column of the first row; None when there is none."""
        rows = self.query(sql, *params, **more)
        return rows[0][0] if rows else None

    @contextlib.contextmanager
    def held(self, sql, *params, until):
        """A transaction with this statement stays open until so many of the service's statements wait for a lock.

        Gives a function that waits for a smaller number.
        """
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'tallygate'"
        with contextlib.closing(self.connect()) as holder, holder.cursor() as cursor:
            holder.autocommit = False
            cursor.execute(sql, params or None)

            def wait(count):
                wait_for(lambda: self.value(waiting, database="postgres", user="postgres") >= count, what=f"{count} to wait")

            try:
                yield wait
                wait(until)
            finally:
                holder.rollback()

    def make_database(self, name):
        """An empty database of its own; returns its connection string."""
        self.query(f'CREATE DATABASE "{name}" OWNER tallygate', database="postgres", user="postgres")
        return f"host={self.stack.dir}/run/pg dbname={name} user=tallygate"

    def drop_database(self, name):
        self.query(f'DROP DATABASE "{name}" WITH (FORCE)', database="postgres", user="postgres")


class Redis(Server):
    def client(self):
        return redis.Redis(unix_socket_path=str(self.stack.dir / "run" / "redis.sock"))


class JsonLogged(Server):
    """A service whose log is one JSON object a line."""

    def log(self):
        """All complete lines; fails on one that is no JSON object."""
        lines = []
        text = self.log_path.read_bytes() if self.log_path.exists() else b""
        for line in text.split(b"\n")[:-1]:
            entry = json.loads(line.decode("utf-8"))
            assert isinstance(entry, dict), line
            lines.append(entry)
        return lines

    def log_of(self, request_id):
        """The line about this request, which is written just after its answer."""

        def find():
            return [line for line in self.log() if line.get("request_id") == request_id and "status" in line]

        return wait_for(find, what=f"a line about {request_id} in {self.log_path}")[0]


class Pool(JsonLogged):
    pass


class Nginx(JsonLogged):
    log_name = "nginx-access"
    stop_signal = signal.SIGQUIT
