# SPDX-License-Identifier: Apache-2.0
"""Three ways to speak to nginx: like a well-behaved client, byte by byte, and through curl."""
import http.client
import io
import json
import socket
import ssl
import subprocess
from decimal import Decimal

import requests
from requests.structures import CaseInsensitiveDict

from env import contract

TIMEOUT_S = 90  # of one request; no test depends on it


class Answer:
    """One HTTP answer, however it was asked for."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = CaseInsensitiveDict(headers)
        self.body = body

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    @property
    def media_type(self):
        return self.headers.get("Content-Type", "").partition(";")[0].strip()

    def json(self):
        """The body, with decimals kept exact; fails on whatever is not strict JSON in UTF-8."""

        def refuse(word):
            raise ValueError(f"{word} is not JSON")

        return json.loads(self.body.decode("utf-8"), parse_float=Decimal, parse_constant=refuse)

    def plain(self):
        """The body, with numbers as schemas know them."""
        return json.loads(self.body.decode("utf-8"))

    def __repr__(self):
        return f"<{self.status} {self.text[:600]!r}>"


class Client:
    """Requests to one base URL, perhaps with an access token. Redirects are not followed."""

    def __init__(self, base_url, cert, token=None):
        self.base_url = base_url
        self.token = token
        self.session = requests.Session()
        self.session.verify = str(cert)
        self.session.trust_env = False

    def request(self, method, path, json_body=None, data=None, headers=None, token=None, **more):
        """`json_body` goes out as JSON, `data` as it stands (str or bytes, also as JSON by default)."""
        all_headers = {}
        token = token if token is not None else self.token
        if token:
            all_headers["Authorization"] = f"Bearer {token}"
        if json_body is not None:
            data = json.dumps(json_body, ensure_ascii=False)
        if data is not None:
            data = data.encode() if isinstance(data, str) else data
            all_headers["Content-Type"] = "application/json"
        all_headers.update(headers or {})
        all_headers = {name: value for name, value in all_headers.items() if value is not None}
        more.setdefault("allow_redirects", False)
        response = self.session.request(
            method, self.base_url + path, data=data, headers=all_headers, timeout=TIMEOUT_S, **more
        )
        answer = Answer(response.status_code, response.headers, response.content)
        if method.isupper() and not more["allow_redirects"]:
            contract.check(method, path, answer, sparse="fields" in (more.get("params") or path))
        return answer

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, json_body=None, **more):
        return self.request("POST", path, json_body, **more)

    def put(self, path, json_body=None, **more):
        return self.request("PUT", path, json_body, **more)

    def delete(self, path, **more):
        return self.request("DELETE", path, **more)

    def close(self):
        self.session.close()


def tls_context(cert, lowest=None, highest=None):
    context = ssl.create_default_context(cafile=str(cert))
    if lowest:
        context.minimum_version = lowest
    if highest:
        context.maximum_version = highest
    return context


def send_bytes(port, cert, data, plain=False):
    """Send exactly these bytes and read what comes until the other side closes (or one answer is
    complete). Returns the bytes; b"" when the connection was just closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection:
        if not plain:
            connection = tls_context(cert).wrap_socket(connection, server_hostname="localhost")
        with connection:
            try:
                connection.sendall(data)
            except OSError:
                pass  # the answer may come, and the connection end, before all is sent
            received = b""
            while True:
                try:
                    piece = connection.recv(65536)
                except OSError:
                    break
                if not piece:
                    break
                received += piece
            return received


class _Bytes:
    """What http.client wants to read an answer from."""

    def __init__(self, data):
        self.file = io.BytesIO(data)

    def makefile(self, *_args, **_kwargs):
        return self.file


def parse_answer(data, method="GET"):
    response = http.client.HTTPResponse(_Bytes(data), method=method)
    response.begin()
    headers = {}
    for name, value in response.getheaders():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Answer(response.status, headers, response.read())


def raw_request(port, cert, method, target, headers=None, body=b"", plain=False):
    """A request whose target and headers go out exactly as given, which requests would tidy up."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: localhost:{port}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    data = "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body
    return parse_answer(send_bytes(port, cert, data, plain), method)


def curl(url, cert, *options):
    """Run curl; returns the finished process, answer headers included in its output."""
    command = ["curl", "-q", "-sS", "-i", "--noproxy", "*", "--max-time", str(TIMEOUT_S)]
    command += ["--cacert", str(cert), *options, url]
    return subprocess.run(command, capture_output=True, text=True, check=False)
