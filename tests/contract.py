"""Holding replies against the contract, for tests that talk to a real server."""

from __future__ import annotations

import functools
import json
from typing import Any

from openapi_schema_validator import OAS30ReadValidator

from gym_http_server.spec import load_contract, resolve

CONTRACT = load_contract()
DOCUMENT = CONTRACT.document
EDGE_STATUSES = {404, 405}
"""Answered before there is an operation, so that no operation declares them; they are problems all the same."""


def inlined(node: Any) -> Any:
    """Return a part of the document with every reference replaced by what it points at."""
    if isinstance(node, dict):
        node = resolve(DOCUMENT, node)
        return {key: inlined(value) for key, value in node.items()}
    return [inlined(value) for value in node] if isinstance(node, list) else node


@functools.cache
def validator(*pointer: str) -> OAS30ReadValidator:
    """Return the validator of the schema at a pointer into the document."""
    node: Any = DOCUMENT
    for key in pointer:
        node = resolve(DOCUMENT, node)[key]
    return OAS30ReadValidator(inlined(node))


def check_reply(method: str, path: str, status: int, headers: dict[str, str], body: bytes) -> None:
    """Assert that the contract declares such a reply to such a request; `headers` has lower-case names."""
    media_type = headers.get("content-type", "").split(";")[0]
    found = CONTRACT.match(path)
    if found is None or method not in found[0].operations or status in EDGE_STATUSES:
        assert status in EDGE_STATUSES, (method, path, status)
        assert media_type == "application/problem+json"
        validator("components", "schemas", "Problem").validate(json.loads(body))
        return
    item = found[0]
    responses = item.operations[method]["responses"]
    assert str(status) in responses, f"{method} {path} answered {status}: {body[:300]!r}"
    content = resolve(DOCUMENT, responses[str(status)])["content"]
    assert media_type in content, f"{method} {path} answered {status} as {media_type!r}"
    schema = validator(
        "paths", item.template, method.lower(), "responses", str(status), "content", media_type, "schema"
    )
    if media_type.endswith("json"):
        schema.validate(json.loads(body, parse_constant=lambda name: (_ for _ in ()).throw(AssertionError(name))))
