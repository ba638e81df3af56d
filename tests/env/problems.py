# SPDX-License-Identifier: Apache-2.0
"""What every error answer must look like (RFC 9457)."""

SLUGS = {
    400: "bad-request", 401: "unauthorized", 403: "forbidden", 404: "not-found", 405: "method-not-allowed",
    409: "conflict", 410: "gone", 413: "payload-too-large", 414: "uri-too-long", 415: "unsupported-media-type",
    421: "misdirected-request", 422: "validation", 429: "too-many-requests", 431: "header-fields-too-large",
    503: "unavailable", 505: "http-version-not-supported",
}


def assert_problem(answer, status):
    """Check status and shape; returns the problem."""
    assert answer.status == status, answer
    assert answer.media_type == "application/problem+json", answer.headers
    problem = answer.json()
    assert set(problem) - {"errors"} == {"type", "title", "status", "detail", "request_id"}, problem
    assert problem["type"] == f"/problems/{SLUGS[status]}"
    assert problem["status"] == status
    assert problem["title"] and problem["detail"]
    assert problem["request_id"] and problem["request_id"] == answer.headers["X-Request-ID"]
    assert answer.headers["Cache-Control"] == "no-store"
    for error in problem.get("errors", []):
        assert set(error) == {"field", "code", "message"}, error
        assert all(isinstance(text, str) and text for text in error.values()), error
    if status == 401:
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    if status in (429, 503):
        assert int(answer.headers["Retry-After"]) >= 1
    if status == 405:
        assert answer.headers["Allow"]
    return problem


def assert_invalid(answer, **fields):
    """A 422 that tells exactly these fields, each with this code."""
    problem = assert_problem(answer, 422)
    told = {error["field"]: error["code"] for error in problem["errors"]}
    assert told == fields, problem
    return problem
