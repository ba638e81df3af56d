# SPDX-License-Identifier: Apache-2.0
"""Rows that PostgreSQL refuses, though the door let them in: here a trigger of the test's refuses them."""
import concurrent.futures
import threading

import pytest

TRIGGER = """
CREATE SEQUENCE attempts; -- a rolled back transaction does not turn it back
GRANT USAGE ON SEQUENCE attempts TO tallygate_app;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.type = 'poison' THEN
        RAISE EXCEPTION 'refused' USING ERRCODE = '22003';
    END IF;
    IF NEW.type = 'flaky' AND nextval('attempts') < 10 THEN
        RAISE EXCEPTION 'try again' USING ERRCODE = '40001';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse();
"""


def refusing(make_stack, **settings):
    stack = make_stack(ingest_workers=1, **settings)
    stack.new_user().record()
    stack.postgres.query(TRIGGER)
    return stack


@pytest.fixture(scope="module")
def patient(make_stack):
    return refusing(make_stack, ingest_wait_ms=20000)


@pytest.fixture(scope="module")
def hasty(make_stack):
    return refusing(make_stack, ingest_wait_ms=2000)


def event(type, event_id=None):
    return {"type": type, "value": 1, "user_id": "u", **({"id": event_id} if event_id else {})}


def send(user, events):
    answer = user.stack.new_client(user.token).post("/analytics/metrics/batch", {"events": events})
    assert answer.status == 200, answer
    return answer.json()


def codes(body):
    return {item["index"]: item["errors"][0]["code"] for item in body["rejected"]}


def stored(user):
    return user.stack.postgres.value("SELECT count(*) FROM events WHERE workspace_id = %s", user.workspace)


def test_each_is_found_and_its_neighbours_are_recorded(patient):
    user = patient.new_user()
    body = send(user, [event("poison" if n % 7 == 3 else "good", str(n)) for n in range(100)])
    assert codes(body) == {n: "refused" for n in range(100) if n % 7 == 3}
    assert body["accepted"] == stored(user) == 100 - len(codes(body))
    assert user.get("/analytics/metrics").json()["total_metrics"] == body["accepted"]


def test_what_passes_is_tried_again_on_the_way(patient):
    """A deadlock or a serialisation failure says nothing about a row."""
    user = patient.new_user()
    body = send(user, [event("flaky" if n % 10 == 0 else "poison" if n == 35 else "good", str(n)) for n in range(60)])
    assert codes(body) == {35: "refused"}
    assert body["accepted"] == stored(user) == 59


def test_ones_own_rows_cost_the_others_little(hasty):
    """While thousands of one tenant's rows are sifted until its time is over, everybody else is recorded."""
    bad, good = hasty.new_user(), hasty.new_user()
    stop, bodies = threading.Event(), []

    def flood():
        while not stop.is_set():
            answer = hasty.new_client(bad.token).post(
                "/analytics/metrics/batch", {"events": [event("poison") for _ in range(2000)]})
            bodies.append(answer)

    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        flooding = pool.submit(flood)

        def one(n):
            client = hasty.new_client(good.token)
            return [client.post("/analytics/events", event("good", f"{n}-{k}")).status for k in range(10)]

        try:
            statuses = [status for answers in pool.map(one, range(8)) for status in answers]
        finally:
            stop.set()
            flooding.result()
    assert set(statuses) == {201}
    assert stored(good) == 80 and stored(bad) == 0
    assert {answer.status for answer in bodies} <= {200, 503}


def test_what_was_recorded_before_the_time_was_over_is_told(hasty):
    """A 503 for all would make the client send again what counts already."""
    user = hasty.new_user()
    body = send(user, [event("good" if n < 1000 else "poison", f"{n:05d}") for n in range(8000)])
    told = codes(body)
    assert body["accepted"] == stored(user) == 1000
    assert set(told) == set(range(1000, 8000))
    assert set(told.values()) == {"refused", "unavailable"}


def test_what_is_older_than_the_window_is_known_in_one_go(patient):
    """The ids are forgotten, the events are there: many of both are one transaction more, not one each."""
    user = patient.new_user()
    at = patient.postgres.value("SELECT to_char(now() - interval '1 minute', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")
    events = [{**event("good", str(n)), "timestamp": at} for n in range(400)]
    assert send(user, events[:200])["accepted"] == 200
    patient.postgres.query("DELETE FROM event_ids WHERE workspace_id = %s", user.workspace)
    body = send(user, events)
    assert (body["accepted"], body["duplicates"], body["rejected"]) == (200, 200, [])
    assert stored(user) == 400
    transactions = "SELECT count(DISTINCT xmin::text) FROM events WHERE workspace_id = %s"
    assert patient.postgres.value(transactions, user.workspace) == 2
