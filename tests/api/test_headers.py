# SPDX-License-Identifier: Apache-2.0
"""Headers of every kind of answer: security, caching, compression."""
import gzip

import pytest

SECURITY = {
    "Strict-Transport-Security": "max-age=", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer", "Content-Security-Policy": "default-src 'none'",
    "Permissions-Policy": "camera=()",
}
EVENT = b'{"type": "x", "value": 1, "user_id": "u"}'


def kinds(stack, user):
    """One answer of each kind, by name."""
    bearer = {"Authorization": f"Bearer {user.token}", "Content-Type": "application/json"}
    gone = stack.new_user()
    return {
        "200": user.get("/health"),
        "201": stack.raw("POST", "/analytics/events", bearer, EVENT),
        "204": gone.delete(f"/auth/users/{gone.id}"),
        "204 OPTIONS": user.request("OPTIONS", "/auth/login"),
        "200 HEAD": user.request("HEAD", "/health"),
        "308": user.get("/login"),
        "308 plain": stack.client.get("/usage/x"),
        "400": user.post("/analytics/events", data="{"),
        "400 nginx": stack.raw("GET", "/%zz"),
        "401": stack.client.get("/auth/verify"),
        "403": user.delete("/auth/users/999999999"),
        "404": user.get("/auth/nothing"),
        "404 nginx": user.get("/nothing"),
        "405": user.get("/auth/login"),
        "405 nginx": stack.raw("TRACE", "/health"),
        "409": stack.client.post("/auth/register", {"email": user.email, "password": "long enough"}),
        "413": stack.client.post("/auth/login", data=b" " * 20000),
        "413 nginx": stack.client.post("/auth/login", data=b" " * (7 * 1024 * 1024)),
        "414 nginx": stack.raw("GET", "/" + "x" * 8300),
        "415": stack.raw("POST", "/analytics/events", {}, EVENT),
        "422": user.get("/analytics/metrics?days=0"),
        "505 nginx": stack.raw("GET", "/ HTTP/3.0\r\nX: "),
    }


def test_security_headers_on_every_kind_of_answer(stack, user):
    for kind, answer in kinds(stack, user).items():
        assert answer.status == int(kind[:3]), (kind, answer)
        for name, value in SECURITY.items():
            assert value in answer.headers.get(name, ""), f"{name} of {kind}"
            assert answer.headers[name].count(value) == 1, f"{name} of {kind} twice"
        assert answer.headers["Server"] == "nginx", "no version"
        assert "X-Powered-By" not in answer.headers
        assert "Set-Cookie" not in answer.headers


def test_hsts_lasts(client):
    age = client.get("/health").headers["Strict-Transport-Security"].partition("max-age=")[2].partition(";")[0]
    assert int(age) >= 31536000


def test_answers_about_a_person_are_not_stored(user):
    for path in ("/auth/verify", "/auth/profile", "/analytics/export"):
        assert user.get(path).headers["Cache-Control"] == "no-store", path


def test_figures_may_be_kept_by_the_client_alone(user):
    """And not be shown again unasked: test_conditional.py."""
    for path in ("/analytics/metrics", "/analytics/usage/u", "/analytics/costs", "/analytics/reports/daily"):
        assert user.get(path).headers["Cache-Control"] == "private, no-cache", path


def test_tokens_are_not_stored(stack, user):
    new = stack.client.post("/auth/register", {"email": f"{stack.unique('c')}@example.org", "password": "long enough"})
    login = stack.client.post("/auth/login", {"email": user.email, "password": user.password})
    profile = user.put("/auth/profile", {"username": "x"})
    for answer in (new, login, profile):
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path, media_type", [("/health", "application/json"),
    ("/auth/verify", "application/problem+json"),
                                              ("/nothing", "application/problem+json")])
def test_content_type(client, path, media_type):
    assert client.get(path).headers["Content-Type"] == media_type


# ---- compression ----

@pytest.fixture
def long_list(user):
    """A path whose answer is over 1,000 bytes."""
    events = [{"type": "cost", "value": n, "user_id": f"customer-{n}"} for n in range(100)]
    assert user.post("/analytics/metrics/batch", {"events": events}).status == 200
    return "/analytics/costs?group_by=user"


def raw_get(user, path, encoding):
    return user.stack.raw("GET", path, {"Authorization": f"Bearer {user.token}", "Accept-Encoding": encoding})


def test_gzip(user, long_list):
    plain, packed = raw_get(user, long_list, "identity"), raw_get(user, long_list, "gzip")
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert len(packed.body) < len(plain.body) / 2
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("encoding", ["identity", "br", "gzip;q=0", ""])
def test_not_compressed_unasked(user, long_list, encoding):
    assert "Content-Encoding" not in raw_get(user, long_list, encoding).headers


def test_short_answers_stay_as_they_are(user):
    assert "Content-Encoding" not in raw_get(user, "/health", "gzip").headers
