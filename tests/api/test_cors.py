# SPDX-License-Identifier: Apache-2.0
"""Cross-origin requests: none by default, else those on the list."""
import pytest

APP = "https://app.example.org"
OTHER = "http://localhost:3000"


@pytest.fixture(scope="module")
def open_stack(make_stack):
    return make_stack(cors_origins=f"{APP} {OTHER}")


def cors(answer):
    return {k.lower(): v for k, v in answer.headers.items() if k.lower().startswith("access-control-")}


def preflight(client, path, origin=APP, method="POST", **more):
    headers = {"Origin": origin, "Access-Control-Request-Method": method, **more}
    return client.request("OPTIONS", path, headers=headers)


# ---- by default ----

@pytest.mark.parametrize("origin", [APP, OTHER, "null", "*", "https://localhost"])
def test_none_by_default(stack, origin):
    assert cors(stack.client.get("/health", headers={"Origin": origin})) == {}
    answer = preflight(stack.client, "/analytics/events", origin)
    assert answer.status == 204
    assert cors(answer) == {}


# ---- with a list ----

@pytest.mark.parametrize("origin", [APP, OTHER])
@pytest.mark.parametrize("path, status", [("/health", 200), ("/auth/verify", 401), ("/auth/nothing", 404)])
def test_listed_origin_may_read_every_answer(open_stack, origin, path, status):
    answer = open_stack.client.get(path, headers={"Origin": origin})
    assert answer.status == status
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert "Origin" in answer.headers["Vary"]
    exposed = answer.headers["Access-Control-Expose-Headers"].lower()
    assert "x-request-id" in exposed and "retry-after" in exposed
    assert "etag" in exposed and "cache-status" in exposed and "x-ratelimit-remaining" in exposed
    assert "access-control-allow-credentials" not in cors(answer)


@pytest.mark.parametrize("origin", [
    "https://evil.example", "null", "*", APP + ".evil.example", "https://evil-app.example.org", APP + "/", APP + ":443",
    APP.upper(), "http://app.example.org", APP[:-1], f"{APP} {OTHER}", "app.example.org", "https://",
])
def test_other_origins_get_nothing(open_stack, origin):
    answer = open_stack.client.get("/health", headers={"Origin": origin})
    assert answer.status == 200
    assert cors(answer) == {}
    assert "Origin" in answer.headers["Vary"], "a cache must not give this answer to a listed origin"
    assert cors(preflight(open_stack.client, "/health", origin, "GET")) == {}


def test_without_an_origin(open_stack):
    answer = open_stack.client.get("/health")
    assert cors(answer) == {}
    assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize("path, methods", [
    ("/auth/login", {"POST"}), ("/auth/profile", {"GET", "HEAD", "PUT"}), ("/auth/users/1", {"DELETE"}),
    ("/analytics/events", {"POST"}), ("/api/v1/analytics/costs", {"GET", "HEAD"}),
])
def test_preflight(open_stack, path, methods):
    answer = preflight(open_stack.client, path, **{"Access-Control-Request-Headers": "authorization,content-type"})
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == APP
    assert set(answer.headers["Access-Control-Allow-Methods"].split(", ")) == methods | {"OPTIONS"}
    allowed = {name.strip() for name in answer.headers["Access-Control-Allow-Headers"].lower().split(",")}
    assert {"authorization", "content-type", "if-none-match", "cache-control", "x-request-id", "traceparent",
            "x-workspace", "x-api-key", "idempotency-key"} <= allowed
    assert int(answer.headers["Access-Control-Max-Age"]) > 0


def test_preflight_needs_no_token(open_stack):
    assert preflight(open_stack.client, "/auth/profile", method="PUT").status == 204


def test_preflight_of_an_unknown_path(open_stack):
    assert preflight(open_stack.client, "/auth/nothing").status == 404


def test_headers_stand_once(open_stack):
    """nginx adds none of its own."""
    done = open_stack.curl("/health", "-H", f"Origin: {APP}", "--http1.1")
    lines = [line.lower() for line in done.stdout.splitlines()]
    assert sum(line.startswith("access-control-allow-origin:") for line in lines) == 1
