# SPDX-License-Identifier: Apache-2.0
"""Errors are problems (RFC 9457), whoever tells them: the application or nginx by itself."""
import socket

import pytest

from env.http import parse_answer, tls_context
from env.problems import assert_problem

MIB = 1024 * 1024


def ask(stack, text, body=b""):
    """Bytes as they stand; {host} is a Host line that ends the connection after the answer."""
    data = text.replace("{host}", "Host: localhost\r\nConnection: close\r\n").encode("latin-1") + body
    return parse_answer(stack.send_bytes(data))


# ---- the application's ----

def test_titles_are_those_of_the_status(stack, client, user):
    """One type has one title, so that programs and people can rely on both."""
    titles = {}
    for answer in [
        client.get("/auth/nothing"), client.get("/nothing"), client.get("/auth/login"), client.get("/auth/verify"),
        client.post("/auth/login", data="{"), client.post("/auth/login", {}),
        client.post("/auth/login", data=b" " * 20000),
        client.post("/auth/login", data=b" " * (7 * MIB)),
        client.post("/auth/login", data="{}", headers={"Content-Type": "x/y"}),
        user.delete("/auth/users/999999999"), user.get("/analytics/metrics?days=0"), stack.raw("GET", "/health/%zz"),
    ]:
        problem = assert_problem(answer, answer.status)
        assert titles.setdefault(problem["type"], problem["title"]) == problem["title"]
    assert len(titles) == 8


def test_errors_stand_only_where_fields_are_wrong(client, user):
    assert "errors" not in assert_problem(client.get("/auth/verify"), 401)
    assert "errors" not in assert_problem(client.post("/auth/login", data="{"), 400)
    assert "errors" in assert_problem(user.get("/analytics/metrics?days=0"), 422)


def test_request_id_of_the_client_is_told(client):
    answer = client.get("/auth/verify", headers={"X-Request-ID": "my-id.1"})
    assert assert_problem(answer, 401)["request_id"] == "my-id.1"


def test_input_is_not_repeated_as_markup(user):
    answer = user.post("/analytics/events", {"<script>alert(1)</script>": 1})
    assert_problem(answer, 422)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


# ---- nginx's own ----

@pytest.mark.parametrize("text, status", [
    ("GARBAGE\r\n\r\n", 400),
    ("GET /health HTTP/1.1\r\n\r\n", 400),
    ("GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("GET /health HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    ("get /health HTTP/1.1\r\n{host}\r\n", 400),
    ("GET health HTTP/1.1\r\n{host}\r\n", 400),
    ("GET /%zz HTTP/1.1\r\n{host}\r\n", 400),
    ("GET /%00 HTTP/1.1\r\n{host}\r\n", 400),
    ("GET /../.. HTTP/1.1\r\n{host}\r\n", 400),
    ("GET /health HTTP/2.0\r\n{host}\r\n", 505),
    ("GET /health HTTP/9.9\r\n{host}\r\n", 505),
    ("GET /nothing HTTP/1.1\r\n{host}\r\n", 404),
    ("POST /nothing HTTP/1.1\r\n{host}\r\n", 404),
    ("TRACE /health HTTP/1.1\r\n{host}\r\n", 405),
])
def test_of_odd_requests(stack, text, status):
    assert_problem(ask(stack, text), status)


@pytest.mark.parametrize("length, status", [(7500, 404), (8300, 414)])
def test_length_of_the_request_line(stack, length, status):
    assert_problem(ask(stack, f"GET /{'x' * length} HTTP/1.1\r\n{{host}}\r\n"), status)


@pytest.mark.parametrize("length, status", [(7500, 401), (8300, 431)])
def test_length_of_a_header(stack, length, status):
    assert_problem(ask(stack, f"GET /auth/verify HTTP/1.1\r\n{{host}}X-Long: {'x' * length}\r\n\r\n"), status)


def test_length_of_all_headers(stack):
    headers = "".join(f"X-{n}: {'x' * 6000}\r\n" for n in range(8))
    assert_problem(ask(stack, f"GET /health HTTP/1.1\r\n{{host}}{headers}\r\n"), 431)


def test_bodies_up_to_6_mib_reach_the_application(client):
    """Which has the smaller limits, and its own words."""
    assert "16384" in assert_problem(client.post("/auth/login", data=b" " * (6 * MIB)), 413)["detail"]


@pytest.mark.parametrize("path", ["/auth/login", "/analytics/metrics/batch", "/auth/verify", "/nothing"])
@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
def test_bodies_over_6_mib(stack, path, protocol, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(b" " * (6 * MIB + 1))
    done = stack.curl(path, protocol, "-H", "Expect:", "-H", "Content-Type: application/json", "--data-binary",
        f"@{body}")
    head, _, text = done.stdout.replace("\r\n", "\n").rpartition("\n\n")
    assert " 413" in head.splitlines()[0], done
    assert '"type":"/problems/payload-too-large"' in text and "6 MiB" in text


def test_chunked_body_over_6_mib(stack):
    head = ("POST /auth/login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
            "Transfer-Encoding: chunked\r\n\r\n").encode()
    piece = b"100000\r\n" + b" " * MIB + b"\r\n"
    assert_problem(parse_answer(stack.send_bytes(head + piece * 7 + b"0\r\n\r\n")), 413)


def test_plain_http_on_the_tls_port(stack):
    data = f"GET /health?x=1 HTTP/1.1\r\nHost: localhost:{stack.port}\r\nConnection: close\r\n\r\n".encode()
    answer = parse_answer(stack.send_bytes(data, plain=True))
    assert answer.status == 308
    assert answer.headers["Location"] == f"{stack.url}/health?x=1"


def test_connection_goes_on_after_an_error(stack):
    """A refused body was read, so the next request on the connection is understood."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=30) as plain:
        with tls_context(stack.cert).wrap_socket(plain, server_hostname="localhost") as connection:
            request = b"POST /auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 30000\r\n\r\n"
            connection.sendall(request + b" " * 30000)
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            received = b""
            while piece := connection.recv(65536):
                received += piece
    assert received.count(b"HTTP/1.1 413") == 1
    assert received.endswith(b'{"status":"alive"}\n')
