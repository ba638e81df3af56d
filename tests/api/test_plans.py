# SPDX-License-Identifier: Apache-2.0
"""How PostgreSQL carries out each statement of the analytics, in a database that is large enough to matter.

The statements are those in the sources: who adds one says here what it is asked with. Each is run as a prepared
statement with the plan made for these values and with the plan made for any. The plans come from auto_explain, which
tells those inside functions too.
"""
import datetime
import json
import re

import pytest

from env.wait import TOP

FIRST = datetime.date(2026, 3, 1)
DAYS = 122  # March to June: four partitions
TENANTS = 10
W = 3  # the one that asks

# Tables that grow, and no plan may read as a whole.
LARGE = re.compile(r"(events|event_ids|rollup_hour|rollup_day|rollup_user_day|active_days|active_days_new|active_gaps)"
                   r"(_[0-9_]+|_default)?$")
RAW = re.compile(r"events_(\d{4}_\d{2}|default)$")


# ---- the statements ----

def literals(code):
    """The text of adjacent string literals in C."""
    code = re.sub(r'PG_US\(\s*("(?:[^"\\]|\\.)*")\s*\)', r'"(extract(epoch from " \1 ") * 1000000)::bigint"', code)
    rest = re.sub(r'"(?:[^"\\]|\\.)*"', "", code).strip()
    assert not rest, f"not a literal: {rest}"
    return "".join(json.loads(text) for text in re.findall(r'"(?:[^"\\]|\\.)*"', code))


def find_statements():
    found = {}
    for path in sorted((TOP / "src" / "analytics").glob("*.c")):
        for name, code in re.findall(r'struct pg_statement \w+ = \{\s*"(\w+)",\s*(.*?)\};', path.read_text(), re.S):
            embedded = re.fullmatch(r"sql_(\w+)", code.strip())
            found[name] = ((TOP / "sql" / "queries" / f"{embedded[1]}.sql").read_text() if embedded else literals(code))
    return found


STATEMENTS = find_statements()
# What an administrator's commands and timers do with whole partitions and workspaces: much of it reads all there is.
MAINTENANCE = {
    "archive_attached", "archive_audit", "archive_count", "archive_detach", "archive_ensure", "archive_known", "archive_note",
    "archive_partitions", "archive_restore", "archive_restored", "archive_same", "import_ensure", "rebuild_active_days",
    "rebuild_days", "rebuild_rollups", "rebuild_workspaces"}
WRITES = {"ingest", "ingest_take_shard", "upkeep_settle", "upkeep_partition", "upkeep_buckets"}
PERIODS = [("2026-04-06", 7), ("2026-04-01", 30), ("2026-05-20", 20), (FIRST.isoformat(), DAYS)]


def over_periods(*more):
    """Parameters that begin with the workspace and a period."""
    return [(W, start, days, *more) for start, days in PERIODS]


def queries(*choices):
    """Those of the aggregate query: measure, group, type and member of the metadata."""
    return [(W, start, days, measure, group, type, order, 101, member) for measure, group, type, member in choices
            for order in ("-value", "group") for start, days in PERIODS]


def array(values):
    """As a literal, whose type is the parameter's."""
    return "{%s}" % ",".join(json.dumps(str(value)) for value in values)


def known_ids(count):
    numbers = range(1, count + 1)
    return array([W] * count), array(f"id-{n}" for n in numbers)


def ends(start, days):
    first = datetime.date.fromisoformat(start)
    return f"{first} 00:00:00+00", f"{first + datetime.timedelta(days=days)} 00:00:00+00"


RECEIPT = "00000000-0000-7000-8000-000000000000"
KNOWN_TIMES = array(f"{FIRST} 00:00:00+00" for _ in range(200))

# What each statement is asked with.
READS = {
    "answer_late": [(W,)],
    "metric_overview": over_periods(),
    "metric_usage": over_periods("user-7"),
    "cost_total": over_periods(),
    "cost_by_day": over_periods(None, None, 101) + over_periods("10.5", "2026-04-07", 101),
    "cost_by_user": over_periods(None, None, 101) + over_periods("10.5", "user-7", 101),
    "report_totals": [(W, start) for start, _ in PERIODS],
    "report_by_type": [(W, start, 1) for start, _ in PERIODS],
    "report_by_hour": [(W, start, 1) for start, _ in PERIODS],
    "report_top_users": [(W, start, 1) for start, _ in PERIODS],
    "summary_totals": over_periods(),
    "summary_by_type": over_periods(),
    "series_today": [("Europe/Berlin",)],
    "series_zone": [("Europe/Berlin", start, days) for start, days in PERIODS],
    "series_times": [(start, days, "day", "Europe/Berlin", *ends(start, days)) for start, days in PERIODS],
    "series_days": over_periods("day", None, 50) + over_periods("week", "cost", 50),
    "series_hours": [(W, *ends(start, days), interval, type, 50, "Europe/Berlin") for start, days in PERIODS
                     for interval, type in (("hour", None), ("month", "cost"))],
    "query_width": over_periods(None) + over_periods("cost"),
    "query_days": queries(("sum", "none", None, None), ("avg", "type", None, None), ("max", "day", "cost", None)),
    "query_hours": queries(("sum", "hour", None, None), ("count", "hour", "cost", None)),
    "query_users": queries(("count", "user", None, None), ("unique_users", "type", None, None),
                           ("unique_users", "day", "cost", None)),
    "query_gaps": queries(("unique_users", "none", None, None), ("unique_users", "day", None, None)),
    "query_events": queries(("count", "metadata", None, "plan"), ("min", "user", "cost", None)),
    "query_events_users": queries(("unique_users", "metadata", None, "plan"), ("unique_users", "hour", "cost", None)),
    "ingest_known": [(*known_ids(200), KNOWN_TIMES)],
    "ingest_settle": [(*known_ids(200), array([RECEIPT] * 200))],
}
# Who may read raw events: all others have rollups.
FROM_RAW_EVENTS = {"summary_totals", "query_events", "query_events_users", "ingest_known"}


# Those that read raw events by design, in pages and stretches: see test_listing_plans.py.
ELSEWHERE = {"listing", "listing_user", "export_end", "export_end_user"}


def test_all_statements_are_here():
    assert set(STATEMENTS) == set(READS) | WRITES | MAINTENANCE | ELSEWHERE


# ---- a database ----

LOAD = f"""
SELECT ensure_event_partition('{FIRST}'::date + n * 31, 'month') FROM generate_series(0, 3) AS n;

INSERT INTO workspaces (id, name) OVERRIDING SYSTEM VALUE SELECT n, 'w' || n FROM generate_series(1, {TENANTS}) AS n
ON CONFLICT DO NOTHING;

INSERT INTO events (workspace_id, occurred_at, id, type, value, user_id, metadata)
SELECT w, '{FIRST} 00:00:00+00'::timestamptz + n * interval '{DAYS} days' / 20000 - interval '1 second', 'e' || n,
       (ARRAY['api_call', 'tool_execution', 'cost', 'session', 'page.view'])[1 + n * 7 % 5], n % 97,
       'user-' || n * 7919 % 300, jsonb_build_object('plan', 'p' || n % 6)
FROM generate_series(1, 20000) AS n, generate_series(1, {TENANTS}) AS w
ORDER BY 2;

INSERT INTO rollup_hour
SELECT workspace_id, date_trunc('hour', occurred_at, 'UTC'), type, 0, count(*), sum(value), min(value), max(value)
FROM events GROUP BY 1, 2, 3 ORDER BY 2;
INSERT INTO rollup_day
SELECT workspace_id, (hour AT TIME ZONE 'UTC')::date, type, 0, sum(events), sum(total), min(minimum), max(maximum)
FROM rollup_hour GROUP BY 1, 2, 3 ORDER BY 2;
INSERT INTO rollup_user_day
SELECT workspace_id, (occurred_at AT TIME ZONE 'UTC')::date, user_id, type, 0, count(*), sum(value)
FROM events GROUP BY 1, 2, 3, 4 ORDER BY 2;

INSERT INTO active_days SELECT DISTINCT workspace_id, user_id, day FROM rollup_user_day;
INSERT INTO active_gaps
SELECT workspace_id, day, previous_day, count(*)
FROM (SELECT workspace_id, day,
             coalesce(lag(day) OVER (PARTITION BY workspace_id, user_id ORDER BY day), '-infinity') AS previous_day
      FROM active_days) AS pairs
GROUP BY 1, 2, 3;
-- More than ever wait.
INSERT INTO active_days_new
SELECT w, 'new-' || n % 1000, '{FIRST}'::date + n % {DAYS}
FROM generate_series(1, 2000) AS n, generate_series(1, {TENANTS}) AS w
ON CONFLICT DO NOTHING;

INSERT INTO event_ids
SELECT w, 'id-' || n, event_id_bucket(now()) - n % 2, '{RECEIPT}', now()
FROM generate_series(1, 30000) AS n, generate_series(1, {TENANTS}) AS w;

ANALYZE;
"""


class Plans:
    """A connection as the program has it, which collects the plans of what it runs."""

    def __init__(self, connection):
        self.connection = connection
        self.said = []
        connection.notices = self
        self.run("LOAD 'auto_explain'")
        for name, value in [("log_min_duration", 0), ("log_analyze", "on"), ("log_timing", "off"), ("log_format", "json"),
                            ("log_nested_statements", "on"), ("log_level", "notice")]:
            self.run(f"SET auto_explain.{name} = {value}")
        self.run("SET timezone = 'UTC'; SET jit = off; SET search_path = public")

    def append(self, notice):
        self.said.append(notice)

    def run(self, sql, *params):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params or None)

    def of(self, name, params, mode):
        """The plans of one execution, those inside functions first."""
        self.run(f"SET plan_cache_mode = {mode}")
        self.run("DEALLOCATE ALL")
        self.run(f"PREPARE {name} AS {STATEMENTS[name]}")
        self.said.clear()
        self.run(f"EXECUTE {name}({', '.join(['%s'] * len(params))})", *params)
        plans = [json.loads(notice.partition("plan:")[2])["Plan"] for notice in self.said if "plan:" in notice]
        assert plans, self.said
        return plans


@pytest.fixture(scope="module")
def plans(stack, tmp_path_factory):
    name = stack.unique("plans").replace("-", "_")
    config = tmp_path_factory.mktemp("plans") / "tallygate.conf"
    config.write_text(f"database_url = {stack.postgres.make_database(name)}\nsecret_key_file = {stack.dir}/etc/secret.key\n")
    done = stack.ctl("migrate", "up", config=config)
    assert done.returncode == 0, done
    connection = stack.postgres.connect(name, "postgres")
    with connection.cursor() as cursor:
        cursor.execute("SET timezone = 'UTC'")
        cursor.execute(LOAD)
    yield Plans(connection)
    connection.close()
    stack.postgres.drop_database(name)


# ---- what a plan does ----

def nodes(plan):
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def scans(plans):
    """The nodes that were at work on a large table. Others were pruned or not needed."""
    for plan in plans:
        for node in nodes(plan):
            if LARGE.match(node.get("Relation Name", "")) and node["Actual Loops"] > 0 and node["Node Type"] != "ModifyTable":
                yield node


def condition(node):
    """By what an index is asked; that of a bitmap stands below."""
    if node["Node Type"] == "Bitmap Heap Scan":
        return " ".join(below.get("Index Cond", "") for below in nodes(node))
    return node.get("Index Cond", "")


def partitions(start, days):
    """The months of events that a period touches."""
    first = datetime.date.fromisoformat(start)
    return {f"events_{first + datetime.timedelta(days=n):%Y_%m}" for n in range(days)}


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize("name", READS)
def test_reads(plans, name, mode):
    for params in READS[name]:
        found = list(scans(plans.of(name, params, mode)))
        for node in found:
            assert node["Node Type"] in ("Index Scan", "Index Only Scan", "Bitmap Heap Scan"), (params, node)
            assert "workspace_id = " in condition(node), (params, node)
        raw = {node["Relation Name"] for node in found if RAW.match(node["Relation Name"])}
        if name not in FROM_RAW_EVENTS:
            assert not raw, params
        elif name != "ingest_known":
            assert raw and raw <= partitions(*params[1:3]), (params, raw)


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
def test_first_and_last_event_read_one_row_each(plans, mode):
    """And not all of a period in order to sort it."""
    for params in READS["summary_totals"]:
        for node in scans(plans.of("summary_totals", params, mode)):
            if RAW.match(node["Relation Name"]):
                assert node["Actual Rows"] <= 1, (params, node)


# ---- writes ----

def batch(count, known):
    """The columns of so many events, of which so many are duplicates."""
    ids = sorted([f"id-{n}" for n in range(1, known + 1)] + [f"fresh-{n}" for n in range(count - known)])
    return [array([W] * count), array(ids), array(["cost"] * count), array(["0.1"] * count),
            array(f"user-{n % 50}" for n in range(count)), array(["{}"] * count),
            array([f"{FIRST} 12:00:00+00"] * count), array(f"00000000-0000-7000-8000-{n:012}" for n in range(count)), 0]


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize("count, known", [(1, 0), (50, 5), (1000, 0), (1000, 500)])
def test_ingest_looks_ids_up(plans, count, known, mode):
    """One look for each id and bucket, whatever the planner believes of the batch."""
    plans.run("BEGIN")
    try:
        top = plans.of("ingest", batch(count, known), mode)
        found = list(scans(top))
        ids = [node for node in found if node["Relation Name"].startswith("event_ids")]
        assert ids
        for node in found:
            assert node["Node Type"] in ("Index Scan", "Index Only Scan"), node
        for node in ids:
            assert "workspace_id = " in condition(node) and "(id = " in condition(node), node
            assert node["Actual Rows"] <= 1, node
        for plan in top:
            for node in nodes(plan):
                if "Join" in node["Node Type"]:
                    inner = node["Plans"][1]
                    assert node["Node Type"] == "Nested Loop" or not list(scans([inner])), node
    finally:
        plans.run("ROLLBACK")


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize("kind", ["cost", "agent.executed"])
def test_ingest_goes_through_a_batch_but_once(plans, kind, mode):
    """Whatever is done with its rows: no part of the statement goes through them all for each of them."""
    count = 2000
    columns = batch(count, 0)
    columns[2] = array([kind] * count)
    plans.run("BEGIN")
    try:
        plans.run(f"UPDATE workspaces SET told_types = '{{agent.executed}}' WHERE id = {W}")
        for plan in plans.of("ingest", columns, mode):
            for node in nodes(plan):
                read = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Join Filter", 0)) * node["Actual Loops"]
                assert read <= 20 * count, node  # not its square
    finally:
        plans.run("ROLLBACK")


def test_settling_looks_neighbours_up(plans):
    """Only what waits is read as it lies there."""
    plans.run("BEGIN")
    try:
        found = list(scans(plans.of("upkeep_settle", (2000,), "force_generic_plan")))
        assert {node["Relation Name"] for node in found} >= {"active_days_new", "active_days"}
        for node in found:
            if node["Relation Name"] != "active_days_new":
                assert node["Node Type"] in ("Index Scan", "Index Only Scan"), node
                assert node["Actual Rows"] <= 1, node
    finally:
        plans.run("ROLLBACK")
