# SPDX-License-Identifier: Apache-2.0
"""The requests of the load, as text: a client sends the same ones to everybody.

An id is a placeholder of a fixed width until the request is sent, so that each one is new and the length
of a body never changes.
"""
import itertools
import json
import random

ID = "@@@@@@@@@@@@@@@@@@@@"
SEPARATOR = "\n=====\n"
TYPES = ("api_call", "tool_execution", "session", "cost")
USERS = 1000
BATCH = 1000
BODIES = {"event": 1000, "batch": 6}  # how many different ones go round

_chance = random.Random(1)
_serial = itertools.count(1)


def new_word():
    """What all ids of one run begin with: nobody else's do."""
    return f"{random.SystemRandom().getrandbits(24):06x}{next(_serial):02x}"


def event(event_id, user=None):
    return {
        "id": event_id,
        "type": _chance.choice(TYPES),
        "value": _chance.randrange(1, 1000) / 100,
        "user_id": user or f"user-{_chance.randrange(USERS):04d}",
        "metadata": {"path": "/v1/x", "status": 200},
    }


def text(value):
    return json.dumps(value, separators=(",", ":"))


def event_body():
    return text(event(ID))


def batch_body(size=BATCH, users=None):
    return text({"events": [event(f"{ID}-{n:04d}", users and users()) for n in range(size)]})


def over_the_wire(stack, method, path, token, body=None):
    lines = [f"{method} {path} HTTP/1.1", f"Host: localhost:{stack.port}", f"Authorization: Bearer {token}"]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines) + "\r\n\r\n" + (body or "")


def bodies(kind):
    """Kinds are `none`, `event` and `batch`."""
    if kind == "none":
        return [None]
    make = {"event": event_body, "batch": batch_body}[kind]
    return [make() for _ in range(BODIES[kind])]


def with_id(body, word, serial):
    """The body as it is sent; None stays None."""
    return body and body.replace(ID, f"{word}{serial:0{len(ID) - len(word)}d}")
