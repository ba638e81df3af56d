# SPDX-License-Identifier: Apache-2.0
"""The same id in the same workspace counts once, however it comes."""
import concurrent.futures
import datetime

import pytest

from env import consistency
from env.wait import wait_for


def event(id, **fields):
    return {"type": "cost", "value": 1, "user_id": "u", "id": id, **fields}


def send(user, id, path="/analytics/events", **fields):
    return user.post(path, event(id, **fields))


def batch(user, *events):
    answer = user.post("/analytics/metrics/batch", {"events": list(events)})
    assert answer.status == 200, answer
    body = answer.json()
    return body["accepted"], body["duplicates"], body["rejected"]


def counted(user):
    """How many events the answers count, and their sum."""
    costs = user.get("/analytics/costs").json()
    return costs["events"], costs["total_cost"]


def test_again(user):
    first = send(user, "a")
    assert first.status == 201 and first.json()["status"] == "recorded"
    again = send(user, "a")
    assert again.status == 200
    assert again.json() == {**first.json(), "status": "duplicate"}
    assert counted(user) == (1, 1)


def test_the_first_one_counts_whatever_the_second_says(stack, user):
    first = send(user, "a", value=5, metadata={"n": 1})
    yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    again = send(user, "a", value=7, user_id="other", type="api_call", timestamp=yesterday.isoformat())
    assert (again.status, again.json()) == (200, {**first.json(), "status": "duplicate"})
    assert counted(user) == (1, 5)
    rows = stack.postgres.query("SELECT value, user_id, type FROM events WHERE workspace_id = %s", user.workspace)
    assert rows == [(5, "u", "cost")]


def test_many_times(user):
    assert [send(user, "a").status for _ in range(10)] == [201] + [200] * 9
    assert counted(user) == (1, 1)


def test_without_an_id_each_counts(user):
    ids = {user.record(type="cost")["id"] for _ in range(5)}
    assert len(ids) == 5
    assert counted(user) == (5, 5)


def test_id_that_the_service_made(user):
    made = user.record(type="cost")["id"]
    assert send(user, made).json()["status"] == "duplicate"


@pytest.mark.parametrize("first, second", [("a", "A"), ("a", "a "), ("é", "e\u0301"), ("1", "01"), ("x", "x\u200b")])
def test_ids_that_only_look_alike(user, first, second):
    assert [send(user, id).status for id in (first, second)] == [201, 201]


def test_another_tenant_may_use_the_same_id(user, other):
    assert send(user, "shared").status == 201
    assert send(other, "shared").status == 201
    assert counted(user) == counted(other) == (1, 1)


def test_across_the_prefix(user):
    assert send(user, "a").status == 201
    assert send(user, "a", path="/api/v1/analytics/events").status == 200


def test_across_sessions(user):
    assert send(user, "a").status == 201
    assert send(user.login(), "a").status == 200


def test_event_then_batch(user):
    assert send(user, "a").status == 201
    assert batch(user, event("a"), event("b")) == (1, 1, [])
    assert counted(user) == (2, 2)


def test_batch_then_event(user):
    assert batch(user, event("a")) == (1, 0, [])
    assert send(user, "a").status == 200
    assert counted(user) == (1, 1)


def test_within_one_batch_the_first_counts(user):
    assert batch(user, event("a", value=3), event("a", value=4), event("b"), event("a", value=5)) == (2, 2, [])
    assert counted(user) == (2, 4)


def test_the_same_batch_again(user):
    events = [event(f"e{n}") for n in range(100)]
    assert batch(user, *events) == (100, 0, [])
    assert batch(user, *events) == (0, 100, [])
    assert counted(user) == (100, 100)


def test_rejected_one_does_not_take_its_id(user):
    accepted, duplicates, rejected = batch(user, event("a", value="x"), event("a", value=2))
    assert (accepted, duplicates, [item["index"] for item in rejected]) == (1, 0, [0])
    assert counted(user) == (1, 2)


def test_at_the_same_moment_one_is_recorded(user):
    def attempt(n):
        client = user.stack.new_client(user.token)
        try:
            if n % 4:
                return client.post("/analytics/events", event("race")).json()["status"]
            body = client.post("/analytics/metrics/batch", {"events": [event("race")]}).json()
            return "recorded" if body["accepted"] else "duplicate"
        finally:
            client.close()

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        fates = sorted(pool.map(attempt, range(32)))
    assert fates == ["duplicate"] * 31 + ["recorded"]
    assert counted(user) == (1, 1)


def test_over_several_workers(make_stack):
    """Each worker has a committer of its own; the ids are the same for all."""
    stack = make_stack(ingest_workers=3, ingest_threads=2)
    user = stack.new_user()
    fates = []

    def attempt(n):
        client = stack.new_client(user.token)
        try:
            return client.post("/analytics/events", event(f"id-{n}")).json()["status"]
        finally:
            client.close()

    def several_took_part():
        """A round of ten ids, each sent by twelve at once; the workers share them as they like."""
        first = len(fates) // 12
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            fates.extend(pool.map(attempt, [first + n for n in range(10) for _ in range(12)]))
        lines = [line for line in stack.ingest.log() if line.get("route") == "/analytics/events" and "user_id" in line]
        return len({line["pid"] for line in lines}) > 1

    wait_for(several_took_part, 30)
    ids = len(fates) // 12
    assert fates.count("recorded") == ids
    assert counted(user) == (ids, ids)


def test_after_a_restart(make_stack):
    stack = make_stack()
    user = stack.new_user()
    first = send(user, "a").json()
    stack.down()
    stack.up()
    again = send(user, "a")
    assert (again.status, again.json()) == (200, {**first, "status": "duplicate"})
    assert counted(user) == (1, 1)


# ---- from before the window ----

def at(n):
    return (datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0, second=0)
            - datetime.timedelta(days=100, hours=n)).isoformat()


def test_same_id_and_time_from_before_the_window(stack, user):
    """Its id is forgotten, but the event stands: it is a duplicate, and its neighbours are recorded."""
    times = [at(n) for n in range(20)]
    old = [event(id=f"old-{n}", timestamp=times[n]) for n in range(20)]
    assert user.post("/analytics/metrics/batch", {"events": old}).json()["accepted"] == 20
    stack.postgres.query("DELETE FROM event_ids WHERE workspace_id = %s", user.workspace)
    mixed = [item for n in range(20) for item in (old[n], event(id=f"new-{n}", timestamp=times[n]))]
    answer = user.post("/analytics/metrics/batch", {"events": mixed}).json()
    assert answer == {"accepted": 20, "duplicates": 20, "rejected": []}
    single = user.post("/analytics/events", old[3])
    assert (single.status, single.json()["status"]) == (200, "duplicate")
    consistency.check(stack.postgres, user.workspace)
    assert stack.postgres.value("SELECT count(*) FROM events WHERE workspace_id = %s", user.workspace) == 40
