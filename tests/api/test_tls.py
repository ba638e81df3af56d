# SPDX-License-Identifier: Apache-2.0
"""TLS versions and ciphers, HTTP/2, the certificate."""
import socket
import ssl
import subprocess

import pytest

from env.http import tls_context


def handshake(stack, context, name="localhost"):
    with socket.create_connection(("127.0.0.1", stack.port), timeout=30) as plain:
        with context.wrap_socket(plain, server_hostname=name) as connection:
            return connection.version(), connection.selected_alpn_protocol(), connection.cipher()[0]


@pytest.mark.parametrize("version, name", [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")])
def test_good_versions(stack, version, name):
    assert handshake(stack, tls_context(stack.cert, version, version))[0] == name


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused_by_the_server(stack, version):
    context = tls_context(stack.cert)
    context.set_ciphers("ALL:@SECLEVEL=0")  # else it would be our side that refuses
    context.minimum_version = context.maximum_version = version
    with pytest.raises(ssl.SSLError, match="(?i)alert protocol version"):
        handshake(stack, context)


@pytest.mark.parametrize("ciphers", ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES256-SHA384"])
def test_weak_ciphers_are_refused(stack, ciphers):
    context = tls_context(stack.cert, highest=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(ciphers + ":@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="(?i)handshake failure"):
        handshake(stack, context)


def test_cipher_keeps_the_past_secret(stack):
    assert handshake(stack, tls_context(stack.cert, highest=ssl.TLSVersion.TLSv1_2))[2].startswith("ECDHE-")


@pytest.mark.parametrize("offered, chosen", [(["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), (["h2"], "h2")])
def test_protocol_negotiation(stack, offered, chosen):
    context = tls_context(stack.cert)
    context.set_alpn_protocols(offered)
    assert handshake(stack, context)[1] == chosen


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_certificate_is_for(stack, name):
    handshake(stack, tls_context(stack.cert), name)


def test_certificate_is_for_no_one_else(stack):
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(stack, tls_context(stack.cert), "example.org")


def test_key_is_for_its_owner_alone(stack):
    assert (stack.dir / "tls" / "key.pem").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("options, first_line", [
    (["--http2"], "HTTP/2 200"), (["--http1.1"], "HTTP/1.1 200"), (["--http2-prior-knowledge"], "HTTP/2 200"),
    (["--tlsv1.3", "--http2"], "HTTP/2 200"), (["--tls-max", "1.2", "--http2"], "HTTP/2 200"),
])
def test_http_versions(stack, options, first_line):
    done = stack.curl("/health", *options)
    assert done.stdout.startswith(first_line), done
    assert '"status":"healthy"' in done.stdout


def test_http2_carries_bodies_both_ways(stack, user):
    done = stack.curl("/analytics/events", "--http2", "-H", f"Authorization: Bearer {user.token}", "-H",
                      "Content-Type: application/json", "-d", '{"type": "x", "value": 1, "user_id": "u", "id": "h2"}')
    assert done.stdout.startswith("HTTP/2 201"), done
    assert user.get("/analytics/metrics").json()["total_metrics"] == 1


def test_http2_many_streams_at_once(stack):
    urls = [f"{stack.url}/health/live"] * 50
    command = ["curl", "-q", "-sS", "--http2", "--parallel", "--parallel-max", "50", "--noproxy", "*", "--cacert",
        str(stack.cert)]
    done = subprocess.run(command + urls, capture_output=True, text=True, timeout=90, check=False)
    assert done.stdout.count("alive") == 50, done
