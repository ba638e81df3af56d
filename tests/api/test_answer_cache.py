# SPDX-License-Identifier: Apache-2.0
"""Figures that are shown again: for a second at the most, to their own tenant, and never unasked-for.

What a worker keeps of periods that are over, with Redis, is in tests/drivers/test_answer.py.
"""
import datetime
import time

import pytest

from env.problems import assert_invalid, assert_problem
from env.wait import wait_for
from model import DAY, UTC

PATH = "/analytics/usage/u"
HIT, MISS = "tallygate; hit", "tallygate; fwd=miss"


@pytest.fixture(scope="module")
def stack(make_stack):
    """One worker, so that whoever asks twice asks the same."""
    return make_stack(cache_unfinished_ms=1000, api_workers=1)


def ask(user, path=PATH, **headers):
    return user.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


def status(answer):
    assert answer.status == 200, answer
    return answer.headers["Cache-Status"]


def calls(answer):
    return answer.json()["api_calls"]


def ask_twice(user, between=lambda: None, path=PATH, **headers):
    """Two answers to one question, the second of which was kept."""

    def attempt():
        first = ask(user, path, **headers)
        between()
        second = ask(user, path, **headers)
        return status(first) == MISS and status(second) == HIT and (first, second)

    return wait_for(attempt, what="two answers within a second")


def test_shown_again_within_a_second(user):
    first, second = ask_twice(user, between=user.record)
    assert second.body == first.body, "the event is not in it yet"
    expected = user.stack.postgres.value("SELECT count(*) FROM events WHERE workspace_id = %s", user.workspace)
    wait_for(lambda: calls(ask(user)) == expected, 2, "the events in the figures")


def test_each_question_has_its_own(user):
    ask_twice(user)
    for path in (f"{PATH}?days=8", "/analytics/usage/u2", "/analytics/usage/u%7Cdays=7", f"{PATH}%20"):
        answer = ask(user, path)
        assert status(answer) == MISS, path


def test_one_question_in_other_words(user):
    """The key is of what is asked, not of how it is written."""
    for path in (f"{PATH}?days=7", f"{PATH}?&days=%37", "/analytics/usage/%75", f"/api/v1{PATH}"):

        def attempt(path=path):
            return status(ask(user)) == MISS and status(ask(user, path)) == HIT

        wait_for(attempt, what=f"a hit for {path}")


def test_another_workspace_never_gets_it(user, other):
    user.record(user_id="u")
    for _ in range(2):
        other.record(user_id="u")

    def both():
        mine, theirs = ask_twice(user)[1], ask_twice(other)[1]
        return (calls(mine), calls(theirs)) == (1, 2)

    wait_for(both, what="the figures of each")
    for _ in range(20):
        assert (calls(ask(user)), calls(ask(other))) == (1, 2)


@pytest.mark.parametrize("directive", ["no-cache", "no-store", "max-age=0, No-Cache"])
def test_a_client_can_ask_for_a_new_one(user, directive):
    before = calls(ask(user, Cache_Control="no-cache"))
    ask_twice(user, between=user.record)
    fresh = ask(user, Cache_Control=directive)
    assert status(fresh) == "tallygate; fwd=request"
    assert calls(fresh) > before
    assert calls(ask(user)) == calls(fresh), "the new one is what others get from now on"


def test_other_directives_do_not(user):
    ask_twice(user, Cache_Control="max-age=0")


def test_off(make_stack):
    stack = make_stack(cache_unfinished_ms=0)
    user = stack.new_user()
    for n in range(1, 4):
        user.record()
        answer = ask(user)
        assert (calls(answer), status(answer)) == (n, "tallygate; fwd=bypass")


def test_needs_a_token_each_time(stack, user):
    ask_twice(user)
    assert_problem(stack.client.get(PATH), 401)
    stack.client.delete(f"/auth/users/{user.id}", token=user.token)
    wait_for(lambda: ask(user).status == 401, what="the end of the token")


def test_problems_are_not_kept(user):
    assert_invalid(ask(user, f"{PATH}?days=0"), days="out_of_range")
    assert "Cache-Status" not in ask(user, f"{PATH}?days=0").headers
    assert ask(user, PATH).status == 200


def test_without_redis(stack, user):
    stack.redis.stop()
    try:
        user.record()
        assert calls(ask(user, Cache_Control="no-cache")) == 1
        ask_twice(user)
    finally:
        stack.up()


# ---- periods that are over ----

FIGURES = ["/analytics/metrics", "/analytics/summary", "/analytics/events/by-type", "/analytics/query?group_by=type",
           "/analytics/query?group_by=metadata.k", "/analytics/usage/u", "/analytics/costs", "/analytics/reports/daily"]


def day(days_ago):
    return datetime.datetime.now(UTC).date() - days_ago * DAY


def finished(path, days_ago=3, days=1):
    """A question about days that are over for good, however close to midnight it is."""
    first, last = day(days_ago + days - 1), day(days_ago)
    period = f"date={last}" if path.endswith("daily") else f"start={first}&end={last}"
    return f"{path}{'&' if '?' in path else '?'}{period}"


def record_at(user, date, **fields):
    user.record(timestamp=f"{date}T12:00:00Z", **fields)


def outlast(seconds):
    """Wait until what is kept for so long is gone."""
    until = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() > until)


@pytest.mark.parametrize("path", FIGURES)
def test_kept_for_longer_when_it_is_over(user, path):
    record_at(user, day(3), type="cost", user_id="u")
    path = finished(path)
    first = ask(user, path)
    assert status(first) == MISS
    user.record("cost", 1, "u")
    outlast(1.2)
    for _ in range(2):
        again = ask(user, path)
        assert (status(again), again.body) == (HIT, first.body), "what comes now is not part of it"


@pytest.mark.parametrize("path", FIGURES)
def test_a_late_event_makes_it_new_within_a_second(user, path):
    record_at(user, day(3), type="cost", user_id="u")
    path = finished(path)
    for n in range(2):
        kept = ask(user, path)
        assert status(ask(user, path)) == HIT
        record_at(user, day(3), type="cost", user_id="u", metadata={"k": f"late {n}"})
        fresh = wait_for(lambda kept=kept: (answer := ask(user, path)).body != kept.body and answer, 2, "the late event")
        assert fresh.headers["ETag"] != kept.headers["ETag"]
        assert ask(user, path).body == fresh.body


def test_a_late_event_elsewhere_changes_nothing(user):
    record_at(user, day(3), user_id="u")
    path = finished("/analytics/metrics")
    kept = ask(user, path)
    record_at(user, day(5), user_id="u")
    outlast(1.2)
    assert ask(user, path).body == kept.body
    assert ask(user, path, If_None_Match=kept.headers["ETag"]).status == 304


@pytest.mark.parametrize("path", FIGURES)
def test_what_is_over_is_not_another_workspaces(user, other, path):
    """Neither their figures, kept before or after, nor their late events reach mine."""
    for tenant, count in ((user, 1), (other, 2)):
        for _ in range(count):
            record_at(tenant, day(3), type="cost", user_id="u")
    path = finished(path)
    mine, theirs = ask(user, path), ask(other, path)
    assert (status(mine), status(theirs)) == (MISS, MISS)
    assert mine.body != theirs.body
    record_at(other, day(3), type="cost", user_id="u")
    wait_for(lambda: ask(other, path).body != theirs.body, 2, "the late event")
    again = ask(user, path)
    assert (status(again), again.body) == (HIT, mine.body)


def test_selections_of_what_is_over(user):
    record_at(user, day(3), user_id="u")
    path = finished("/analytics/summary")
    whole = ask(user, path).json()
    some = ask(user, f"{path}&fields=total_events,by_type.type")
    assert status(some) == HIT
    assert some.json() == {"total_events": whole["total_events"], "by_type": [{"type": "api_call"}]}


def test_days_of_another_zone_are_over_later(user):
    """An hour after midnight in UTC it is still yesterday in Los Angeles, and what comes there is not late."""
    record_at(user, day(3), user_id="u")
    path = finished("/analytics/events/by-type") + "&timezone=America/Los_Angeles"
    assert status(ask(user, path)) == MISS
    outlast(1.2)
    assert status(ask(user, path)) == MISS


# ---- fields ----

def test_fields(user):
    user.record("cost", 3)
    whole = ask(user, f"{PATH}?days=9").json()
    some = ask(user, f"{PATH}?days=9&fields=total_cost,user_id").json()
    assert some == {"user_id": "u", "total_cost": 3}
    assert list(some) == ["user_id", "total_cost"], "in the order of the whole"
    assert {name: whole[name] for name in some} == some


def test_all_selections_share_what_is_kept(user):
    _, kept = ask_twice(user)

    def attempt():
        some = ask(user, f"{PATH}?fields=days,api_calls")
        return status(some) == HIT and status(ask(user)) == HIT and some.json()

    assert wait_for(attempt) == {"days": 7, "api_calls": calls(kept)}


@pytest.mark.parametrize("fields", ["", ",", "a,", "a..b", "a.b.c.d.e", "a b", "a-b", "*", "é", "x" * 65])
def test_malformed_fields(user, fields):
    code = "format" if fields else "too_short"
    assert_invalid(ask(user, f"{PATH}?fields={fields}"), fields=code)


@pytest.mark.parametrize("fields, names", [("nope", ["nope"]), ("days,total_cost.x", ["total_cost.x"]),
                                           ("a,days,b.c", ["a", "b"]), ("Days", ["Days"])])
def test_fields_that_the_answer_does_not_have(user, fields, names):
    problem = assert_invalid(ask(user, f"{PATH}?fields={fields}"), fields="unknown_field")
    assert [error["message"].rpartition(" ")[2] for error in problem["errors"]] == names


def test_limits_of_fields(user):
    assert ask(user, f"{PATH}?fields={','.join(['days'] * 32)}").status == 200
    assert_invalid(ask(user, f"{PATH}?fields={','.join(['days'] * 33)}"), fields="format")
    assert_invalid(ask(user, f"{PATH}?fields={'x' * 1001}"), fields="too_long")
    assert_invalid(ask(user, f"{PATH}?fields=days&fields=days"), fields="repeated")


# ---- with conditional GET ----

def test_the_tag_is_of_what_is_sent(user):
    user.record("cost", 1)
    path = f"{PATH}?fields=total_cost"
    first, second = ask_twice(user, path=path)
    tag = first.headers["ETag"]
    assert second.headers["ETag"] == tag, "whether it was kept or not"
    assert ask(user).headers["ETag"] != tag
    again = ask(user, path, If_None_Match=tag)
    assert (again.status, again.body) == (304, b"")
    assert again.headers["Cache-Status"] in (HIT, MISS)
    user.record("api_call", 1)
    assert ask(user, path, If_None_Match=tag, Cache_Control="no-cache").status == 304, "costs are as they were"
    user.record("cost", 1)
    assert ask(user, path, If_None_Match=tag, Cache_Control="no-cache").status == 200


# ---- in Redis ----

def five_days_ago():
    return str((datetime.datetime.now(UTC) - 5 * DAY).date())


def of_five_days_ago(user, path, **params):
    """What is asked of a day that is over."""
    return user.get(path, params={"start": five_days_ago(), "end": five_days_ago(), **params})


def record_finished(user, value, user_id="u"):
    user.record("cost", value, user_id, timestamp=f"{five_days_ago()}T12:00:00Z")


def test_installations_that_share_a_redis_do_not_mix(make_stack):
    """Their workspaces have the same numbers, and their late events the same count."""
    here = make_stack()
    there = make_stack(redis_url=f"unix:{here.dir}/run/redis.sock")
    ours, theirs = here.new_user(), there.new_user()
    assert ours.workspace == theirs.workspace
    for user, value in ((ours, 1), (theirs, 2)):
        record_finished(user, value)
    assert of_five_days_ago(ours, "/analytics/summary").json()["total_value"] == 1
    assert here.redis.client().keys("tallygate:answer:*")
    assert of_five_days_ago(theirs, "/analytics/summary").json()["total_value"] == 2
    assert len(here.redis.client().keys("tallygate:answer:*")) == 2


def test_what_clients_can_make_up_is_not_there(make_stack):
    """Any user id is a question, and so is any cursor."""
    stack = make_stack()
    user = stack.new_user()
    for n in range(5):
        record_finished(user, n, f"u{n}")
    for n in range(5):
        assert of_five_days_ago(user, f"/analytics/usage/u{n}").status == 200
    page = of_five_days_ago(user, "/analytics/costs", group_by="user", limit=2).json()
    assert len(stack.redis.client().keys("tallygate:answer:*")) == 1
    assert of_five_days_ago(user, "/analytics/costs", group_by="user", limit=2, cursor=page["next_cursor"]).status == 200
    assert len(stack.redis.client().keys("tallygate:answer:*")) == 1
