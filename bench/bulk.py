# SPDX-License-Identifier: Apache-2.0
"""psql's \\copy of rows like those of the load, under a workspace of their own, into the table of events."""
import csv
import datetime
import re

import request

ROWS = 400_000
WORKSPACE = 10**12  # nobody's
REQUIRED = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = 'events'::regclass AND attnum > 0 AND NOT attisdropped AND NOT atthasdef
    ORDER BY attnum
"""


def columns(stack):
    """Those that have no default, in the order of the table."""
    return [row[0] for row in stack.postgres.query(REQUIRED)]


def write(file, names, rows):
    """In the order of time, all within today, ids new."""
    word = request.new_word()
    now = datetime.datetime.now(datetime.timezone.utc)
    start = now.replace(hour=0, minute=0, second=0, microsecond=0)
    step = (now - start) / rows
    metadata = request.text({"path": "/v1/x", "status": 200})
    with file.open("w", newline="") as out:
        table = csv.writer(out)
        for n in range(rows):
            values = {
                "workspace_id": WORKSPACE,
                "occurred_at": (start + n * step).isoformat(),
                "id": f"{word}{n:012d}",
                "type": request.TYPES[n % len(request.TYPES)],
                "value": f"{n % 1000 / 100:.2f}",
                "user_id": f"user-{n * 7919 % request.USERS:04d}",
                "metadata": metadata,
            }
            table.writerow([values[name] for name in names])


def copy(stack, file, names):
    """Seconds of the copy alone."""
    said = stack.psql(f"\\timing on\n\\copy events ({', '.join(names)}) FROM '{file}' WITH (FORMAT csv)\n",
                      timeout_s=300)
    return float(re.search(r"^Time: ([\d.]+) ms", said, re.M).group(1)) / 1000
