# SPDX-License-Identifier: Apache-2.0
"""Logs: one JSON object a line, nothing that a request could forge, and no secret."""
import concurrent.futures
import datetime
import json
import secrets

import pytest

from env import tokens

POOLS = ("auth", "ingest", "api")


def test_members_of_a_pool_s_line(stack, user):
    answer = user.get("/analytics/metrics", headers={"X-Request-ID": stack.unique("line")})
    line = stack.api.log_of(answer.headers["X-Request-ID"])
    assert {"time", "level", "service", "pool", "request_id", "user_id", "route", "status", "duration_ms",
        "message"} <= set(line)
    assert (line["level"], line["service"], line["pool"]) == ("info", "tallygate-fcgi", "api")
    assert (line["method"], line["route"], line["status"], line["user_id"]) == ("GET", "/analytics/metrics", 200,
        user.id)
    assert 0 < line["duration_ms"] < 60000
    assert line["time"].endswith("Z")
    time = datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00"))
    assert abs(datetime.datetime.now(datetime.timezone.utc) - time) < datetime.timedelta(minutes=5)


@pytest.mark.parametrize("path, route", [
    ("/auth/users/999999999", "/auth/users/{id:int}"), ("/api/v1/auth/users/999999999", "/auth/users/{id:int}"),
])
def test_route_is_the_pattern(stack, user, path, route):
    answer = user.delete(path)
    assert stack.api.log_of(answer.headers["X-Request-ID"])["route"] == route


def test_route_of_a_404(stack, client):
    answer = client.get("/auth/some-secret-path")
    line = stack.api.log_of(answer.headers["X-Request-ID"])
    assert (line["route"], line["status"]) == ("none", 404)


@pytest.mark.parametrize("route", ["register", "login"])
def test_user_of_a_login(stack, user, route):
    body = {"email": user.email, "password": user.password}
    if route == "register":
        body["email"] = f"{stack.unique('log')}@example.org"
    answer = stack.client.post(f"/auth/{route}", body)
    line = stack.auth.log_of(answer.headers["X-Request-ID"])
    assert line["user_id"] == answer.json()["user"]["id"]


def test_nobody_has_no_user_id(stack, client):
    answer = client.post("/auth/login", {"email": "nobody@example.org", "password": "long enough"})
    assert "user_id" not in stack.auth.log_of(answer.headers["X-Request-ID"])


def test_members_of_nginx_s_line(stack, user):
    answer = user.get("/analytics/usage/u?days=3", headers={"X-Request-ID": stack.unique("line"),
        "User-Agent": "probe/1"})
    line = stack.nginx.log_of(answer.headers["X-Request-ID"])
    assert (line["method"], line["path"], line["status"], line["agent"]) == ("GET", "/analytics/usage/u", 200,
        "probe/1")
    assert (line["service"], line["client"], line["tls"], line["protocol"]) == ("nginx", "127.0.0.1", "TLSv1.3",
        "HTTP/1.1")
    assert isinstance(line["duration_s"], float) and isinstance(line["bytes_out"], int)


# ---- forging ----

NASTY = ['a"b', "a\\b", "a\tb", "\x1b[31mred", "\x7f", "é", "\u2028", '"}\\n{"level":"error"}', "\udcff\udcfe", "{}",
    "%0a{}", "$time_iso8601"]


@pytest.mark.parametrize("value", NASTY, ids=ascii)
@pytest.mark.parametrize("header", ["User-Agent", "X-Request-ID", "traceparent", "Referer", "Origin", "Content-Type",
    "X-Forwarded-For", "Cookie"])
def test_no_header_breaks_a_line(stack, header, value):
    # Lines are gathered for a moment, in order: once this one is there, all before it are.
    stack.auth.log_of(stack.raw("POST", "/auth/login", {}, b"{}").headers["X-Request-ID"])
    before = {pool: len(getattr(stack, pool).log()) for pool in POOLS}
    answer = stack.raw("POST", "/auth/login", {header: value}, b"{}")
    id = answer.headers["X-Request-ID"]
    stack.nginx.log_of(id)
    if answer.status != 400:  # nginx itself refuses some
        stack.auth.log_of(id)
        assert len(stack.auth.log()) == before["auth"] + 1
    for pool in POOLS:  # log() fails on a line that is no JSON object
        getattr(stack, pool).log()


@pytest.mark.parametrize("target", ["/%0a%0d", "/auth/%22%7d%0a%7b", "/auth/a%1b%5b31m", "/auth/%5c%22", "/auth/é",
    "/auth/\x7f", "/usage/%e2%80%a8", "/auth/\udcff"])
def test_no_path_breaks_a_line(stack, target):
    answer = stack.raw("GET", target)
    line = stack.nginx.log_of(answer.headers["X-Request-ID"])
    assert line["status"] == answer.status
    stack.api.log()


@pytest.mark.parametrize("data", [b"GARBAGE \x01\x02\"\\\r\n\r\n", b"\x16\x03\x01\x00\xff\r\n\r\n",
    b"GET /\"\\ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"])
def test_no_garbage_breaks_a_line(stack, data):
    stack.send_bytes(data)
    stack.client.get("/health/live")
    stack.nginx.log()


def test_raw_control_characters_stand_nowhere(stack, user):
    stack.raw("GET", "/auth/x", {"User-Agent": "\x1b[31m\x07"})
    user.record("x", 1, "a\nb\x1b[31m")
    user.get("/analytics/usage/a%0ab%1b")
    for server in (stack.auth, stack.ingest, stack.api, stack.nginx):
        text = server.log_path.read_bytes()
        assert not [byte for byte in set(text) if byte < 0x20 and byte != 0x0A]


# ---- secrets ----

def test_no_log_holds_a_secret(make_stack):
    """A stack at its most talkative, whose passwords and tokens are then looked for in every log."""
    stack = make_stack(log_level="debug")
    words = []

    def secret():
        words.append("S3cret-" + secrets.token_hex(8))
        return words[-1]

    user = stack.new_user(password=secret())
    client = stack.client
    words.append(user.token)
    words.append(user.login().token)
    client.post("/auth/login", {"email": user.email, "password": secret()})
    client.post("/auth/login", {"email": secret(), "password": secret()})
    client.post("/auth/login", data='{"password": "%s"' % secret())
    client.post("/auth/login", data='{"password": "%s", "x": "%s"}' % (secret(), secret()))
    client.post("/auth/register", {"email": user.email, "password": secret()})
    client.post("/auth/register", {"email": "bad", "password": secret()})
    client.post("/auth/register", {"email": "bad", "password": secret() + "\0"})
    client.get(f"/auth/login?password={secret()}")
    client.get(f"/analytics/metrics?access_token={secret()}")
    client.get(f"/nothing?token={secret()}")
    client.get(f"/login?password={secret()}")
    client.get("/auth/verify", token=secret())
    client.get("/auth/verify", headers={"Authorization": f"Basic {secret()}", "Cookie": secret(),
        "Referer": f"https://x/?t={secret()}"})
    stack.raw("GET", f"/auth/verify?{secret()}=%zz", {"Authorization": f"Bearer {user.token}"})
    user.put("/auth/profile", {"password": secret(), "current_password": secret()})
    user.put("/auth/profile", {"password": secret(), "current_password": user.password})
    user.post("/analytics/events", {"type": "x", "value": 1, "user_id": "u", "metadata": {"key": secret()}})
    client.request("OPTIONS", f"/auth/login?x={secret()}", headers={"Authorization": f"Bearer {secret()}"})
    words.append((stack.dir / "etc" / "secret.key").read_text().strip())
    words.append(stack.postgres.value("SELECT password_hash FROM users WHERE id = %s", user.id))
    last = client.get("/health/live")
    stack.api.log_of(last.headers["X-Request-ID"])

    texts = {path.name: path.read_text(errors="replace") for path in stack.log_files()}
    assert {"auth.log", "api.log", "ingest.log", "nginx-access.log", "postgres.log"} <= set(texts)
    for name, text in texts.items():
        for word in words:
            assert word not in text, f"a secret in {name}"
        assert user.token.split(".")[2] not in text, f"a signature in {name}"
        assert tokens.claims_of(user.token)["jti"] not in text, f"a token's id in {name}"


@pytest.mark.parametrize("level, request_lines", [("error", False), ("warn", False), ("info", True)])
def test_level(make_stack, level, request_lines):
    stack = make_stack(log_level=level)
    answer = stack.client.get("/health/live")
    stack.nginx.log_of(answer.headers["X-Request-ID"])
    stack.down()  # whatever was to be written is written then
    lines = stack.api.log()
    assert any("status" in line for line in lines) == request_lines
    order = ["error", "warn", "info", "debug"]
    assert all(order.index(line["level"]) <= order.index(level) for line in lines)


def test_logs_are_for_their_owner(stack):
    assert (stack.dir / "log").stat().st_mode & 0o077 == 0


def test_line_is_whole_though_many_write(stack):
    def ask(_):
        client = stack.new_client()
        try:
            return [client.get("/health/live").status for _ in range(20)]
        finally:
            client.close()

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        list(pool.map(ask, range(10)))
    for line in stack.api.log():
        assert json.dumps(line)
