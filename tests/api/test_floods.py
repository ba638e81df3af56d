# SPDX-License-Identifier: Apache-2.0
"""Small requests that would cost much, and secrets that faults would tell."""
import json

import pytest

from env.problems import assert_invalid, assert_problem
from env.wait import PATIENCE


def assert_little_memory(stack):
    """No worker ever had 64 MiB: some 15 of its own, and a few times the largest body. A stack of this file's own has
    had no other requests. Programs with sanitizers keep what was freed for a while, so there it would prove nothing."""
    peaks = []
    for worker in stack.ingest.workers:
        with open(f"/proc/{worker}/status", encoding="ascii") as status:
            peaks += [int(line.split()[1]) for line in status if line.startswith("VmHWM")]
    assert peaks and (PATIENCE > 1 or max(peaks) < 64 * 1024)


@pytest.fixture(scope="module")
def small(make_stack):
    return make_stack()


@pytest.mark.parametrize("element", ["{}", "[]", "0", '{"a":{}}'])
def test_a_body_of_very_many_values_takes_little_memory(small, element):
    body = '{"events":[' + ",".join([element] * (5_200_000 // (len(element) + 1))) + "]}"
    assert_invalid(small.new_user().post("/analytics/metrics/batch", data=body), events="too_long")
    assert_little_memory(small)


@pytest.mark.parametrize("element", ["{}", "[]", "0", '{"a":{}}'])
def test_an_event_of_very_many_values_takes_little_memory(small, element):
    """Of an event's tree only one is there at a time."""
    inner = ",".join([element] * (32_000 // (len(element) + 1)))
    body = "[" + ",".join(['{"metadata":{"a":[%s]}}' % inner] * 160) + "]"
    answer = small.new_user().post("/analytics/events", data=body)
    assert answer.status == 200, answer
    assert len(answer.json()["rejected"]) == 160
    assert_little_memory(small)


def test_very_many_members_beside_the_list_take_little_memory(small):
    body = '{"events":[{}],' + ",".join(f'"{n}":0' for n in range(450_000)) + "}"
    problem = assert_problem(small.new_user().post("/analytics/metrics/batch", data=body), 422)
    assert len(problem["errors"]) == 64
    assert "450000" in problem["detail"]
    assert_little_memory(small)


def test_very_many_faults_make_no_huge_answer(small):
    """Each event has more of them than are told of one, and in few bytes; still each is told by its place."""
    names = ",".join(f'"{chr(97 + n // 26)}{chr(97 + n % 26)}":0' for n in range(70))
    body = "[" + ",".join(["{" + names + "}"] * 10000) + "]"
    assert 4_900_000 < len(body) <= 5 * 1024 * 1024
    answer = small.new_user().post("/analytics/events", data=body)
    assert answer.status == 200, answer.status
    rejected = answer.json()["rejected"]
    assert [item["index"] for item in rejected] == list(range(10000))
    errors = [len(item["errors"]) for item in rejected]
    assert errors[0] == 64 and errors[-1] == 1
    assert sum(errors) == 11000
    assert len(answer.body) < 2_000_000
    assert_little_memory(small)


def test_a_full_batch_of_rich_events_is_not_too_many_values(small):
    user = small.new_user()
    events = [{"type": "t", "value": n, "user_id": "u", "metadata": {f"k{k}": [k, {"x": None}] for k in range(10)}}
              for n in range(10000)]
    assert user.post("/analytics/metrics/batch", {"events": events}).json()["accepted"] == 10000
    assert_little_memory(small)


@pytest.mark.parametrize("number", ["0e-99999", "0e99999999999", "0.0e-16384", "-0e401", "0e-99999999999999999999",
                                    "-0.0E-9223372036854775808", "0e9223372036854775808"])
def test_a_zero_with_a_huge_exponent_is_one_fields_fault(stack, user, number):
    good = '{"type":"t","value":0e-400,"user_id":"u"}'
    data = '{"events":[%s,{"type":"t","value":%s,"user_id":"u"}]}' % (good, number)
    answer = user.post("/analytics/metrics/batch", data=data).json()
    assert answer["accepted"] == 1
    assert [(r["index"], r["errors"][0]["code"]) for r in answer["rejected"]] == [(1, "out_of_range")]
    assert "PostgreSQL refused" not in stack.ingest.log_text


def test_a_body_with_a_content_encoding_is_not_taken_as_plain(user):
    answer = user.post("/analytics/events", {"type": "t", "value": 1, "user_id": "u"}, headers={"Content-Encoding": "gzip"})
    assert_problem(answer, 415)


def test_numbers_that_only_the_database_would_refuse_are_refused_at_the_door(stack, user):
    for number in ("1e-20000", "1e-400", "1e400", "0e-99999", "0e-99999999999999999999", "-0.0E-9223372036854775808", "0e99999999999999999999", "0.0e-16384",
                   "1" + "0" * 16360 + "e-16680", "0." + "1" * 401):
        data = '{"type":"t","value":1,"user_id":"u","metadata":{"a":[%s]}}' % number
        problem = assert_problem(user.post("/analytics/events", data=data), 422)
        assert [(e["field"], e["code"]) for e in problem["errors"]] == [("metadata", "out_of_range")]
    assert "PostgreSQL refused" not in stack.ingest.log_text


@pytest.mark.parametrize("url", [
    "postgre://app:S3cr3tPw@db.example/tallygate",
    "postgres://app:10%S3cr3tPw@db.example/tallygate",
    "postgres://app:S3cr3t/Pw@db.example/tallygate",
    "host=localhost pasword=S3cr3tPw",
    "S3cr3tPw",
])
def test_a_database_url_that_is_none_stops_the_start_and_is_not_told(stack, tmp_path, url):
    config = tmp_path / "tallygate.conf"
    config.write_text(f"database_url = {url}\nsecret_key_file = {stack.dir}/etc/secret.key\n")
    for command in (("tallygate-fcgi", "--check-config"), ("tallygate-fcgi", "--check-start"),
                    ("tallygatectl", "migrate", "status")):
        done = stack.program(command[0], "--config", str(config), *command[1:])
        assert done.returncode == 1, done
        assert "database_url" in done.stderr
        assert "S3cr3t" not in done.stdout + done.stderr, json.dumps(done.stderr)
