# SPDX-License-Identifier: Apache-2.0
"""Paths, methods and media types: what leads where, and what is refused how."""
import json

import pytest

from env.problems import assert_invalid, assert_problem

# Path and the methods it takes; the program's own table is compared below.
METHODS = {
    "/auth/register": {"POST"},
    "/auth/login": {"POST"},
    "/auth/refresh": {"POST"},
    "/auth/logout": {"POST"},
    "/auth/sessions": {"GET"},
    "/auth/sessions/s": {"DELETE"},
    "/auth/verify": {"GET"},
    "/auth/profile": {"GET", "PUT"},
    "/auth/users/1": {"DELETE"},
    "/auth/login/mfa": {"POST"},
    "/auth/password/strength": {"POST"},
    "/auth/password/forgot": {"POST"},
    "/auth/password/reset": {"POST"},
    "/auth/address/verification": {"POST"},
    "/auth/address/verify": {"POST"},
    "/auth/address/confirm": {"POST"},
    "/auth/mfa": {"GET"},
    "/auth/mfa/totp": {"POST"},
    "/auth/mfa/totp/confirm": {"POST"},
    "/auth/mfa/recovery-codes": {"POST"},
    "/auth/mfa/disable": {"POST"},
    "/users": {"GET"},
    "/users/me": {"GET", "PATCH"},
    "/users/1": {"GET", "PATCH", "DELETE"},
    "/users/1/mfa": {"DELETE"},
    "/admin/audit": {"GET"},
    "/admin/jobs": {"GET", "POST"},
    "/admin/jobs/1": {"GET", "DELETE"},
    "/admin/jobs/1/retry": {"POST"},
    "/admin/schedules": {"GET"},
    "/auth/api-keys": {"GET", "POST"},
    "/auth/api-keys/s": {"DELETE"},
    "/workspaces": {"GET", "POST"},
    "/workspaces/accept": {"POST"},
    "/workspaces/1": {"GET", "PATCH", "DELETE"},
    "/workspaces/1/transfer": {"POST"},
    "/workspaces/1/members": {"GET"},
    "/workspaces/1/members/2": {"PATCH", "DELETE"},
    "/workspaces/1/invitations": {"GET", "POST"},
    "/workspaces/1/invitations/3": {"DELETE"},
    "/reports": {"GET", "POST"},
    "/reports/s": {"GET", "PATCH", "DELETE"},
    "/reports/s/run": {"POST"},
    "/reports/s/runs": {"GET"},
    "/reports/s/runs/s": {"GET"},
    "/reports/s/runs/s/download": {"GET"},
    "/webhooks": {"GET", "POST"},
    "/webhooks/s": {"GET", "PATCH", "DELETE"},
    "/webhooks/s/secret": {"POST"},
    "/webhooks/s/test": {"POST"},
    "/webhooks/s/deliveries": {"GET"},
    "/webhooks/s/deliveries/1": {"GET"},
    "/webhooks/s/deliveries/1/redeliver": {"POST"},
    "/analytics/events": {"POST"},
    "/analytics/metrics/batch": {"POST"},
    "/analytics/metrics": {"GET"},
    "/analytics/summary": {"GET"},
    "/analytics/events/by-type": {"GET"},
    "/analytics/query": {"GET"},
    "/analytics/usage/u": {"GET"},
    "/analytics/costs": {"GET"},
    "/analytics/reports/daily": {"GET"},
    "/analytics/events/date-range": {"GET"},
    "/analytics/users/u/events": {"GET"},
    "/analytics/export": {"GET"},
    "/token": {"POST"},
    "/oauth/revoke": {"POST"},
    "/oauth/introspect": {"POST"},
    "/.well-known/oauth-authorization-server": {"GET"},
    "/.well-known/jwks.json": {"GET"},
    "/health": {"GET"},
    "/health/live": {"GET"},
    "/health/ready": {"GET"},
}
FORMS = ("/token", "/oauth/")  # see test_oauth.py
ALL = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
FOR_OTHERS = ("/users", "/users/1", "/users/1/mfa") + tuple(p for p in METHODS if p.startswith(("/workspaces/1", "/admin/")))
NO_BODY = ("/auth/logout", "/reports/s/run", "/auth/address/verification", "/webhooks/s/secret", "/webhooks/s/test", "/webhooks/s/deliveries/1/redeliver")
WITH_BODY = [(m, p) for p, methods in METHODS.items() for m in methods & {"POST", "PUT", "PATCH"}
             if p not in NO_BODY + FOR_OTHERS and not p.startswith(FORMS)]


def allowed(methods):
    return methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())


def test_this_table_is_complete(stack):
    listed = stack.program("tallygate-fcgi", "--list-routes").stdout.split("\n")
    here = {f"{method} {path}" for path, methods in METHODS.items() for method in methods}
    there = {line.replace("{id:int}", "1").replace("{user_id:int}", "2").replace("{invitation_id:int}", "3").replace("{delivery_id:int}", "1").replace("{user_id:text}", "u").replace("{id:text}", "s").replace("{run_id:text}", "s") for line in listed if line}
    assert there == here


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
@pytest.mark.parametrize("path", METHODS)
def test_405_with_allow(client, path, prefix):
    takes = allowed(METHODS[path])
    for method in set(ALL) - takes:
        answer = client.request(method, prefix + path)
        if method == "HEAD":
            assert (answer.status, answer.body) == (405, b"")
        else:
            assert_problem(answer, 405)
        assert set(answer.headers["Allow"].split(", ")) == takes


@pytest.mark.parametrize("method", ["FOO", "PROPFIND", "QUERY", "LINK", "M-SEARCH"])
def test_methods_that_nobody_knows(stack, method):
    answer = stack.raw(method, "/health")
    assert answer.status in (400, 405), answer
    assert_problem(answer, answer.status)


@pytest.mark.parametrize("method", ["get", "Get", "pOST"])
def test_methods_are_case_sensitive(stack, method):
    assert stack.raw(method, "/health").status in (400, 405)


@pytest.mark.parametrize("path", METHODS)
def test_options_tells_what_is_allowed(client, path):
    for prefix in ("", "/api/v1"):
        answer = client.request("OPTIONS", prefix + path)
        assert (answer.status, answer.body) == (204, b"")
        assert set(answer.headers["Allow"].split(", ")) == allowed(METHODS[path])
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize("path", [path for path, methods in METHODS.items() if "GET" in methods and path not in FOR_OTHERS and not path.startswith(("/webhooks/s", "/reports/s"))])
def test_head_is_get_without_the_body(user, path):
    get, head = user.get(path), user.request("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Type"] == get.headers["Content-Type"]
    changing = {"Date", "X-Request-ID", "traceparent", "Content-Length", "Transfer-Encoding", "Connection"}
    assert set(head.headers) - changing == set(get.headers) - changing


def test_head_of_an_error(client):
    answer = client.request("HEAD", "/auth/verify")
    assert (answer.status, answer.body) == (401, b"")
    assert answer.headers["WWW-Authenticate"]


# ---- 404 ----

@pytest.mark.parametrize("path", [
    "/", "/nothing", "/favicon.ico", "/robots.txt", "/.git/config", "/.env", "/index.html", "/auth", "/auth/",
    "/auth/nothing", "/auth/login/", "/auth/login/x", "/auth//login", "//auth/login", "/Auth/login", "/auth/Login",
    "/auth/login.json", "/analytics", "/analytics/", "/analytics/usage", "/analytics/usage/", "/analytics/usage/a/b",
    "/analytics/users/u", "/analytics/users//events", "/analytics/events/", "/analytics/export/",
    "/analytics/reports", "/analytics/reports/weekly", "/health/", "/health/x", "/healthz", "/api", "/api/", "/api/v1",
    "/api/v1/", "/api/v2/health", "/api/v1/api/v1/health", "/api/v1health", "/API/v1/health", "/auth/users",
    "/auth/users/",
    "/auth/users/1/x", "/auth/./login", "/auth/x/../login", "/auth%2Flogin", "/auth/login%0A",
    "/auth/login%20", "/auth/login;x=1", "/auth\\login", "/.problem", "/.https", "/problems/not-found",
    "/a/b/c/d/e/f/g/h/i/j",
])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_404(stack, method, path):
    assert_problem(stack.raw(method, path), 404)


def test_404_comes_before_401(client):
    assert_problem(client.get("/analytics/nothing"), 404)


# ---- decoding ----

@pytest.mark.parametrize("path", ["/%68ealth", "/h%65alth", "/%68%65%61%6c%74%68", "/%68%65%61%6C%74%68", "/health?",
    "/health?x=1"])
def test_percent_encoded_letters_are_the_letters(stack, path):
    assert stack.raw("GET", path).status == 200


@pytest.mark.parametrize("path", ["/auth/%6Cogin", "/%61uth/login", "/api/v1/auth/logi%6e"])
def test_encoded_paths_reach_the_right_pool(stack, user, path):
    body = json.dumps({"email": user.email, "password": user.password}).encode()
    answer = stack.raw("POST", path, {"Content-Type": "application/json"}, body)
    assert answer.status == 200, answer


BROKEN = ["%", "%2", "%zz", "a%", "a%2", "%g0", "%-1", "%u0041", "%00", "a%00b", "%80", "%ff", "%c3", "%c3%28",
    "%e2%82",
          "%f0%9f%98", "%c0%80", "%c0%af", "%c1%bf", "%ed%a0%80", "%f4%90%80%80", "%f8%88%80%80%80", "%fe", "a%ffb",
          "%e0%80%af"]


@pytest.mark.parametrize("text", BROKEN)
def test_broken_paths(stack, user, text):
    answer = stack.raw("GET", f"/analytics/usage/{text}", {"Authorization": f"Bearer {user.token}"})
    assert_problem(answer, 400)


@pytest.mark.parametrize("text", BROKEN)
@pytest.mark.parametrize("query", ["days={}", "{}=1", "{}"])
def test_broken_queries(stack, user, text, query):
    answer = stack.raw("GET", f"/analytics/metrics?{query.format(text)}", {"Authorization": f"Bearer {user.token}"})
    assert_problem(answer, 400)


@pytest.mark.parametrize("query", ["", "&", "&&&", "days=7&&", "%64ays=7", "days=%37"])
def test_odd_but_good_queries(stack, user, query):
    answer = stack.raw("GET", f"/analytics/metrics?{query}", {"Authorization": f"Bearer {user.token}"})
    assert answer.status == 200, answer


@pytest.mark.parametrize("count, status", [(32, 422), (33, 400)])
def test_number_of_query_parameters(user, count, status):
    query = "&".join(f"x{n}=1" for n in range(count))
    problem = assert_problem(user.get(f"/analytics/metrics?{query}"), status)
    if status == 422:
        assert len(problem["errors"]) == 32


def test_many_unknown_fields_are_told_up_to_a_bound(user):
    body = {"type": "x", "value": 1, "user_id": "u", **{f"f{n}": n for n in range(500)}}
    problem = assert_problem(user.post("/analytics/events", body), 422)
    assert len(problem["errors"]) == 64
    assert "500" in problem["detail"]


def test_long_names_are_cut_in_what_is_told(user):
    name = "n" * 5000
    problem = assert_problem(user.post("/analytics/events", {"type": "x", "value": 1, "user_id": "u", name: 1}), 422)
    assert problem["errors"][0]["code"] == "unknown_field"
    assert len(problem["errors"][0]["field"]) < 200


def test_names_cut_in_the_middle_of_a_character(user):
    """What is told must still be UTF-8, wherever a long name is cut."""
    for pad in range(4):
        name = "x" * pad + "🙂" * 50
        assert_problem(user.post("/analytics/events", {"type": "x", "value": 1, "user_id": "u", name: 1}), 422)
        answer = user.get("/analytics/metrics", params={name: "1"})
        assert_problem(answer, 422)


# ---- media types and sizes ----

def body_of(path):
    return b'{"email": "a@b.c", "password": "12345678", "username": "x", "events": []}'


@pytest.mark.parametrize("method, path", WITH_BODY)
@pytest.mark.parametrize("media_type", [
    None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/xml", "text/json",
    "application/jsonx", "application/json-patch+json", "application/problem+json", "xapplication/json", "*/*", "json",
    "application/", "application/json,text/plain",
])
def test_415(user, method, path, media_type):
    headers = {"Content-Type": media_type}
    assert_problem(user.request(method, path, data=body_of(path), headers=headers), 415)


@pytest.mark.parametrize("media_type", [
    "application/json", "Application/JSON", "application/json; charset=utf-8", "application/json;charset=UTF-8",
    "application/json ; charset=utf-8", "application/json\t",
])
def test_media_types_that_are_json(user, media_type):
    answer = user.put("/auth/profile", data='{"username": "x"}', headers={"Content-Type": media_type})
    assert answer.status == 200, answer


@pytest.mark.parametrize("method, path", WITH_BODY)
def test_empty_body(user, method, path):
    assert_problem(user.request(method, path, data=b""), 400)


@pytest.mark.parametrize("method, path", [("GET", "/health"), ("GET", "/auth/verify"),
    ("DELETE", "/auth/users/999999999")])
def test_body_where_none_is_expected_is_ignored(user, method, path):
    answer = user.request(method, path, data=b"x" * 100000, headers={"Content-Type": "text/plain"})
    assert answer.status in (200, 403), answer


def test_unknown_route_with_a_large_body(stack, client):
    answer = client.post("/auth/nothing", data=b"x" * (2 * 1024 * 1024))
    assert_problem(answer, 404)


def test_401_comes_before_validation(client):
    assert_problem(client.post("/analytics/events", data="{not json"), 401)


@pytest.mark.parametrize("method, path, body", [
    ("POST", "/auth/register", {"email": "x"}), ("POST", "/auth/login", {}),
])
def test_unknown_query_on_routes_that_take_none(client, method, path, body):
    """A body's errors are told whatever stands in the query."""
    assert_problem(client.request(method, path + "?x=1", body), 422)


def test_field_errors_have_stable_order(user):
    answers = [assert_invalid(user.post("/analytics/events", {}), type="required", value="required", user_id="required")
               for _ in range(3)]
    assert [e["field"] for e in answers[0]["errors"]] == ["type", "value", "user_id"]
