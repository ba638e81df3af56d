# SPDX-License-Identifier: Apache-2.0
"""ETag and If-None-Match, through nginx: an answer that the client has is not sent again."""
import gzip

import pytest

from env.problems import assert_problem

PATHS = ["/analytics/metrics", "/analytics/usage/u", "/analytics/costs", "/analytics/reports/daily", "/analytics/summary",
         "/analytics/events/by-type", "/analytics/query"]


def ask(user, path, tag, **headers):
    return user.get(path, headers={"If-None-Match": tag, **headers})


def assert_not_modified(answer, tag):
    assert (answer.status, answer.body) == (304, b""), answer
    assert answer.headers["ETag"] == tag
    assert answer.headers["Cache-Control"] == "private, no-cache"
    vary = {word.strip() for word in answer.headers["Vary"].split(",")}
    assert vary >= {"Authorization", "Accept-Encoding"}, "as the 200 has"
    assert "Content-Type" not in answer.headers
    assert answer.headers.get("Content-Length", "0") == "0"
    assert answer.headers["X-Request-ID"] and answer.headers["Strict-Transport-Security"]


@pytest.mark.parametrize("path", PATHS)
def test_what_is_unchanged_is_not_sent_again(user, path):
    user.record("cost", 1)
    first = user.get(path)
    assert first.status == 200
    tag = first.headers["ETag"]
    assert tag.startswith('W/"') and tag.endswith('"')
    assert first.headers["Cache-Control"] == "private, no-cache"
    assert "Authorization" in first.headers["Vary"]
    assert_not_modified(ask(user, path, tag), tag)
    user.record("cost", 1)
    changed = ask(user, path, tag)
    assert changed.status == 200
    assert changed.headers["ETag"] != tag
    assert changed.json() != first.json()
    assert_not_modified(ask(user, path, changed.headers["ETag"]), changed.headers["ETag"])


@pytest.mark.parametrize("form", ["{strong}", "*", '"x", {tag}', '{tag},W/"y"', "{tag}  "])
def test_other_ways_to_name_it(user, form):
    tag = user.get(PATHS[0]).headers["ETag"]
    assert_not_modified(ask(user, PATHS[0], form.format(tag=tag, strong=tag[2:])), tag)


@pytest.mark.parametrize("tag", ['"x"', 'W/"x"', "x", '"', "W/", ","])
def test_other_tags(user, tag):
    assert ask(user, PATHS[0], tag).status == 200


def test_head(user):
    get, head = user.get(PATHS[0]), user.request("HEAD", PATHS[0])
    assert head.headers["ETag"] == get.headers["ETag"]
    tag = head.headers["ETag"]
    assert_not_modified(user.request("HEAD", PATHS[0], headers={"If-None-Match": tag}), tag)


def test_one_connection_goes_on_after_a_304(user):
    tag = user.get(PATHS[0]).headers["ETag"]
    for _ in range(3):
        assert_not_modified(ask(user, PATHS[0], tag), tag)
        assert user.get(PATHS[0]).json()


def test_compressed(user):
    """nginx compresses it and leaves the weak tag as it is, which then names the answer in any coding."""
    events = [{"type": "cost", "value": n, "user_id": f"customer-{n}"} for n in range(100)]
    assert user.post("/analytics/metrics/batch", {"events": events}).status == 200
    path = "/analytics/costs?group_by=user"

    def raw(**headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return user.stack.raw("GET", path, {"Authorization": f"Bearer {user.token}", **headers})

    plain, packed = raw(), raw(Accept_Encoding="gzip")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    tag = plain.headers["ETag"]
    assert packed.headers["ETag"] == tag
    vary = {word.strip() for word in packed.headers["Vary"].split(",")}
    assert vary == {"Authorization", "Accept-Encoding"}
    assert_not_modified(raw(Accept_Encoding="gzip", If_None_Match=tag), tag)
    assert_not_modified(raw(If_None_Match=tag), tag)


def test_over_http_2(stack, user):
    tag = user.get(PATHS[0]).headers["ETag"]
    options = ["--http2", "-H", f"Authorization: Bearer {user.token}", "-H", f"If-None-Match: {tag}"]
    lines = stack.curl(PATHS[0], *options).stdout.splitlines()
    assert lines[0].split()[:2] == ["HTTP/2", "304"]
    assert f"etag: {tag}" in lines


def test_the_token_is_asked_for_first(user, client):
    tag = user.get(PATHS[0]).headers["ETag"]
    assert_problem(client.get(PATHS[0], headers={"If-None-Match": tag}), 401)
    assert_problem(client.get(PATHS[0], headers={"If-None-Match": "*"}), 401)


def test_problems_have_none(user):
    answer = ask(user, PATHS[0] + "?days=0", "*")
    assert_problem(answer, 422)
    assert "ETag" not in answer.headers


def test_other_routes_have_none(user):
    for path in ("/auth/verify", "/auth/profile", "/health"):
        answer = ask(user, path, "*")
        assert answer.status == 200
        assert "ETag" not in answer.headers
        assert answer.headers["Cache-Control"] == "no-store"


def test_of_a_page_from_another_origin(make_stack):
    stack = make_stack(cors_origins="https://app.example.org")
    user = stack.new_user()
    answer = user.get(PATHS[0], headers={"Origin": "https://app.example.org"})
    exposed = {name.strip().lower() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
    assert "etag" in exposed
    assert {"Origin", "Authorization"} <= {name.strip() for name in answer.headers["Vary"].split(",")}
    tag = answer.headers["ETag"]
    again = ask(user, PATHS[0], tag, Origin="https://app.example.org")
    assert_not_modified(again, tag)
    assert again.headers["Access-Control-Allow-Origin"] == "https://app.example.org"
