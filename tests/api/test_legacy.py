# SPDX-License-Identifier: Apache-2.0
"""The paths of the former services: 308 to their new place, with everything that came along."""
import email.utils
import http.server
import json
import re
import threading

import pytest

from env.problems import assert_problem

PLACES = {
    "/register": "/auth/register", "/login": "/auth/login", "/verify": "/auth/verify", "/profile": "/auth/profile",
    "/events": "/analytics/events", "/metrics": "/analytics/metrics", "/metrics/batch": "/analytics/metrics/batch",
    "/usage/customer-7": "/analytics/usage/customer-7", "/costs": "/analytics/costs",
    "/reports/daily": "/analytics/reports/daily",
}


@pytest.mark.parametrize("query", ["", "?days=7", "?a=1&b=2&a=3", "?x=%20%2F%3D&y=+", "?", "?next=//evil.example",
    "?a=b?c"])
@pytest.mark.parametrize("old, new", PLACES.items())
def test_place_and_query(stack, old, new, query):
    answer = stack.raw("GET", old + query)
    assert answer.status == 308
    assert answer.headers["Location"] == new + query


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("old", PLACES)
def test_any_method(client, old, method):
    answer = client.request(method, old)
    assert (answer.status, answer.headers["Location"]) == (308, PLACES[old])


@pytest.mark.parametrize("old, new", PLACES.items())
def test_headers(client, old, new):
    """RFC 9745, RFC 8594 and RFC 8288."""
    headers = client.get(old + "?days=1").headers
    assert re.match(r"^@\d+$", headers["Deprecation"])
    sunset = email.utils.parsedate_to_datetime(headers["Sunset"])
    assert sunset.timestamp() > int(headers["Deprecation"][1:]), "not gone before it is deprecated"
    assert headers["Link"] == f'<{new}>; rel="successor-version"'
    assert headers["X-Request-ID"] and headers["Strict-Transport-Security"]


@pytest.mark.parametrize("id", ["a%20b", "a%2Fb", "%C3%BC", "a%3Fb", "a%23b", "a%25b", "%F0%9F%99%82", "a+b", "a@b",
    "%22", "%3Cx%3E"])
def test_encoded_ids_stay_encoded(stack, id):
    answer = stack.raw("GET", f"/usage/{id}?days=1")
    assert (answer.status, answer.headers["Location"]) == (308, f"/analytics/usage/{id}?days=1")


def test_an_id_that_is_a_dot_is_not_redirected(stack):
    """nginx resolves dot segments, encoded ones too, before it looks for a location: it sees /usage/."""
    assert_problem(stack.raw("GET", "/usage/%2E?days=1"), 404)


@pytest.mark.parametrize("path", [
    "/registers", "/register/", "/register/x", "/Register", "/users/", "/users/1/x", "/usage", "/usage/",
    "/events/",
    "/events/1", "/metrics/", "/metrics/batches", "/reports/daily/x", "/costs/x",
    "/api/v1/login",
    "/api/v1/events", "/verify.php", "/loginx", "/xlogin", "/auth/auth/login",
])
def test_other_paths_are_not_redirected(stack, path):
    assert_problem(stack.raw("GET", path), 404)


# ---- no way to another host ----

@pytest.mark.parametrize("target", [
    "//evil.example/login", "///evil.example/login", "//evil.example", "/\\evil.example/login",
    "/%2F/evil.example/login",
    "//login", "/./login", "/login/../login", "/x/../login",
    "/usage/%2F%2Fevil.example",
    "/usage//evil.example", "/usage/https:%2F%2Fevil.example", "https://evil.example/login",
    "http://evil.example/usage/x",
    "/login?//evil.example", "/login#@evil.example", "/usage/%0d%0aLocation:%20https:%2F%2Fevil.example",
])
def test_no_open_redirect(stack, target):
    answer = stack.raw("GET", target)
    if answer.status == 308:
        assert re.match(r"^/(auth|analytics)/", answer.headers["Location"]), answer.headers
    else:
        assert answer.status in (400, 404)
        assert "Location" not in answer.headers


def test_host_of_the_request_is_not_repeated(stack):
    for header in ({"X-Forwarded-Host": "evil.example"}, {"Forwarded": "host=evil.example"}):
        answer = stack.raw("GET", "/login", header)
        assert answer.headers["Location"] == "/auth/login"
    data = b"GET /login HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    assert b"evil.example" not in stack.send_bytes(data)


@pytest.mark.parametrize("target", ['/usage/a"b', "/usage/a>;rel=evil", "/usage/a%22%3E", "/usage/a<b",
    "/usage/a%0d%0aX-Evil:%201", "/usage/a'b"])
def test_link_cannot_be_forged(stack, target):
    answer = stack.raw("GET", target)
    assert answer.status == 308
    assert "X-Evil" not in answer.headers
    link = answer.headers.get("Link")
    if link:
        assert re.match(r'^<[^<>"]*>; rel="successor-version"$', link), link


# ---- followed, it works ----

def test_method_and_body_are_kept(stack):
    """The old client's whole way, from registration to a figure."""
    client = stack.client
    address = f"{stack.unique('legacy')}@example.org"
    made = client.post("/register", {"email": address, "password": "long enough"}, allow_redirects=True)
    assert made.status == 201, made
    token = client.post("/login", {"email": address, "password": "long enough"},
        allow_redirects=True).json()["access_token"]
    old = stack.new_client(token)

    def follow(method, path, body=None):
        return old.request(method, path, body, allow_redirects=True)

    id = follow("GET", "/verify").json()["id"]
    assert follow("PUT", "/profile", {"username": "old"}).json()["username"] == "old"
    assert follow("GET", "/profile").json()["username"] == "old"
    assert follow("POST", "/events", {"type": "cost", "value": 2, "user_id": "c 7", "id": "e"}).status == 201
    batch = follow("POST", "/metrics/batch", {"events": [{"type": "cost", "value": 3, "user_id": "c 7"}]})
    assert batch.json()["accepted"] == 1
    assert follow("GET", "/metrics?days=2").json()["total_metrics"] == 2
    assert follow("GET", "/usage/c%207?days=2").json()["total_cost"] == 5
    assert follow("GET", "/costs?group_by=user").json()["items"][0] == {"user_id": "c 7", "cost": 5, "events": 2}
    assert follow("GET", "/reports/daily").status == 200
    assert follow("DELETE", f"/users/{id}").status == 204


def test_large_body_is_kept(user):
    events = [{"type": "x", "value": n, "user_id": "u", "metadata": {"k": "x" * 2000}} for n in range(1000)]
    answer = user.post("/metrics/batch", {"events": events}, allow_redirects=True)
    assert answer.json()["accepted"] == 1000


# ---- what else may become of them ----

class Old(http.server.BaseHTTPRequestHandler):
    """The service of before: says what it was asked."""

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        text = json.dumps({"method": self.command, "path": self.path, "body": body, "headers": dict(self.headers)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def old_service():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Old)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def with_legacy(make_stack, **limits):
    return make_stack(limits={"login_rate": "6000r/m", "login_burst": "1000", "wide_rate": "10000r/s", "wide_burst": "10000", **limits})


def test_proxied_to_the_service_of_before(make_stack, old_service):
    stack = with_legacy(make_stack, legacy="proxy", legacy_share="100%", legacy_server=f"127.0.0.1:{old_service.server_port}")
    for old in PLACES:
        told = stack.client.post(old + "?a=%2F&b=1", {"x": "y"}).json()
        assert (told["method"], told["path"], json.loads(told["body"])) == ("POST", old + "?a=%2F&b=1", {"x": "y"})
    answer = stack.raw("GET", "/usage/a%2Fb%20c?days=1", headers={"X-Request-ID": "legacy-1", "X-Forwarded-For": "192.0.2.1"})
    told = answer.json()
    assert told["path"] == "/usage/a%2Fb%20c?days=1"
    assert told["headers"]["X-Request-ID"] == "legacy-1"
    assert told["headers"]["X-Forwarded-For"] == "127.0.0.1", "what a client says of itself is not passed on"
    # The new paths are ours, and the inner one is nobody's.
    assert stack.client.get("/health").json()["status"] == "healthy"
    assert_problem(stack.client.get("/.old"), 404)


def test_passwords_are_not_guessed_there_either(make_stack, old_service):
    stack = make_stack(limits={"legacy": "proxy", "legacy_server": f"127.0.0.1:{old_service.server_port}"})
    statuses = [stack.client.post("/login", {"n": n}).status for n in range(8)]
    assert statuses == [200] * 6 + [429] * 2


def test_proxied_to_nobody(make_stack):
    stack = with_legacy(make_stack, legacy="proxy", legacy_share="100%", legacy_server="127.0.0.1:1")
    answer = stack.client.get("/metrics")
    assert_problem(answer, 503)
    assert answer.headers["Retry-After"]


def test_a_share_of_the_clients(make_stack, old_service):
    """The same client always gets the same; one address alone shows which."""
    stack = with_legacy(make_stack, legacy="proxy", legacy_share="0.01%", legacy_server=f"127.0.0.1:{old_service.server_port}")
    assert {stack.client.get("/metrics").status for _ in range(20)} == {308}


def test_gone(make_stack):
    stack = with_legacy(make_stack, legacy="gone")
    for old in PLACES:
        answer = stack.client.get(old + "?days=1")
        assert_problem(answer, 410)
        assert answer.json()["type"] == "/problems/gone"
    assert stack.client.get("/health").status == 200
