# SPDX-License-Identifier: Apache-2.0
"""Raw events put into the table by SQL, and what lists of them must say."""
import collections
import datetime
import json
import random
from decimal import Decimal

import psycopg2
from psycopg2.extras import execute_values

from model import DAY, UTC

Row = collections.namedtuple("Row", "time id type value user_id metadata")

# What an id, a user's name or a text of the metadata may be, short of U+0000.
ODD_TEXTS = [
    "plain", "it's", 'double"quote', "back\\slash", "\\", "\\N", "\\.", "a,b;c|d", "line\nfeed", "return\rfeed\r\n",
    "tab\t",
    "\x01\x02\x1b\x7f", "é", "李明", "🙂", "e\u0301", "\u202eright-to-left", "\u2028\u2029", "$1 $2", "%s %n",
    "--comment", "/*", "';--",
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1", " space ", "a:b:c", ":", "0", "null", "{}", "[]", "ÿþ",
    "\ufeffbom", "x" * 120,
]


def format_time(time):
    text = time.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{time.microsecond:06}Z" if time.microsecond else f"{text}Z"


def again_when_a_partition_comes(write):
    """A row that waited for events_default while a partition took over its range is refused; the service tries again as well."""
    for _ in range(20):
        try:
            return write()
        except psycopg2.errors.CheckViolation as error:
            if error.diag.constraint_name:
                raise
    return write()


def insert(postgres, workspace, rows):
    again_when_a_partition_comes(lambda: insert_once(postgres, workspace, rows))
    return rows


def insert_once(postgres, workspace, rows):
    connection = postgres.connect()
    connection.autocommit = False
    try:
        with connection, connection.cursor() as cursor:
            execute_values(
                cursor, "INSERT INTO events (occurred_at, id, type, value, user_id, metadata, workspace_id) VALUES %s",
                [(r.time, r.id, r.type, r.value, r.user_id,
                  None if r.metadata is None else json.dumps(r.metadata, default=float), workspace) for r in rows],
                page_size=5000)
    finally:
        connection.close()


def generate(postgres, workspace, count, days, user="'user-' || n %% 50", metadata="NULL", id="lpad(n::text, 9, '0')",
             type="(array['api_call','cost','session','page.view'])[1 + n %% 4]"):
    """So many events spread evenly over the last days, made by PostgreSQL; n counts from 1, the newest."""
    again_when_a_partition_comes(lambda: postgres.query(
        "INSERT INTO events (occurred_at, id, type, value, user_id, metadata, workspace_id) "
        f"SELECT now() - n * interval '1 second' * %s, {id}, {type}, n / 8.0, {user}, {metadata}, %s "
        "FROM generate_series(1, %s) AS n", days * 86400 / count, workspace, count))


def random_rows(count, seed, days=20):
    """Odd texts everywhere, and many events at the same time."""
    source = random.Random(seed)
    start = datetime.datetime.now(UTC).replace(microsecond=0) - days * DAY
    times = [start + datetime.timedelta(seconds=source.randint(1, days * 86000),
                                        microseconds=source.choice([0, 1, 999999, 120000]))
             for _ in range(max(1, count // 8))]
    rows = []
    for n in range(count):
        text = source.choice(ODD_TEXTS)
        status = source.choice([200, "200", 500, None, True])
        metadata = source.choice([None, {}, {"status": status, "text": text, text: text}])
        rows.append(Row(source.choice(times), f"{text}{n}" if source.random() < 0.9 else f"{n}",
                        source.choice(["api_call", "cost", "page.view"]), Decimal(source.randint(-5000, 5000)) / 100,
                        source.choice(ODD_TEXTS), metadata))
    return rows


def newest_first(rows):
    return sorted(rows, key=lambda row: (row.time, row.id.encode()), reverse=True)


def as_item(row):
    """As a list tells it, without the time of receipt."""
    return {"id": row.id, "type": row.type, "value": row.value, "user_id": row.user_id, "metadata": row.metadata,
            "timestamp": format_time(row.time)}


def without_receipt(items):
    return [{name: value for name, value in item.items() if name != "received_at"} for item in items]


def walk(user, path, params, most=10000):
    """All pages' items and how many pages there were, each cursor leading to the next page."""
    items, cursor = [], {}
    for count in range(1, most):
        answer = user.get(path, params={**params, **cursor})
        assert answer.status == 200, answer
        body = answer.json()
        items += body["items"]
        if body["next_cursor"] is None:
            return items, count
        cursor = {"cursor": body["next_cursor"]}
    raise AssertionError("the pages never end")
