# SPDX-License-Identifier: Apache-2.0
"""/webhooks: who hears of what. How events get there is in tests/resilience/test_courier.py."""
import concurrent.futures
import contextlib
import json
import re
import uuid

import pytest
import yaml

from env.problems import assert_invalid, assert_problem
from env.receiver import Receiver, verify
from env.tokens import claims_of
from env.wait import TOP, wait_for
from env.workspaces import Workspace, make_key

HOOK = {"url": "https://example.org/hook", "event_types": ["user.created"]}
MEMBERS = {"id", "url", "description", "event_types", "format", "state", "disabled_reason", "failing_since", "old_secret_until", "created_by", "created_at"}


def make(user, headers=None, **fields):
    answer = user.post("/webhooks", {**HOOK, **fields}, headers=headers)
    assert answer.status == 201, answer
    return answer.json()


def test_one_and_its_life(stack, user):
    made = make(user, description="mine", format="cloudevents")
    assert set(made) == MEMBERS | {"secret"}
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", made["secret"])
    shown = {name: made[name] for name in MEMBERS}
    assert user.get("/webhooks").json() == {"items": [shown], "next_cursor": None}
    path = f"/webhooks/{made['id']}"
    assert user.get(path).json() == shown and user.get(path.upper().replace("/WEBHOOKS", "/webhooks")).json() == shown
    assert (shown["created_by"], shown["state"], shown["description"], shown["format"]) == (user.id, "enabled", "mine", "cloudevents")
    changed = user.request("PATCH", path, {"url": "http://example.com:8080/a?b=c", "event_types": ["user.*", "workspace.deleted"], "description": None, "state": "paused",
                                "format": "standard"})
    assert changed.status == 200 and "secret" not in changed.json()
    assert {name: changed.json()[name] for name in ("url", "event_types", "description", "state", "format")} == {
        "url": "http://example.com:8080/a?b=c", "event_types": ["user.*", "workspace.deleted"], "description": None, "state": "paused", "format": "standard"}
    assert user.request("PATCH", path, {}).json() == changed.json()
    rotated = user.post(f"{path}/secret").json()
    assert rotated["secret"] != made["secret"] and rotated["old_secret_until"] > rotated["created_at"]
    assert_problem(user.post(f"{path}/test"), 409)
    assert user.delete(path).status == 204
    for method, tail in (("GET", ""), ("DELETE", ""), ("PATCH", ""), ("POST", "/secret"), ("POST", "/test"), ("GET", "/deliveries"), ("GET", "/deliveries/1"),
                         ("POST", "/deliveries/1/redeliver")):
        assert_problem(user.request(method, path + tail, {} if method == "PATCH" else None), 404)
    actions = stack.postgres.query("SELECT action, actor_id, detail FROM audit_log WHERE subject = %s ORDER BY id", f"webhook:{made['id']}")
    assert [action for action, *_ in actions] == ["webhook.created", "webhook.changed", "webhook.changed", "webhook.secret_rotated", "webhook.deleted"]
    assert {actor for _, actor, _ in actions} == {user.id} and "example" not in json.dumps([detail for *_, detail in actions])


@pytest.mark.parametrize("fields, wrong", [
    ({"url": None}, {"url": "type"}), ({"url": ""}, {"url": "too_short"}), ({"url": "x" * 2001}, {"url": "too_long"}), ({"url": "example.org"}, {"url": "format"}),
    ({"url": "ftp://example.org/"}, {"url": "format"}), ({"url": "file:///etc/passwd"}, {"url": "format"}), ({"url": "gopher://example.org/"}, {"url": "format"}),
    ({"url": "https://a:b@example.org/"}, {"url": "format"}), ({"url": "https://example.org/#x"}, {"url": "format"}), ({"url": "https:///x"}, {"url": "format"}),
    ({"url": "https://example.org/ x"}, {"url": "format"}), ({"url": "https://example.org/\r\nX: y"}, {"url": "format"}), ({"url": "https://exämple.org/"}, {"url": "format"}),
    ({"url": "http://127.0.0.1/"}, {"url": "format"}), ({"url": "http://[::1]:80/"}, {"url": "format"}), ({"url": "http://2130706433/"}, {"url": "format"}),
    ({"event_types": []}, {"event_types": "too_short"}), ({"event_types": ["user.created", "unheard.of"]}, {"event_types[1]": "unknown"}),
    ({"event_types": ["user."]}, {"event_types[0]": "unknown"}), ({"event_types": ["use.*"]}, {"event_types[0]": "unknown"}),
    ({"event_types": [1]}, {"event_types[0]": "unknown"}), ({"event_types": ['*","x']}, {"event_types[0]": "unknown"}), ({"event_types": "*"}, {"event_types": "type"}),
    ({"event_types": ["*\u0000"]}, {"event_types[0]": "unknown"}), ({"description": "a\nb"}, {"description": "control_character"}),
    ({"description": "x" * 201}, {"description": "too_long"}), ({"format": "xml"}, {"format": "format"}), ({"more": 1}, {"more": "unknown_field"})])
def test_what_is_refused(user, fields, wrong):
    assert_invalid(user.post("/webhooks", {**HOOK, **fields}), **wrong)
    if not {"more"} & set(fields):
        made = make(user)
        assert_invalid(user.request("PATCH", f"/webhooks/{made['id']}", fields), **wrong)
        user.delete(f"/webhooks/{made['id']}")


def test_a_state_is_enabled_or_paused(user):
    path = f"/webhooks/{make(user)['id']}"
    assert_invalid(user.request("PATCH", path, {"state": "disabled"}), **{"state": "format"})


def test_a_hundred_are_the_most(stack, user):
    make(user)
    stack.postgres.query("INSERT INTO webhooks (workspace_id, id, url, event_types, secret) SELECT %s, gen_random_uuid(), 'https://x', '{*}', '' FROM generate_series(2, 100)",
                         user.workspace)
    assert_problem(user.post("/webhooks", HOOK), 409)


def test_the_same_key_makes_one(user):
    first, second = (user.post("/webhooks", HOOK, headers={"Idempotency-Key": "one-hook"}) for _ in range(2))
    assert first.status == second.status == 201 and first.json() == second.json() and len(user.get("/webhooks").json()["items"]) == 1


def test_nobody_sees_anothers(stack, user, other):
    """Nor does who only reads or records, and the workspace that is chosen counts."""
    mine = make(user)
    path = f"/webhooks/{mine['id']}"
    delivery = stack.postgres.query("INSERT INTO deliveries (workspace_id, webhook_id, event_of, event_at, event_id, type, subject) "
                                    "VALUES (%s, %s, 1, now(), gen_random_uuid(), 'x', 'x') RETURNING id", user.workspace, mine["id"])[0][0]
    for method, tail in (("GET", ""), ("DELETE", ""), ("PATCH", ""), ("POST", "/secret"), ("POST", "/test"), ("GET", "/deliveries"),
                         ("GET", f"/deliveries/{delivery}"), ("POST", f"/deliveries/{delivery}/redeliver")):
        assert_problem(other.request(method, path + tail, {} if method == "PATCH" else None), 404)
        assert_problem(other.request(method, path + tail, {} if method == "PATCH" else None, headers={"X-Workspace": str(user.workspace)}), 404)
    assert other.get("/webhooks").json()["items"] == []
    for scope in ("analytics:read", "events:write"):
        assert_problem(stack.client.get(path, token=make_key(user, [scope])["key"]), 403)
    assert stack.client.get(path, token=make_key(user, ["admin"])["key"]).status == 200
    space = Workspace(user)
    viewer = space.add(other, "member")
    theirs = make(user, headers=space.header)
    assert user.get("/webhooks", headers=space.header).json()["items"][0]["id"] == theirs["id"]
    assert_problem(user.get(f"/webhooks/{theirs['id']}"), 404)
    assert_problem(viewer.get(f"/webhooks/{theirs['id']}", headers=space.header), 403)
    # A delivery is found by its own webhook alone.
    second = make(user)
    assert_problem(user.get(f"/webhooks/{second['id']}/deliveries/{delivery}"), 404)
    assert_problem(user.post(f"/webhooks/{second['id']}/deliveries/{delivery}/redeliver"), 404)


def test_deliveries_in_pages(stack, user):
    hook = make(user)
    path = f"/webhooks/{hook['id']}/deliveries"
    for state in ("delivered", "failed"):
        stack.postgres.query("INSERT INTO deliveries_done (workspace_id, webhook_id, id, event_of, event_at, event_id, type, subject, state, attempts, history, created_at) "
                             "SELECT %s, %s, n, 1, now(), gen_random_uuid(), 'x', 'y:1', %s, 1, '[{\"status\": 200}]', now() FROM generate_series(%s, %s) n",
                             user.workspace, hook["id"], state, *((1, 4) if state == "failed" else (5, 7)))
    stack.postgres.query("INSERT INTO deliveries (workspace_id, webhook_id, id, event_of, event_at, event_id, type, subject) OVERRIDING SYSTEM VALUE "
                         "SELECT %s, %s, n, 1, now(), gen_random_uuid(), 'x', 'y:1' FROM generate_series(8, 9) n", user.workspace, hook["id"])
    found, cursor = [], None
    while True:
        page = user.get(path, params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        found += [(item["id"], item["state"]) for item in page["items"]]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert found == [(9, "waiting"), (8, "waiting"), *((n, "delivered") for n in (7, 6, 5)), *((n, "failed") for n in (4, 3, 2, 1))]
    assert [item["id"] for item in user.get(path, params={"state": "failed"}).json()["items"]] == [4, 3, 2, 1]
    assert_invalid(user.get(path, params={"state": "x"}), **{"state": "format"})
    one = user.get(f"{path}/9").json()
    assert one["event"] is None and one["next_attempt_at"] and one["finished_at"] is None
    assert user.get(f"{path}/1").json()["history"] == [{"status": 200}]
    assert_problem(user.post(f"{path}/1/redeliver"), 409)  # the event is not kept


def told(stack, **columns):
    where = " AND ".join(f"{name} = %s" for name in columns)
    return stack.postgres.query(f"SELECT type, workspace_id, data, correlation_id, trace, platform FROM event_outbox WHERE {where} ORDER BY seq", *columns.values())


def test_what_is_told(stack):
    """In the transaction of its cause, and with nothing that is secret."""
    user = stack.new_user()
    platform = stack.postgres.value("SELECT id FROM workspaces WHERE platform")
    subject = f"user:{user.id}"
    session = user.login().token
    user.request("PATCH", "/users/me", {"full_name": "A. N. Other"})
    user.post("/auth/logout", headers={"X-Request-ID": "the-logout"})
    events = told(stack, subject=subject)
    kinds = [kind for kind, *_ in events]
    assert kinds[0] == "user.created" and kinds[-3:] == ["user.login", "user.updated", "user.logout"]
    assert {(workspace, is_platform) for _, workspace, *_, is_platform in events} == {(platform, True)}
    assert events[0][2]["email"] == user.email and events[-2][2]["full_name"] == "A. N. Other"
    assert events[-3][2] == {"user_id": user.id, "session_id": claims_of(session)["sid"]}
    assert events[-1][3] == "the-logout" and re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", events[-1][4])
    assert "hash" not in str(events) and "$2b$" not in str(events)

    user = user.login()
    space = Workspace(user)
    key = make_key(user, ["events:write"], headers=space.header)
    user.delete(f"/auth/api-keys/{key['id']}", headers=space.header)
    user.request("PATCH", space.path, {"name": "Another"})
    user.delete(space.path)
    events = told(stack, workspace_id=space.id)
    assert [kind for kind, *_ in events] == ["workspace.created", "apikey.created", "apikey.revoked", "workspace.updated", "workspace.deleted"]
    assert events[3][2] == {"id": space.id, "name": "Another", "slug": space.slug}
    assert events[1][2] == {"id": key["id"], "name": "test", "scopes": ["events:write"], "expires_at": None}
    assert key["key"] not in str(events)
    # What fails is not told.
    before = stack.postgres.value("SELECT count(*) FROM event_outbox WHERE workspace_id = %s OR subject = %s", space.id, subject)
    assert_problem(user.delete(space.path), 404)
    assert_problem(user.post("/workspaces", {"name": "x", "slug": Workspace(user).slug}), 409)
    assert stack.postgres.value("SELECT count(*) FROM event_outbox WHERE workspace_id = %s OR subject = %s", space.id, subject) == before


def test_usage_events_are_told_where_it_is_wanted(stack, user):
    """In the statement that records them: once for each, however often it is sent, and none of other types or workspaces."""
    space, plain = Workspace(user), Workspace(user)
    event = {"type": "agent.executed", "value": 1.5, "user_id": "ünï", "metadata": {"a": [1]}, "id": "one", "timestamp": "2026-01-02T03:04:05Z"}
    record = lambda body, where: user.post("/analytics/events", body, headers=where.header)  # noqa: E731
    assert record(event, space).status == 201
    assert told(stack, workspace_id=space.id)[-1][0] == "workspace.created"
    changed = user.request("PATCH", space.path, {"told_types": ["agent.executed", "credit.consumed"]})
    assert changed.json()["told_types"] == ["agent.executed", "credit.consumed"] and user.get(plain.path).json()["told_types"] == []
    events = [{**event, "id": f"e{n}", "type": kind} for n, kind in enumerate(("agent.executed", "agent.failed", "api_call", "credit.consumed", "agent.executed"))]
    for _ in range(2):
        assert record(events, space).status in (200, 201, 207)
        assert record(events, plain).status in (200, 201, 207)
    new = [row for row in told(stack, workspace_id=space.id) if "user_id" in row[2]]
    assert [(kind, data["id"]) for kind, _, data, *_ in new] == [("agent.executed", "e0"), ("credit.consumed", "e3"), ("agent.executed", "e4")]
    assert new[0][2] == {"id": "e0", "type": "agent.executed", "value": 1.5, "user_id": "ünï", "metadata": {"a": [1]},
                         "timestamp": "2026-01-02T03:04:05.000000Z"}
    assert {platform for *_, platform in new} == {False}
    assert not [row for row in told(stack, workspace_id=plain.id) if "user_id" in row[2]]
    assert user.request("PATCH", space.path, {"told_types": []}).json()["told_types"] == []
    for wrong in (["api_call"], [1], ["agent.executed\u0000"], ['a,b']):
        assert_invalid(user.request("PATCH", space.path, {"told_types": wrong}), **{"told_types[0]": "unknown"})
    assert_problem(user.request("PATCH", space.path, {}), 422)


def test_events_of_one_subject_are_numbered_as_they_commit(stack):
    """Whoever tells of it holds it to the end: a logout cannot get an earlier number than a login that is known before."""
    user = stack.new_user()
    subject, locks = f"user:{user.id}", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with concurrent.futures.ThreadPoolExecutor(1) as pool, contextlib.closing(stack.postgres.connect()) as holder, holder.cursor() as cursor:
        holder.autocommit = False
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('event subject'), hashtext(%s))", (subject,))
        answer = pool.submit(user.post, "/auth/logout")
        wait_for(lambda: stack.postgres.value(locks) == 1, what="the logout to wait")
        assert told(stack, subject=subject)[-1][0] != "user.logout"
        holder.rollback()
        assert answer.result().status == 204
    assert told(stack, subject=subject)[-1][0] == "user.logout"


def test_all_that_list_types_of_events_list_the_same():
    """The program, the statement that records events, the schema and the API's description."""
    def words(path, begin, end):
        text = (TOP / path).read_text()
        text = text[text.index(begin) + len(begin):]
        return set(re.findall(r"[a-z]+\.[a-z]+", text[:text.index(end)]))
    schemas = yaml.safe_load((TOP / "doc/openapi.yaml").read_text())["components"]["schemas"]
    types = words("src/identity/domain_event.c", "TYPES[] = {", "};")
    patterns = types | {f"{kind.partition('.')[0]}.*" for kind in types} | {"*"}
    assert len(types) == 15 and set(schemas["EventPattern"]["enum"]) == patterns
    usage = words("sql/queries/ingest.sql", "WHERE b.type IN (", ")")
    assert usage == {kind for kind in types if kind.partition(".")[0] in ("agent", "credit", "integration")}
    assert usage == set(schemas["ToldTypes"]["items"]["enum"]) == words("sql/migrations/0014_domain_events.up.sql", "told_types <@ '{", "}'")
    assert usage == words("src/identity/workspace.c", "TYPES[TOLD_MAX] = {", "};")
    told_by_entries = {kind for line in (TOP / "src/identity/domain_event.c").read_text().split("} TOLD[] = {")[1].split("};")[0].splitlines()
                       for kind in re.findall(r'^    \{"[a-z_.]+", "([a-z.]+)"', line)}
    assert told_by_entries == types - usage - {"report.generated"}  # by the job that makes it


def test_administrators_are_in_the_platforms_workspace(stack):
    admin, another, nobody = stack.new_user(), stack.new_user(), stack.new_user()
    assert stack.ctl("user", "role", another.email, "admin").returncode == 0  # there must always be one
    assert_problem(admin.get("/webhooks", headers={"X-Workspace": "tallygate"}), 404)
    assert stack.ctl("user", "role", admin.email, "admin").returncode == 0
    admin = admin.login()
    hook = make(admin, headers={"X-Workspace": "tallygate"})
    assert_problem(nobody.get(f"/webhooks/{hook['id']}", headers={"X-Workspace": "tallygate"}), 404)
    platform = stack.postgres.value("SELECT id FROM workspaces WHERE platform")
    assert_problem(admin.delete(f"/workspaces/{platform}"), 403)  # nobody owns it
    assert stack.ctl("workspace", "delete", str(platform)).returncode != 0
    assert stack.postgres.value("SELECT closed_at FROM workspaces WHERE platform") is None
    assert stack.ctl("user", "role", admin.email, "user").returncode == 0
    admin = admin.login()
    wait_for(lambda: admin.get("/webhooks", headers={"X-Workspace": "tallygate"}).status == 404, 2, "it to be known")


def test_the_whole_way(make_stack):
    """Through nginx to a receiver: an account is made, its event arrives, and the trace of the request is that of the webhook's call."""
    stack = make_stack(jobs=True, webhook_allow="127.0.0.1")
    admin = stack.new_user()
    assert stack.ctl("user", "role", admin.email, "admin").returncode == 0
    admin = admin.login()
    header = {"X-Workspace": "tallygate"}
    with Receiver() as receiver:
        hook = make(admin, headers=header, url=receiver.url(), event_types=["user.created"])
        trace, email = uuid.uuid4().hex, f"{uuid.uuid4()}@example.org"
        answer = stack.client.post("/auth/register", {"email": email, "password": "an engine of brass"},
                                   headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "X-Request-ID": "the-registration"})
        assert answer.status == 201
        wait_for(lambda: [event for event in receiver.events() if event["data"]["email"] == email], 20, "the event")
        [taken] = [one for one in receiver.at() if email.encode() in one.body]
        [event] = verify(hook["secret"], taken)
        assert (event["type"], event["correlation_id"], event["data"]["id"]) == ("user.created", "the-registration", answer.json()["user"]["id"])
        assert taken.headers["traceparent"].split("-")[1] == trace

        def delivered():
            return [item for item in admin.get(f"/webhooks/{hook['id']}/deliveries", headers=header).json()["items"] if item["event_id"] == event["id"]]
        wait_for(lambda: delivered() and delivered()[0]["state"] == "delivered", what="it to be told")
        one = admin.get(f"/webhooks/{hook['id']}/deliveries/{delivered()[0]['id']}", headers=header).json()
        assert one["event"] == event
        # The platform measures itself.
        usage = wait_for(lambda: admin.get("/analytics/query", params={"measure": "count", "type": "user.created"}, headers=header), what="the figures")
        assert usage.status == 200, usage
        again = admin.post(f"/webhooks/{hook['id']}/deliveries/{one['id']}/redeliver", headers=header)
        assert again.status == 202
        wait_for(lambda: len([seen for seen in receiver.events() if seen["id"] == event["id"]]) == 2, 20, "the repeat")
