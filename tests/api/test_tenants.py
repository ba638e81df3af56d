# SPDX-License-Identifier: Apache-2.0
"""No one sees, counts or changes another's."""
import concurrent.futures

import pytest

SECRET = "secret-customer"


@pytest.fixture
def neighbour(other):
    """Has some of everything."""
    for type, value in [("api_call", 1), ("tool_execution", 1), ("cost", 123.5), ("session", 60), ("own.type", 9)]:
        other.record(type, value, SECRET, id=f"id-{type}", metadata={"k": "private"})
    return other


@pytest.mark.parametrize("path", [
    "/analytics/metrics?days=400", f"/analytics/usage/{SECRET}?days=400", "/analytics/costs?days=400",
    "/analytics/costs?days=400&group_by=user", "/analytics/reports/daily", "/auth/profile", "/auth/verify",
    "/analytics/events/date-range", f"/analytics/users/{SECRET}/events",
])
def test_answers_are_those_of_someone_without_events(stack, user, neighbour, path):
    """Byte for byte what somebody sees who is alone, but for their own person."""
    seen = user.get(path)
    assert seen.status == 200
    assert neighbour.email not in seen.text
    if path.startswith("/analytics"):
        assert seen.body != neighbour.get(path).body
        assert "123.5" not in seen.text and "own.type" not in seen.text
        assert seen.json() == stack.new_user().get(path).json()


def test_both_write_and_each_sees_their_own(user, other):
    for n in range(5):
        user.record("cost", 1, "shared-name", id=f"{n}")
        other.record("cost", 10, "shared-name", id=f"{n}")
    assert user.get("/analytics/usage/shared-name").json()["total_cost"] == 5
    assert other.get("/analytics/usage/shared-name").json()["total_cost"] == 50
    for person, total in ((user, 5), (other, 50)):
        assert person.get("/analytics/costs").json()["total_cost"] == total
        assert person.get("/analytics/metrics").json()["total_metrics"] == 5
        report = person.get("/analytics/reports/daily").json()
        assert report["top_users"] in ([{"user_id": "shared-name", "events": 5, "cost": total}], [])


def test_duplicate_does_not_tell_what_another_sent(user, neighbour):
    answer = user.post("/analytics/events", {"type": "cost", "value": 1, "user_id": "u", "id": "id-cost"})
    assert answer.status == 201
    assert user.get("/analytics/costs").json()["total_cost"] == 1


def test_batches_of_two_tenants_in_one_commit(stack, user, other):
    """Many at once share a transaction; the fates must not be mixed up."""
    def send(person, n):
        client = stack.new_client(person.token)
        try:
            event = {"type": "cost", "value": n, "user_id": f"u{n % 3}", "id": f"same-{n}"}
            return client.post("/analytics/events", event).status
        finally:
            client.close()

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        jobs = [pool.submit(send, person, n) for n in range(60) for person in (user, other)]
        assert {job.result() for job in jobs} == {201}
    for person in (user, other):
        body = person.get("/analytics/costs").json()
        assert (body["events"], body["total_cost"]) == (60, sum(range(60)))


@pytest.mark.parametrize("header", [
    {"X-Workspace-ID": "1"}, {"X-User-ID": "1"}, {"X-Forwarded-User": "1"}, {"X-Original-URL": "/auth/users/1"},
    {"X-HTTP-Method-Override": "DELETE"}, {"X-Rewrite-URL": "/analytics/costs"},
])
def test_headers_choose_no_tenant(user, neighbour, header):
    answer = user.get("/analytics/metrics", headers=header)
    assert (answer.status, answer.json()["total_metrics"]) == (200, 0)


@pytest.mark.parametrize("field", ["workspace", "workspace_id", "tenant", "ws"])
def test_fields_choose_no_tenant(user, neighbour, field):
    body = {"type": "x", "value": 1, "user_id": "u", field: neighbour.workspace}
    assert user.post("/analytics/events", body).status == 422
    assert user.get(f"/analytics/metrics?{field}={neighbour.workspace}").status == 422
