# SPDX-License-Identifier: Apache-2.0
"""python3 bench/jobs.py DIR: how many empty jobs a second the queue carries, on the stack that `dev/up --no-jobs --dir DIR` started there.

Alternates between a queue as it is, one with a million jobs done before, that with a transaction open elsewhere that sees all of it, and a
queue that was empty when it was vacuumed, with a jobd that had nothing to do for some seconds.
"""
import contextlib
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psycopg2

BUILD = Path(__file__).resolve().parents[1] / "build"
JOBS, ROUNDS = 50000, 3


def connect(folder):
    connection = psycopg2.connect(host=f"{folder}/run/pg", dbname="tallygate", user="tallygate")
    connection.autocommit = True
    return connection


def value(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def put(connection):
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO jobs (type) SELECT 'nothing' FROM generate_series(1, %s)", (JOBS,))


def measure(folder, connection, quiet_s=0):
    config = ["--config", f"{folder}/etc/tallygate.conf"]
    if not quiet_s:
        put(connection)
    began = time.monotonic()
    process = subprocess.Popen([BUILD / "tallygate-jobd", *config, "--metrics", f"{folder}/run/bench.metrics"], stderr=subprocess.DEVNULL)
    try:
        if quiet_s:
            time.sleep(quiet_s)
            put(connection)
            began = time.monotonic()
        while value(connection, "SELECT EXISTS (SELECT FROM jobs WHERE type = 'nothing')"):
            time.sleep(0.02)
        return JOBS / (time.monotonic() - began)
    finally:
        process.terminate()
        process.wait()


def main():
    folder = sys.argv[1]
    found = {"empty": [], "a million done": [], "and a transaction open": [], "after a quiet night": []}
    with contextlib.closing(connect(folder)) as connection, contextlib.closing(connect(folder)) as reader, connection.cursor() as cursor:
        for _ in range(ROUNDS):
            cursor.execute("TRUNCATE jobs_done")
            found["empty"].append(measure(folder, connection))
            cursor.execute("INSERT INTO jobs_done (id, type, payload, attempts, created_at, started_at) "
                           "SELECT -n, 'nothing', '{}', 1, now(), now() FROM generate_series(1, 1000000) n")
            found["a million done"].append(measure(folder, connection))
            with reader.cursor() as seeing:
                seeing.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                seeing.execute("SELECT count(*) FROM jobs_done")
                found["and a transaction open"].append(measure(folder, connection))
                seeing.execute("ROLLBACK")
            cursor.execute("VACUUM ANALYZE jobs")
            found["after a quiet night"].append(measure(folder, connection, quiet_s=3))
    for name, rates in found.items():
        print(f"{name}: {statistics.median(rates):.0f} jobs/s, median of {', '.join(f'{rate:.0f}' for rate in rates)}")


main()
