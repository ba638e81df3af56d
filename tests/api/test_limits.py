# SPDX-License-Identifier: Apache-2.0
"""Rate limits of an address, with the values of an installation and with small ones."""
import json

import pytest

from env.problems import assert_problem
from env.wait import wait_for

LOGIN = json.dumps({"email": "nobody@example.org", "password": "long enough"})
BURST = 5  # of the installation: the first request and five more


@pytest.fixture(scope="module")
def installation(make_stack):
    """With the limits of an installation: none is set."""
    return make_stack(limits={})


@pytest.fixture(scope="module")
def spent(installation):
    """Its address has used up its logins; statuses on the way."""
    statuses = []
    while 429 not in statuses and len(statuses) < 50:
        statuses.append(installation.client.post("/auth/login", data=LOGIN).status)
    return statuses


def again(stack, path="/auth/login", method="POST"):
    return stack.raw(method, path, {"Content-Type": "application/json"}, LOGIN.encode())


def test_login_after_the_burst(spent):
    # One more when the twelve seconds until the next were over in between.
    assert spent[:-1] in ([401] * (BURST + 1), [401] * (BURST + 2)), spent
    assert spent[-1] == 429


def test_429_is_a_problem_and_says_when(installation, spent):
    answer = again(installation)
    assert_problem(answer, 429)
    assert answer.headers["Retry-After"] == "12"


@pytest.mark.parametrize("path", ["/auth/register", "/api/v1/auth/login", "/api/v1/auth/register"])
def test_login_and_register_share_the_limit(installation, spent, path):
    answer = again(installation, path)
    assert_problem(answer, 429)
    assert answer.headers["Retry-After"] == "12"


@pytest.mark.parametrize("path", [
    "/auth/%6Cogin", "/%61uth/login", "/auth//login", "//auth/login", "/auth/./login", "/auth/x/../login",
    "/auth/login?x=1",
    "/auth/login%0A", "/auth/login/", "/auth%2Flogin", "/api/v1//auth/login", "/AUTH/login", "/auth/login;x",
    "/auth/login%3Fx",
    "/api%2Fv1/auth/login", "/analytics/../auth/login", "/auth/login#x", "https://localhost/auth/login",
    "/health/../auth/login",
    "/analytics/usage/..%2F..%2Fauth/login", "/auth/..%2Fauth/login", "/auth/x%2F../login", "/nothing/..%2Fauth/login",
])
def test_no_spelling_gets_around_it(installation, spent, path):
    """Whatever reaches the handler is counted; 401 would mean that a password was tried."""
    assert again(installation, path).status in (400, 404, 429)


@pytest.mark.parametrize("header", [
    {"X-Forwarded-For": "192.0.2.1"}, {"X-Real-IP": "192.0.2.1"}, {"Forwarded": "for=192.0.2.1"},
    {"CF-Connecting-IP": "192.0.2.1"},
    {"Authorization": "Bearer x"}, {"X-Request-ID": "another"}, {"User-Agent": "another"},
])
def test_no_header_gets_around_it(installation, spent, header):
    assert_problem(installation.client.post("/auth/login", data=LOGIN, headers=header), 429)


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/health", 200), ("GET", "/auth/login", 405), ("OPTIONS", "/auth/login", 204), ("GET", "/auth/verify", 401),
    ("PUT", "/auth/profile", 401), ("POST", "/analytics/events", 401), ("POST", "/login", 308),
])
def test_the_rest_goes_on(installation, spent, method, path, status):
    assert {again(installation, path, method).status for _ in range(8)} == {status}


def test_it_heals(make_stack):
    stack = make_stack(limits={"login_rate": "60r/m", "login_burst": "1"})
    wait_for(lambda: again(stack).status == 429, 10)
    wait_for(lambda: again(stack).status == 401, 10, every_s=0.2)


def test_wide_limit(make_stack):
    stack = make_stack(limits={"wide_rate": "1r/s", "wide_burst": "5"})
    wait_for(lambda: stack.client.get("/health/live").status == 429, 10)
    answer = stack.client.get("/health/live")
    assert_problem(answer, 429)
    assert answer.headers["Retry-After"] == "1"
    wait_for(lambda: stack.client.get("/health/live").status == 200, 10, every_s=0.3)


def test_wide_limit_of_an_installation_lets_a_burst_through(installation):
    assert {installation.client.get("/health/live").status for _ in range(300)} == {200}
