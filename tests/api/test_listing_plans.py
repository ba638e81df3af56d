# SPDX-License-Identifier: Apache-2.0
"""How PostgreSQL carries out the statements that read raw events: by an index, in the partitions of the period
alone, and no more rows than a page or a stretch needs."""
import json
import re

import psycopg2.extensions
import pytest

from env.wait import TOP

SETTINGS = "SET jit = off; SET timezone = 'UTC'; SET search_path = public; SET plan_cache_mode = {}"
MONTHS = ["2026-06-01", "2026-07-01", "2026-08-01", "2026-09-01", "2026-10-01"]
OWN, BOT, FEW = 900001, 900002, 900003


@pytest.fixture(scope="module")
def postgres(make_stack):
    """Five months: a workspace with 150,000 events of 500 users, one with as many of a single user, and one with
    some events of everybody and ten of that user. The statistics then say that this user is everywhere."""
    postgres = make_stack().postgres
    for month in MONTHS:
        postgres.query("SELECT ensure_event_partition(%s::date, 'month')", month)
    fill = ("INSERT INTO events (workspace_id, occurred_at, id, type, value, user_id, metadata) "
            "SELECT %s, '2026-06-01'::timestamptz + n * interval '86 s', n, 'x', 1, {}, NULL "
            "FROM generate_series(1, 150000) n")
    postgres.query(fill.format("'user-' || n %% 500"), OWN)
    postgres.query(fill.format("'bot'"), BOT)
    postgres.query(fill.format("CASE WHEN n %% 15000 = 0 THEN 'bot' ELSE 'user-' || n %% 500 END"), FEW)
    postgres.query("VACUUM ANALYZE events")
    return postgres


def nodes(plan):
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


class Plan:
    def __init__(self, root):
        self.nodes = list(nodes(root))
        self.text = json.dumps(root, indent=1)
        scans = [node for node in self.nodes if node.get("Relation Name", "").startswith("events")]
        self.run = [node for node in scans if node["Actual Loops"] > 0]
        self.removed = sum(node.get("Subplans Removed", 0) for node in self.nodes)

    def of_type(self, *types):
        return [node for node in self.nodes if node["Node Type"] in types]

    def rows_read(self):
        return sum((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
                   for node in self.run)


def sql_of(name):
    return (TOP / "sql" / "queries" / f"{name}.sql").read_text()


def explain(postgres, mode, name, *parameters):
    """A prepared statement's plan. `mode` is force_generic_plan or force_custom_plan."""
    connection = postgres.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute(SETTINGS.format(mode))
            cursor.execute(f"PREPARE statement AS {sql_of(name)}".replace("%", "%%"), ())
            marks = ", ".join(["%s"] * len(parameters))
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE statement ({marks})", parameters)
            return Plan(cursor.fetchone()[0][0]["Plan"])
    finally:
        connection.close()


def explain_literal(postgres, name, *parameters):
    """The plan of a statement that gets its parameters as literals, as COPY does."""
    texts = ["NULL" if p is None else psycopg2.extensions.QuotedString(str(p)).getquoted().decode() for p in parameters]
    sql = "\n".join(line for line in sql_of(name).splitlines() if not line.startswith("--"))
    sql = re.sub(r"\$(\d+)", lambda match: texts[int(match[1]) - 1], sql)
    connection = postgres.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute(SETTINGS.format("auto"))
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}".replace("%", "%%"), ())
            return Plan(cursor.fetchone()[0][0]["Plan"])
    finally:
        connection.close()


def assert_lean(plan, partitions, rows, mode=None):
    """No table is read from end to end, at most so many partitions are looked into and so many rows read."""
    assert not plan.of_type("Seq Scan", "Parallel Seq Scan", "Gather", "Sort"), plan.text
    assert plan.run and len(plan.run) <= partitions, plan.text
    assert plan.rows_read() <= rows, plan.text
    if mode == "force_generic_plan":
        assert plan.removed >= 4, plan.text


MODES = pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
SCAN_MAX = 20000


def page(workspace, start, end, after, limit, *user):
    return [workspace, start, end, after, "", None, None, SCAN_MAX, limit + 1, *user]


@MODES
@pytest.mark.parametrize("start, end, after, partitions", [
    ("2026-06-01", "2026-10-28", "2026-10-28", 5),  # all of it, the first page
    ("2026-06-01", "2026-08-15", "2026-08-15", 3),  # a page deep in it, whose cursor is the end
    ("2026-06-10", "2026-06-20", "2026-06-20", 1),
    ("2026-07-30", "2026-08-02", "2026-08-02", 2),
])
@pytest.mark.parametrize("limit", [1, 100, 1000])
def test_page_of_all(postgres, mode, start, end, after, partitions, limit):
    plan = explain(postgres, mode, "listing", *page(OWN, start, end, after, limit))
    assert_lean(plan, partitions, limit + 2 + partitions, mode)
    assert all(node["Index Name"].endswith("_pkey") for node in plan.run)


@MODES
@pytest.mark.parametrize("workspace, user", [
    (OWN, "user-7"), (OWN, "nobody"), (FEW, "bot"), (FEW, "user-7"), (BOT, "user-7"),
])
@pytest.mark.parametrize("limit", [1, 100])
def test_page_of_one_user(postgres, mode, workspace, user, limit):
    """Whatever the statistics say of the user in other workspaces, nobody else's events are read."""
    parameters = page(workspace, "2026-06-01", "2026-10-28", "2026-10-28", limit, user)
    plan = explain(postgres, mode, "listing_user", *parameters)
    assert_lean(plan, 5, limit + 100, mode)  # an incremental sort reads some more at once
    assert all("user_id" in node["Index Name"] for node in plan.run)


@MODES
def test_page_of_the_only_user(postgres, mode):
    plan = explain(postgres, mode, "listing_user", *page(BOT, "2026-06-01", "2026-10-28", "2026-10-28", 100, "bot"))
    assert_lean(plan, 5, 200, mode)


@MODES
@pytest.mark.parametrize("name, user", [("listing", ()), ("listing_user", ("bot",))])
def test_a_filter_that_none_pass_is_given_up(postgres, mode, name, user):
    parameters = page(BOT, "2026-06-01", "2026-10-28", "2026-10-28", 100, *user)
    parameters[5] = "other"
    assert_lean(explain(postgres, mode, name, *parameters), 5, SCAN_MAX + 100, mode)
    parameters[5:7] = None, '{"status": "200"}'
    assert_lean(explain(postgres, mode, name, *parameters), 5, SCAN_MAX + 100, mode)


@MODES
@pytest.mark.parametrize("name, user", [
    ("export_end", ()), ("export_end_user", ("user-7",)), ("export_end_user", ("bot",)),
])
def test_end_of_a_stretch(postgres, mode, name, user):
    for start, partitions in (("2026-06-01", 5), ("2026-09-15", 2)):
        plan = explain(postgres, mode, name, OWN, start, "", "2026-10-28", 5000, *user)
        assert_lean(plan, partitions, 5000 + 100, mode)


@pytest.mark.parametrize("name", ["export_ndjson", "export_csv"])
@pytest.mark.parametrize("workspace, user", [(OWN, None), (OWN, "user-7"), (FEW, "bot"), (BOT, "bot")])
def test_stretch(postgres, name, workspace, user):
    """The rows of a stretch are known before, so a few thousand may be sorted, but no others are read."""
    name_of_end = "export_end_user" if user else "export_end"
    sql = "\n".join(line for line in sql_of(name_of_end).splitlines() if not line.startswith("--"))
    values = [workspace, "2026-06-15", "", "2026-10-28", 5000, user]
    sql = re.sub(r"\$(\d+)", lambda match: f"%({match[1]})s", sql)
    connection = postgres.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, {str(n + 1): value for n, value in enumerate(values)})
            found = cursor.fetchone()
    finally:
        connection.close()
    end_time, end_id = ("2026-10-28", "") if found is None else (
        postgres.value("SELECT to_timestamp(%s / 1000000.0)::text", found[0]), found[1])
    plan = explain_literal(postgres, name, workspace, "2026-06-15", "", end_time, end_id, user, None, None)
    assert not plan.of_type("Seq Scan", "Parallel Seq Scan"), plan.text
    scans = [node for node in plan.nodes if "Index" in node["Node Type"] and node["Actual Loops"] > 0]
    assert sum(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in scans) <= 5100, plan.text
    if not user:
        assert len(plan.run) == 1, plan.text


@pytest.fixture(scope="module")
def fresh(make_stack):
    """A table that was just filled, of which PostgreSQL knows nothing but its size."""
    postgres = make_stack().postgres
    postgres.query("ALTER TABLE events_default SET (autovacuum_enabled = false)")
    postgres.query("INSERT INTO events (workspace_id, occurred_at, id, type, value, user_id) "
                   "SELECT 1, '2026-06-01'::timestamptz + n * interval '26 s', n, 'x', 1, 'user-' || n % 500 "
                   "FROM generate_series(1, 100000) n")
    return postgres


@MODES
def test_before_the_first_statistics(fresh, mode):
    plan = explain(fresh, mode, "listing", *page(1, "2026-06-02", "2026-06-30", "2026-06-30", 100))
    assert not plan.of_type("Seq Scan", "Sort"), plan.text
    assert plan.rows_read() <= 300, plan.text
