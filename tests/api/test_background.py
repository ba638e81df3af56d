# SPDX-License-Identifier: Apache-2.0
"""/admin/jobs and /admin/schedules: background work as administrators see it. Nobody runs it here; tests/resilience/test_jobs.py does."""
import pytest

from env.problems import assert_invalid, assert_problem


@pytest.fixture(scope="module")
def admin(stack):
    user = stack.new_user()
    assert stack.ctl("user", "role", user.email, "admin").returncode == 0
    return user.login()


def put(admin, **fields):
    answer = admin.post("/admin/jobs", {"type": "nothing", **fields})
    assert answer.status == 201, answer
    return answer.json()


def set_state(stack, job, state):
    stack.postgres.query("UPDATE jobs SET state = %s, attempts = 3, error = 'why' WHERE id = %s", state, job["id"])


def test_a_job_is_put_in_and_shown(stack, admin):
    job = put(admin, payload={"a": [1, "ü"]}, priority=2, run_at="2099-01-01T00:00:00+01:00")
    assert job == {"id": job["id"], "type": "nothing", "state": "waiting", "priority": 2, "attempts": 0, "run_at": "2098-12-31T23:00:00.000000Z",
                   "started_at": None, "finished_at": None, "progress": None, "error": None, "payload": {"a": [1, "ü"]}}
    assert admin.get(f"/admin/jobs/{job['id']}").json() == job
    plain = put(admin)
    assert (plain["priority"], plain["payload"]) == (1, {})
    [entry] = stack.postgres.query("SELECT actor_id, action, detail FROM audit_log WHERE subject = %s", f"job:{job['id']}")
    assert entry == (admin.id, "job.created", {"type": "nothing"})


def test_the_same_key_makes_one(admin):
    first = admin.post("/admin/jobs", {"type": "nothing"}, headers={"Idempotency-Key": "one-job"})
    second = admin.post("/admin/jobs", {"type": "nothing"}, headers={"Idempotency-Key": "one-job"})
    assert first.status == second.status == 201 and first.json() == second.json()


def test_a_list_in_pages(stack, admin):
    made = [put(admin)["id"] for _ in range(5)]
    found, cursor = [], None
    while True:
        page = admin.get("/admin/jobs", params={"limit": 2, "type": "nothing", "state": "waiting", **({"cursor": cursor} if cursor else {})}).json()
        found += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if not cursor or set(made) <= set(found):
            break
    assert found[:5] == made[::-1]
    stack.postgres.query("INSERT INTO jobs_done (id, type, payload, attempts, created_at, started_at) VALUES (%s, 'x', '{}', 1, now(), now())", 10 ** 12)
    [done] = admin.get("/admin/jobs", params={"state": "done", "type": "x"}).json()["items"]
    assert (done["id"], done["state"]) == (10 ** 12, "done") and done["finished_at"]
    assert admin.get(f"/admin/jobs/{10 ** 12}").json() == done


def test_a_dead_one_is_tried_again(stack, admin):
    job = put(admin)
    assert_problem(admin.post(f"/admin/jobs/{job['id']}/retry"), 409)
    set_state(stack, job, "dead")
    assert admin.get(f"/admin/jobs/{job['id']}").json()["error"] == "why"
    answer = admin.post(f"/admin/jobs/{job['id']}/retry")
    assert (answer.status, answer.json()["state"], answer.json()["attempts"]) == (200, "waiting", 0)


def test_one_is_discarded(stack, admin):
    job = put(admin)
    set_state(stack, job, "running")
    assert_problem(admin.delete(f"/admin/jobs/{job['id']}"), 409)
    set_state(stack, job, "dead")
    assert admin.delete(f"/admin/jobs/{job['id']}").status == 204
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/retry")):
        assert_problem(admin.request(method, f"/admin/jobs/{job['id']}{path}"), 404)
    actions = [action for action, in stack.postgres.query("SELECT action FROM audit_log WHERE subject = %s ORDER BY id", f"job:{job['id']}")]
    assert actions == ["job.created", "job.discarded"]


@pytest.mark.parametrize("body, wrong", [
    ({}, {"type": "required"}), ({"type": "unheard.of"}, {"type": "invalid"}), ({"type": "nothing", "priority": 3}, {"priority": "out_of_range"}),
    ({"type": "nothing", "payload": []}, {"payload": "type"}), ({"type": "nothing", "payload": {"a": "\0"}}, {"payload": "nul_character"}),
    ({"type": "nothing", "run_at": "soon"}, {"run_at": "format"}), ({"type": "nothing", "more": 1}, {"more": "unknown"}),
    ({"type": "nothing\0"}, {"type": "nul_character"}),
])
def test_what_is_not_valid(admin, body, wrong):
    answer = admin.post("/admin/jobs", body)
    assert answer.status == 422
    assert {error["field"] for error in answer.json()["errors"]} == set(wrong)


def test_questions_that_are_none(admin):
    assert_invalid(admin.get("/admin/jobs", params={"state": "odd"}), state="format")
    assert admin.get("/admin/jobs", params={"limit": 0}).status == 422


def test_schedules(stack, admin):
    stack.postgres.query("INSERT INTO schedules (name, cron, type, next_at) VALUES ('test', '0 2 * * *', 'nothing', '2099-01-01')")
    [item] = [item for item in admin.get("/admin/schedules").json()["items"] if item["name"] == "test"]
    assert item == {"name": "test", "cron": "0 2 * * *", "timezone": "UTC", "type": "nothing", "next_at": "2099-01-01T00:00:00.000000Z",
                    "last_at": None, "last_job_id": None}
    stack.postgres.query("DELETE FROM schedules")
