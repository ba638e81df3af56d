# SPDX-License-Identifier: Apache-2.0
"""Events on their way to webhooks: a database and tallygate-jobd of the test's own, and receivers that do what receivers do."""
import contextlib
import json
import re
import signal
import socket
import threading
import time
import uuid

import pytest

from env.collector import Collector, attributes
from env.database import new_database
from env.jobd import Jobd
from env.receiver import Receiver, verify
from env.wait import wait_for


@pytest.fixture
def database(stack):
    with new_database(stack) as made:
        yield made


@pytest.fixture
def receiver():
    with Receiver() as server:
        yield server


@pytest.fixture
def jobd(database, tmp_path):
    made = []

    def make(**settings):
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Jobd(database, folder, **{"webhook_allow": "127.0.0.0/8", "issuer": "https://tallygate.test", **settings}))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def world(database, jobd):
    return World(database, jobd())


class World:
    """Workspaces with webhooks, by tallygatectl, and events told in the database."""

    def __init__(self, database, jobd):
        self.database, self.jobd = database, jobd
        self.workspace = self.new_workspace()

    def new_workspace(self):
        email = f"{uuid.uuid4()}@example.org"
        self.user = self.ctl("user", "add", email, given="a wheel that counts\n")["id"]
        return self.database.value("SELECT workspace_id FROM memberships WHERE user_id = %s", self.user)

    def ctl(self, *arguments, given=None, code=0):
        done = self.database.stack.ctl("--json", *arguments, config=self.jobd.config, given=given)
        assert done.returncode == code, done
        return json.loads(done.stdout) if done.stdout.startswith("{") else done

    def add(self, url, types="*", workspace=None, **options):
        more = [word for name, value in options.items() for word in (f"--{name}", value)]
        return self.ctl("webhook", "add", str(workspace or self.workspace), "-", "--types", types, *more, given=f"{url}\n")

    def tell(self, subject="apikey:1", type="apikey.created", count=1, workspace=None, data="{}", **columns):
        """Events as handlers write them."""
        self.database.query(
            "INSERT INTO event_outbox (id, type, subject, workspace_id, platform, user_id, data, correlation_id, trace) SELECT gen_random_uuid(), %s, "
            "%s, %s, false, NULL, jsonb_build_object('n', n) || %s::jsonb, %s, %s FROM generate_series(1, %s) n ORDER BY n",
            type, subject, workspace or self.workspace, data, columns.get("correlation_id"), columns.get("trace"), count)

    def deliveries(self, webhook, state=None):
        extra = ["--state", state] if state else []
        return self.ctl("webhook", "deliveries", str(self.workspace), webhook["id"], *extra)["items"]

    def webhook(self, webhook):
        return self.ctl("webhook", "show", str(self.workspace), webhook["id"])

    def hurry(self):
        """What waits for another attempt is due now."""
        self.database.query("SELECT pg_advisory_xact_lock(hashtext('deliveries')); UPDATE deliveries SET next_at = now() WHERE next_at > now()")

    def waiting(self):
        return self.database.value("SELECT (SELECT count(*) FROM deliveries) + (SELECT count(*) FROM event_outbox)")

    def wait_until_told(self, seconds=30):
        wait_for(lambda: self.waiting() == 0, seconds, "all to be delivered")


def test_an_event_arrives_and_its_signature_is_good(world, receiver):
    webhook = world.add(receiver.url(), "apikey.*", description="mine")
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", webhook["secret"])
    assert (webhook["state"], webhook["format"], webhook["event_types"], webhook["description"]) == ("enabled", "standard", ["apikey.*"], "mine")
    world.jobd.start()
    world.tell(correlation_id="request-1", data='{"name": "Ünïcode \\" \\\\ 🗝"}')
    world.tell(type="workspace.updated")
    world.wait_until_told()
    [taken] = receiver.at()
    [event] = verify(webhook["secret"], taken)
    assert set(event) == {"id", "type", "workspace_id", "data", "timestamp", "correlation_id"}
    assert event["data"] == {"n": 1, "name": "Ünïcode \" \\ 🗝"} and event["type"] == "apikey.created"
    assert (event["workspace_id"], event["correlation_id"]) == (world.workspace, "request-1")
    assert uuid.UUID(event["id"]) and taken.headers["webhook-id"] == event["id"]
    assert taken.headers["Content-Type"] == "application/json" and taken.headers["User-Agent"].startswith("Tallygate/")
    assert abs(int(taken.headers["webhook-timestamp"]) - time.time()) < 30
    [done] = world.deliveries(webhook)
    assert (done["state"], done["attempts"], done["event_id"], done["type"]) == ("delivered", 1, event["id"], "apikey.created")
    [entry] = done["history"]
    assert entry["status"] == 200 and entry["answer"] == "taken" and entry["error"] is None and entry["duration_ms"] >= 0
    assert "secret" not in world.webhook(webhook)
    # A signature is of this secret alone, and of this body.
    other = world.add(receiver.url("/other"))
    assert "error" in verify(other["secret"], taken)[0]
    assert "error" in verify(webhook["secret"], taken._replace(body=taken.body.replace(b"apikey", b"apikeY")))[0]


def test_cloudevents(world, receiver):
    world.add(receiver.url(), format="cloudevents")
    world.jobd.start()
    trace = f"00-{uuid.uuid4().hex}-00f067aa0ba902b7-01"
    world.tell(correlation_id="r", trace=trace)
    world.wait_until_told()
    [taken] = receiver.at()
    event = json.loads(taken.body)
    assert taken.headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    assert event["specversion"] == "1.0" and event["id"] == taken.headers["webhook-id"]
    assert (event["source"], event["type"], event["subject"]) == ("https://tallygate.test", "tallygate.apikey.created", "apikey:1")
    assert event["data"] == {"n": 1} and event["workspaceid"] == str(world.workspace) and event["correlationid"] == "r"
    # What it is told to belongs to the trace of what caused it.
    assert event["traceparent"] == trace
    assert taken.headers["traceparent"].split("-")[1] == trace.split("-")[1] and taken.headers["traceparent"] != trace


def test_a_call_is_a_span_below_what_caused_it(database, jobd, receiver):
    with contextlib.closing(Collector()) as collector:
        collector.close = collector.server_close
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        world = World(database, jobd(trace_endpoint=collector.url, trace_follow_clients="yes"))
        webhook = world.add(receiver.url())
        receiver.answers["/hook"] = [503]
        world.jobd.start()
        trace, cause = uuid.uuid4().hex, "00f067aa0ba902b7"
        world.tell(trace=f"00-{trace}-{cause}-01")
        wait_for(lambda: any(one["history"] for one in world.deliveries(webhook)), what="the first attempt")
        world.hurry()
        world.wait_until_told()
        spans = wait_for(lambda: (lambda found: len(found) == 2 and found)(collector.of(trace)), 20, "the spans")
        for span, taken, status, resends in zip(sorted(spans, key=lambda one: one["startTimeUnixNano"]), receiver.at(), ("503", "200"), ("0", "1")):
            assert (span["kind"], span["name"], span["parentSpanId"]) == (3, "POST", cause)
            assert taken.headers["traceparent"] == f"00-{trace}-{span['spanId']}-01"
            told = attributes(span)
            assert (told["http.request.method"], told["http.response.status_code"], told["http.request.resend_count"]) == ("POST", status, resends)
            assert told["tallygate.webhook_id"] == webhook["id"]
        collector.shutdown()


def test_only_what_was_asked_for_of_the_own_workspace(world, receiver):
    first = world.workspace
    second = world.new_workspace()
    world.add(receiver.url("/first"), "apikey.created,workspace.*", workspace=first)
    world.add(receiver.url("/second"), "*", workspace=second)
    world.jobd.start()
    for workspace in (first, second):
        for type in ("apikey.created", "apikey.revoked", "workspace.updated", "workspace.deleted"):
            world.tell(f"thing:{type}", type, workspace=workspace)
    world.wait_until_told()
    assert sorted(event["type"] for event in receiver.events("/first")) == ["apikey.created", "workspace.deleted", "workspace.updated"]
    assert {event["workspace_id"] for event in receiver.events("/first")} == {first}
    assert len(receiver.events("/second")) == 4 and {event["workspace_id"] for event in receiver.events("/second")} == {second}


def test_the_platform_hears_of_all_accounts_and_counts_them(world, receiver, database):
    platform = database.value("SELECT id FROM workspaces WHERE platform")
    hook = world.ctl("webhook", "add", "tallygate", receiver.url(), "--types", "user.*")
    world.jobd.start()
    email = f"{uuid.uuid4()}@example.org"
    user = world.ctl("user", "add", email, given="a wheel that counts\n")["id"]
    world.ctl("user", "disable", email)
    world.ctl("user", "delete", email)
    world.wait_until_told()
    wait_for(lambda: len(receiver.at()) >= 4, what="all events")
    # The first account is that of the world, made before jobd ran.
    events = [event for event in verify(hook["secret"], *receiver.at()) if event["data"]["id"] == user]
    assert [event["type"] for event in events] == ["user.created", "user.updated", "user.deleted"]
    assert {event["workspace_id"] for event in events} == {platform}
    created, updated, deleted = (event["data"] for event in events)
    assert (created["email"], created["is_active"], created["role"]) == (email, True, "user") and updated["is_active"] is False
    assert deleted["email"] == email and "password" not in str(events)
    counted = database.query("SELECT type, value, user_id, id FROM events WHERE workspace_id = %s AND user_id = %s ORDER BY occurred_at, type", platform,
                             str(user))
    assert [(type, value, name) for type, value, name, _ in counted] == [(kind, 1, str(user)) for kind in ("user.created", "user.updated", "user.deleted")]
    assert {id for *_, id in counted} == {event["id"] for event in events}
    assert database.value("SELECT sum(events) FROM rollup_day WHERE workspace_id = %s", platform) >= 4


def test_an_event_that_is_carried_on_twice_is_counted_once(world, database):
    """The relay was killed between its recording and its commit."""
    world.jobd.start()
    world.tell()
    world.wait_until_told()
    platform = database.value("SELECT id FROM workspaces WHERE platform")
    before = database.value("SELECT count(*) FROM events WHERE workspace_id = %s", platform)
    database.query("INSERT INTO event_outbox (id, type, subject, workspace_id, platform, user_id, data, at) "
                   "SELECT id::uuid, type, 'user:0', workspace_id, true, 'u', '{}', occurred_at + interval '1 s' FROM events WHERE workspace_id = %s LIMIT 1", platform)
    world.wait_until_told()
    assert database.value("SELECT count(*) FROM events WHERE workspace_id = %s", platform) == before


def test_in_order_of_each_subject(world, receiver):
    """Whatever fails on the way: a subject's events wait for one that was not taken, those of others pass."""
    webhook = world.add(receiver.url())
    receiver.always["/hook"] = 200
    world.jobd.start()
    world.tell("apikey:a", count=30)
    world.tell("apikey:b", count=30)
    world.wait_until_told(60)
    for subject in ("apikey:a", "apikey:b"):
        ids = [id for id, in world.database.query("SELECT event_id FROM deliveries_done WHERE subject = %s ORDER BY id", subject)]
        told = [event["id"] for event in receiver.events() if event["id"] in set(map(str, ids))]
        assert told == [str(id) for id in ids] and len(told) == 30
    receiver.taken.clear()
    receiver.answers["/hook"] = [500]
    world.tell("apikey:c", count=3)
    wait_for(lambda: world.database.value("SELECT count(*) FROM deliveries WHERE attempts = 1 AND history <> '[]'") == 1, what="the first failure")
    assert len(receiver.at()) == 1 and len(world.deliveries(webhook, "waiting")) == 3
    world.tell("apikey:d", count=1)
    wait_for(lambda: len(receiver.at()) == 2, what="another subject's to pass")
    world.hurry()
    world.wait_until_told()
    numbers = [event["data"]["n"] for event in receiver.events()]
    assert numbers == [1, 1, 1, 2, 3]


@pytest.mark.parametrize("answer, status", [(500, 500), (404, 404), ((302, {"Location": "http://127.0.0.1:1/"}, b"there"), 302), (None, None)])
def test_what_fails_is_tried_again(world, receiver, answer, status):
    webhook = world.add(receiver.url())
    receiver.answers["/hook"] = [answer]
    world.jobd.start()
    world.tell()
    wait_for(lambda: any(one["history"] for one in world.deliveries(webhook)), what="the first attempt to be told")
    [waiting] = world.deliveries(webhook)
    assert waiting["state"] == "waiting" and waiting["history"][0]["status"] == status
    assert (waiting["history"][0]["error"] is None) == (status is not None)
    assert world.webhook(webhook)["failing_since"] is not None
    # 5 s, with jitter.
    delay = world.database.value("SELECT extract(epoch FROM next_at - (history->0->>'at')::timestamptz) FROM deliveries")
    assert 4 < delay < 8, delay
    world.hurry()
    world.wait_until_told()
    [done] = world.deliveries(webhook)
    assert (done["state"], done["attempts"], [one["status"] for one in done["history"]]) == ("delivered", 2, [status, 200])
    first, second = receiver.at()
    assert first.headers["webhook-id"] == second.headers["webhook-id"] and first.body == second.body
    verify(webhook["secret"], first, second)
    assert world.webhook(webhook)["failing_since"] is None


def test_retry_after_is_heeded_and_the_last_attempt_is_the_tenth(world, receiver):
    webhook = world.add(receiver.url())
    receiver.always["/hook"] = (429, {"Retry-After": "1234"}, b"later")
    world.jobd.start()
    world.tell()
    for attempt in range(1, 11):
        wait_for(lambda: not world.waiting() or world.database.value("SELECT jsonb_array_length(history) FROM deliveries") == attempt, what=f"attempt {attempt}")
        if attempt == 1:
            assert 1200 < world.database.value("SELECT extract(epoch FROM next_at - now()) FROM deliveries") < 1240
        world.hurry()
    world.wait_until_told()
    [done] = world.deliveries(webhook)
    assert (done["state"], done["attempts"], len(done["history"])) == ("failed", 10, 10) and len(receiver.at()) == 10
    # It can be sent again, which is another delivery of the same event.
    receiver.always["/hook"] = 200
    again = world.ctl("webhook", "redeliver", str(world.workspace), webhook["id"], str(done["id"]))
    world.wait_until_told()
    assert [(one["id"], one["state"], one["event_id"]) for one in world.deliveries(webhook)] == [
        (again["id"], "delivered", done["event_id"]), (done["id"], "failed", done["event_id"])]


def test_who_is_gone_is_left_alone(world, receiver):
    webhook = world.add(receiver.url())
    receiver.always["/hook"] = 410
    world.jobd.start()
    world.tell("apikey:a", count=3)
    world.wait_until_told()
    after = world.webhook(webhook)
    assert (after["state"], after["disabled_reason"]) == ("disabled", "gone") and len(receiver.at()) == 1
    assert [one["state"] for one in world.deliveries(webhook)] == ["failed"] * 3
    assert world.database.value("SELECT count(*) FROM outbox WHERE payload->>'template' = 'webhook_disabled' AND payload->>'about' = %s",
                                f"127.0.0.1:{receiver.server_port} ({webhook['id']})") == 1
    world.tell()
    wait_for(lambda: world.database.value("SELECT count(*) FROM event_outbox") == 0, what="the relay")
    assert len(world.deliveries(webhook)) == 3
    receiver.always["/hook"] = 200
    assert world.ctl("webhook", "enable", str(world.workspace), webhook["id"])["disabled_reason"] is None
    world.tell()
    world.wait_until_told()
    assert len(receiver.at()) == 2


def test_who_fails_for_five_days_is_disabled(world, receiver):
    webhook = world.add(receiver.url())
    receiver.always["/hook"] = 503
    world.jobd.start()
    world.tell()
    wait_for(lambda: world.webhook(webhook)["failing_since"], what="the first failure")
    world.database.query("UPDATE webhooks SET failing_since = now() - interval '5 days 1 minute'")
    world.hurry()
    wait_for(lambda: world.webhook(webhook)["state"] == "disabled", what="it to be disabled")
    assert world.webhook(webhook)["disabled_reason"] == "failing"
    world.wait_until_told()
    assert world.database.value("SELECT count(*) FROM outbox WHERE payload->>'template' = 'webhook_disabled'") == 1


def test_a_pause_loses_nothing(world, receiver):
    webhook = world.add(receiver.url())
    world.ctl("webhook", "pause", str(world.workspace), webhook["id"])
    world.jobd.start()
    world.tell(count=5)
    wait_for(lambda: world.database.value("SELECT count(*) FROM deliveries") == 5, what="the relay")
    assert not receiver.at()
    world.ctl("webhook", "enable", str(world.workspace), webhook["id"])
    world.wait_until_told()
    assert [event["data"]["n"] for event in receiver.events()] == [1, 2, 3, 4, 5]


def test_both_secrets_count_during_a_rotation(world, receiver):
    webhook = world.add(receiver.url())
    rotated = world.ctl("webhook", "rotate", str(world.workspace), webhook["id"])
    assert rotated["secret"] != webhook["secret"] and rotated["old_secret_until"]
    world.jobd.start()
    world.tell()
    world.wait_until_told()
    [taken] = receiver.at()
    assert len(taken.headers["webhook-signature"].split()) == 2
    for secret in (webhook["secret"], rotated["secret"]):
        assert verify(secret, taken)[0]["id"] == taken.headers["webhook-id"]
    world.database.query("UPDATE webhooks SET old_secret_until = now()")
    world.tell()
    world.wait_until_told()
    last = receiver.at()[-1]
    assert "error" in verify(webhook["secret"], last)[0] and "error" not in verify(rotated["secret"], last)[0]


def test_a_test_event_comes_whatever_was_asked_for(world, receiver):
    webhook = world.add(receiver.url(), "user.created")
    told = world.ctl("webhook", "test", str(world.workspace), webhook["id"])
    world.jobd.start()
    world.wait_until_told()
    [event] = verify(webhook["secret"], *receiver.at())
    assert (event["id"], event["type"], event["data"]) == (told["event_id"], "webhook.test", {"webhook_id": webhook["id"]})


def test_a_slow_one_holds_up_no_other(world, receiver):
    receiver.hang["/slow"] = threading.Event()
    slow, quick = world.add(receiver.url("/slow")), world.add(receiver.url("/quick"))
    world.jobd.start()
    for n in range(40):
        world.tell(f"apikey:{n}")
    wait_for(lambda: len(receiver.at("/quick")) == 40, 30, "the quick one to have all")
    wait_for(lambda: len(receiver.at("/slow")) >= 10, what="the slow one to have some")
    assert receiver.most["/slow"] <= 10
    receiver.hang["/slow"].set()
    world.wait_until_told(60)
    assert {event["id"] for event in receiver.events("/slow")} == {event["id"] for event in receiver.events("/quick")}
    assert len(world.deliveries(slow, "delivered")) == len(world.deliveries(quick, "delivered")) == 40


def test_one_workspace_leaves_room_for_others(world, receiver):
    """Its thirty webhooks all take their time; somebody else's event is sent at once."""
    receiver.hang["/slow"] = threading.Event()
    for n in range(30):
        world.add(receiver.url("/slow"))
    other = world.new_workspace()
    world.add(receiver.url("/quick"), workspace=other)
    world.jobd.start()
    for n in range(20):
        world.tell(f"apikey:{n}", workspace=world.workspace)
    wait_for(lambda: len(receiver.at("/slow")) >= 64, 30, "the slow ones to be full")
    world.tell(workspace=other)
    wait_for(lambda: receiver.at("/quick"), 5, "the quick one")
    assert receiver.most["/slow"] <= 64
    receiver.hang["/slow"].set()


def test_one_that_is_slow_gets_one_at_once(world, receiver):
    receiver.hang["/hook"] = threading.Event()
    webhook = world.add(receiver.url())
    world.jobd.start()
    world.tell()
    wait_for(lambda: receiver.at(), 20, "the first")
    time.sleep(2.2)
    receiver.hang["/hook"].set()
    world.wait_until_told()
    assert world.database.value("SELECT slow FROM webhooks") is True
    receiver.hang["/hook"] = threading.Event()
    for n in range(5):
        world.tell(f"apikey:{n}")
    wait_for(lambda: len(receiver.at()) == 2, 20, "the next")
    assert receiver.most["/hook"] == 1
    receiver.hang["/hook"].set()
    world.wait_until_told()
    assert world.database.value("SELECT slow FROM webhooks") is False and world.webhook(webhook)["state"] == "enabled"


def test_what_an_old_url_says_is_nothing_of_the_new_one(world, receiver):
    receiver.hang["/old"] = threading.Event()
    receiver.always["/old"] = 410
    webhook = world.add(receiver.url("/old"))
    world.jobd.start()
    world.tell("apikey:a", count=3)
    wait_for(lambda: receiver.at("/old"), 20, "the first attempt")
    world.database.query("UPDATE webhooks SET url = %s, revision = revision + 1", receiver.url("/new"))
    receiver.hang["/old"].set()
    world.wait_until_told()
    assert world.webhook(webhook)["state"] == "enabled" and [event["data"]["n"] for event in receiver.events("/new")] == [1, 2, 3]


def test_many_answers_of_410_are_one_mail(world, receiver):
    receiver.hang["/hook"] = threading.Event()
    receiver.always["/hook"] = 410
    world.add(receiver.url())
    world.jobd.start()
    for n in range(10):
        world.tell(f"apikey:{n}")
    wait_for(lambda: len(receiver.at()) == 10, 20, "ten under way")
    receiver.hang["/hook"].set()
    world.wait_until_told()
    assert world.database.value("SELECT count(*) FROM outbox WHERE payload->>'template' = 'webhook_disabled'") == 1


def test_an_event_that_is_not_kept_any_more_is_not_sent(world, receiver):
    webhook = world.add(receiver.url())
    receiver.answers["/hook"] = [500]
    world.jobd.start()
    world.tell()
    wait_for(lambda: any(one["history"] for one in world.deliveries(webhook)), what="the first attempt")
    world.database.query("DELETE FROM domain_events")
    world.hurry()
    world.wait_until_told()
    [done] = world.deliveries(webhook)
    assert done["state"] == "failed" and done["history"][-1]["error"] == "the event is not kept any more" and len(receiver.at()) == 1


def test_what_is_left_of_giving_up_goes_on(world, receiver):
    """Of a long row of one subject some are given up, and then it is enabled again: the first is the first still."""
    webhook = world.add(receiver.url())
    world.ctl("webhook", "pause", str(world.workspace), webhook["id"])
    world.jobd.start()
    world.tell("apikey:a", count=5100)
    wait_for(lambda: world.database.value("SELECT count(*) FROM deliveries") == 5100, 30, "the relay")
    with world.database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('deliveries'))")
        world.database.query("UPDATE webhooks SET state = 'disabled'")
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database() AND query LIKE '%%deliveries%%'"
        wait_for(lambda: world.database.value(waiting) >= 1, 20, "it to begin")
        connection.commit()
    wait_for(lambda: world.database.value("SELECT count(*) FROM deliveries") <= 100, 20, "the first piece")
    world.ctl("webhook", "enable", str(world.workspace), webhook["id"])
    world.wait_until_told()
    told = [event["data"]["n"] for event in receiver.events()]
    assert told == list(range(1, len(told) + 1))


def test_what_waits_for_too_long_is_given_up_and_nothing_stays_blocked(world, receiver):
    webhook = world.add(receiver.url())
    world.ctl("webhook", "pause", str(world.workspace), webhook["id"])
    world.jobd.start()
    world.tell("apikey:a", count=3)
    wait_for(lambda: world.database.value("SELECT count(*) FROM deliveries") == 3, what="the relay")
    world.database.query("UPDATE deliveries SET created_at = now() - interval '31 days' WHERE id = (SELECT min(id) FROM deliveries)")
    world.jobd.put(1, "partitions.make")
    wait_for(lambda: world.database.value("SELECT count(*) FROM deliveries WHERE NOT blocked") == 1 and world.database.value("SELECT count(*) FROM deliveries") == 2,
             what="the first to be given up")
    world.ctl("webhook", "enable", str(world.workspace), webhook["id"])
    world.wait_until_told()
    assert [event["data"]["n"] for event in receiver.events()] == [2, 3]
    assert [one["state"] for one in world.deliveries(webhook)] == ["delivered", "delivered", "failed"]


# ---- where we must not be sent ----

REFUSED = "its address is not one that may be sent to"


def test_a_name_that_leads_to_us_is_refused_when_it_is_resolved(database, jobd, receiver):
    world = World(database, jobd(webhook_allow=""))
    webhook = world.add(f"http://localhost:{receiver.server_port}/hook")
    world.jobd.start()
    world.tell()
    wait_for(lambda: any(one["history"] for one in world.deliveries(webhook)), what="the attempt")
    [waiting] = world.deliveries(webhook)
    assert waiting["history"][0]["error"] == REFUSED and waiting["history"][0]["status"] is None and not receiver.taken


CLOSED = [
    "http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://10.1.2.3/", "http://172.16.0.1/",
    "http://192.168.1.1/", "http://169.254.169.254/latest/meta-data", "http://100.64.0.1/", "http://0.0.0.0/", "http://224.0.0.1/", "http://255.255.255.255/",
    "http://[::1]/", "http://[::]/", "http://[::ffff:10.0.0.1]/", "http://[fe80::1]/", "http://[fd00::1]/", "http://[64:ff9b::a00:1]/", "http://[2002:a00:1::]/",
    "http://[ff02::1]/", "http://192.0.2.1/", "http://198.18.0.1/", "http://[2001:db8::1]/"]


def test_networks_of_the_site_can_be_closed(database, jobd, receiver):
    """Denying counts more than allowing."""
    world = World(database, jobd(webhook_deny="127.0.0.0/16 2001:4860::/32"))
    for url in (receiver.url(), "http://[2001:4860:4860::8888]/"):
        assert "may not be sent to" in world.ctl("webhook", "add", str(world.workspace), url, code=1).stderr
    webhook = world.add(f"http://localhost:{receiver.server_port}/hook")
    world.jobd.start()
    world.tell()
    wait_for(lambda: any(one["history"] for one in world.deliveries(webhook)), what="the attempt")
    assert world.deliveries(webhook)[0]["history"][0]["error"] == REFUSED and not receiver.taken


def test_addresses_that_are_not_public_are_refused_at_once(database, jobd):
    """And where one comes in by the back door, when it is connected to."""
    world = World(database, jobd(webhook_allow=""))
    for url in CLOSED:
        done = world.ctl("webhook", "add", str(world.workspace), url, code=1)
        assert "may not be sent to" in done.stderr, (url, done.stderr)
        webhook = world.add("https://example.org/hook")
        database.query("UPDATE webhooks SET url = %s WHERE id = %s", url, webhook["id"])
    world.jobd.start()
    world.tell()

    def attempts():
        return database.query("SELECT w.url, d.history->0->>'error' FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id WHERE d.history <> '[]'")
    wait_for(lambda: len(attempts()) == len(CLOSED), what="the attempts")
    assert sorted(attempts()) == sorted((url, REFUSED) for url in CLOSED)


def test_no_redirect_is_followed_and_no_certificate_of_nobody_is_trusted(world, receiver, database):
    with Receiver() as inner:
        receiver.always["/hook"] = (307, {"Location": inner.url()}, b"")
        webhook = world.add(receiver.url())
        tls = world.add(f"https://localhost:{world.database.stack.port}/")
        world.jobd.start()
        world.tell()
        wait_for(lambda: all(any(one["history"] for one in world.deliveries(hook)) for hook in (webhook, tls)), what="both attempts")
        assert world.deliveries(webhook)[0]["history"][0]["status"] == 307 and not inner.taken
        assert "certificate" in world.deliveries(tls)[0]["history"][0]["error"]


def test_an_answer_without_end_and_with_anything_in_it(world, receiver):
    receiver.always["/hook"] = (200, {}, b"\x00\xff<script>\x1b[31m" + b"x" * 500_000)
    webhook = world.add(receiver.url())
    world.jobd.start()
    world.tell()
    world.wait_until_told()
    [done] = world.deliveries(webhook)
    assert done["state"] == "delivered" and done["history"][0]["answer"].startswith(" �<script>") and len(done["history"][0]["answer"]) <= 1000


def test_who_says_nothing_is_given_up_in_time(world):
    with socket.create_server(("127.0.0.1", 0)) as server:
        webhook = world.add(f"http://127.0.0.1:{server.getsockname()[1]}/")
        world.jobd.start()
        world.tell()
        wait_for(lambda: any(one["history"] for one in world.deliveries(webhook)), 40, "the attempt to be given up")
        [waiting] = world.deliveries(webhook)
        assert 14_000 <= waiting["history"][0]["duration_ms"] < 25_000 and "imeout" in waiting["history"][0]["error"]


# ---- whatever is killed ----

def test_nothing_is_lost_when_parts_are_killed(database, jobd, receiver):
    """Two of jobd, one of them killed again and again, and the connections of the database as well; a receiver that fails a third of the time."""
    world = World(database, jobd())
    other = jobd()
    world.add(receiver.url())
    receiver.answers["/hook"] = [500 if n % 3 == 0 else 200 for n in range(600)]
    world.jobd.start()
    victim = other.start()
    for round in range(6):
        for n in range(50):
            world.tell(f"apikey:{round}-{n % 10}")
        victim.send_signal(signal.SIGKILL)
        victim.wait(30)
        if round % 2:
            database.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        victim = other.start()
        world.hurry()

    def done():
        world.hurry() if world.waiting() else None
        return world.waiting() == 0
    wait_for(done, 120, "all to be delivered")
    all_events = {str(id) for id, in database.query("SELECT id FROM domain_events WHERE type = 'apikey.created'")}
    assert len(all_events) == 300 and {event["id"] for event in receiver.events()} == all_events
    assert database.value("SELECT count(*) FROM deliveries_done WHERE state <> 'delivered'") == 0
    # In order of each subject, by when each was first taken well: a repeat has the same id.
    for subject, in database.query("SELECT DISTINCT subject FROM domain_events WHERE type = 'apikey.created'"):
        order = [str(id) for id, in database.query("SELECT id FROM domain_events WHERE subject = %s ORDER BY no", subject)]
        seen = list(dict.fromkeys(event["id"] for event in receiver.events() if event["id"] in set(order)))
        assert seen == order, subject


def test_two_relays_tell_each_event_once(database, jobd, receiver):
    world, other = World(database, jobd()), jobd()
    world.add(receiver.url())
    for n in range(500):
        world.tell(f"apikey:{n}")
    world.jobd.start()
    other.start()
    world.wait_until_told(60)
    assert len(receiver.at()) == 500 and len({event["id"] for event in receiver.events()}) == 500
    numbers = [no for no, in database.query("SELECT no FROM domain_events WHERE type = 'apikey.created' ORDER BY no")]
    assert len(set(numbers)) == 500
