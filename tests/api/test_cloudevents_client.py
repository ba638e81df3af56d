# SPDX-License-Identifier: Apache-2.0
"""Events that the CloudEvents project's own SDK makes and sends, through TLS: see tests/clients/cloudevents.js."""
import datetime

import pytest

from env import clients

MODES = ("structured", "binary", "batch")


def send(user, mode, *events):
    """The bodies of the answers."""
    order = {"url": user.stack.url + "/analytics/events", "token": user.token, "mode": mode, "events": events}
    return clients.run(user.stack, "cloudevents.js", order)


def event(id, **attributes):
    return {"id": id, "source": "https://example.org/tests", "type": "cost", "subject": "customer 7", **attributes}


def fates(mode, answers):
    """How many were recorded, and how many duplicates."""
    if mode == "batch":
        assert [answer["rejected"] for answer in answers] == [[]], answers
        return answers[0]["accepted"], answers[0]["duplicates"]
    statuses = [answer["status"] for answer in answers]
    return statuses.count("recorded"), statuses.count("duplicate")


@pytest.mark.parametrize("mode", MODES)
def test_what_the_sdk_sends_is_recorded(stack, user, mode):
    time = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=250000) - datetime.timedelta(days=1)
    full = event("full", time=time.isoformat(), datacontenttype="application/json", dataschema="https://example.org/schema",
                 data={"value": 2.5, "text": "é 🙂"}, traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    assert fates(mode, send(user, mode, full, event("bare", data={}))) == (2, 0)
    rows = stack.postgres.query(
        "SELECT type, value::float, user_id, metadata, occurred_at = %s FROM events WHERE workspace_id = %s ORDER BY value",
        time, user.workspace)
    assert rows == [("cost", 1, "customer 7", {}, False), ("cost", 2.5, "customer 7", full["data"], True)]


@pytest.mark.parametrize("first", MODES)
def test_an_event_of_the_sdk_counts_once_in_all_modes(user, first):
    assert fates(first, send(user, first, event("once", data={"value": 3}))) == (1, 0)
    for mode in MODES:
        assert fates(mode, send(user, mode, event("once", data={"value": 3}))) == (0, 1)
    assert user.get("/analytics/costs").json()["total_cost"] == 3


def test_what_is_wrong_is_told_to_the_sdk(user):
    bad = event("bad", type="com.example.Created", data={})
    for mode in ("structured", "binary"):
        answer, = send(user, mode, bad)
        assert (answer["status"], [error["field"] for error in answer["errors"]]) == (422, ["type"])
    answer, = send(user, "batch", event("a", data={}), bad, event("b", data={}))
    assert (answer["accepted"], [item["index"] for item in answer["rejected"]]) == (2, [1])
