# SPDX-License-Identifier: Apache-2.0
"""Every answer that a test gets is held against doc/openapi.yaml: is its status described for this route, its media
type, and does its body have the schema?

Only what the application serves is known there, and only what clients send as whole requests; what goes out byte by
byte is not looked at.
"""
import functools
import re

import jsonschema
import yaml

from env.wait import TOP

JSON_TYPES = ("application/json", "application/problem+json", "application/jwk-set+json")


def _pattern(path):
    """An id is anything without a slash, as the server sees it on the wire."""
    return re.compile("^" + "".join("[^/?]+" if part.startswith("{") else re.escape(part)
                                    for part in re.split(r"(\{\w+\})", path)) + "$")


@functools.lru_cache(None)
def _document():
    return yaml.load((TOP / "doc" / "openapi.yaml").read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@functools.lru_cache(None)
def _paths():
    """Literal ones first: /users/me is not /users/{id}."""
    found = [(path.count("{"), _pattern(path), entry) for path, entry in _document()["paths"].items()]
    return [(pattern, entry) for _, pattern, entry in sorted(found, key=lambda one: one[0])]


def _resolve(node):
    while "$ref" in node:
        target = _document()
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


@functools.lru_cache(None)
def _validator(reference):
    """Of a schema at a path into the document, as a tuple of steps."""
    schema = {"$ref": "#/" + "/".join(step.replace("~", "~0").replace("/", "~1") for step in reference)}
    resolver = jsonschema.RefResolver("", _document())
    return jsonschema.Draft202012Validator(schema, resolver=resolver)


def _operation(method, path):
    path = path.partition("?")[0].removeprefix("/api/v1")
    for pattern, entry in _paths():
        if pattern.match(path):
            return entry.get("get" if method == "HEAD" else method.lower())
    return None


def _steps(node, wanted, prefix=()):
    """Where in the document an object stands."""
    if node is wanted:
        return prefix
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        found = _steps(child, wanted, prefix + (str(key),))
        if found is not None:
            return found
    return None


_known = {}


def _schema_validator(schema):
    if id(schema) not in _known:
        _known[id(schema)] = _validator(_steps(_document(), schema))
    return _known[id(schema)]


def check(method, path, answer, sparse=False):
    """Fail when an answer is not as described. Of a sparse one (`fields`) only status and media type are known."""
    operation = _operation(method, path)
    former = answer.status == 308 and path.startswith("/reports/daily")  # it only looks like /reports/{id}
    if operation is None or former or answer.status in (405, 421) or method == "OPTIONS":
        return
    described = operation["responses"]
    response = _resolve(described.get(str(answer.status)) or described["default"])
    what = f"{method} {path} answers {answer.status}"
    if method == "HEAD" or answer.status == 304:
        return
    content = {name.partition(";")[0]: media for name, media in response.get("content", {}).items()}
    if not answer.body:
        assert not set(content) & set(JSON_TYPES), f"{what} without a body"
        return
    media = content.get(answer.media_type)
    assert media is not None, f"{what} as {answer.media_type}, which is not described"
    if (sparse and answer.status == 200) or answer.status == 206:  # a part of a file
        return
    if answer.media_type in JSON_TYPES and "schema" in media:
        errors = sorted(_schema_validator(media["schema"]).iter_errors(answer.plain()), key=str)
        assert not errors, f"{what}: {errors[0].message} at {list(errors[0].absolute_path)}: {answer}"
