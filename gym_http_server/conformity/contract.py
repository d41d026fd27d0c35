"""Validation of replies against the contract: status, media type and schema."""

from __future__ import annotations

import functools
import json
import math
import re
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

import msgpack
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend
from openapi_schema_validator import OAS30ReadValidator

from ..client.http.body import INFINITY
from ..contract import load_contract, resolve
from .exchange import Nonconformity, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTRACT = load_contract()
DOCUMENT = CONTRACT.document
UNDECLARED_STATUSES = {404, 405}
"""Statuses for requests without an operation, so no operation declares them; their bodies are problems, too."""


def _each_distinct_item(validator: Any, items: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:  # noqa: ARG001 -- jsonschema's
    """Validate one of equal numbers, texts and nulls of a list: one by one, a screen's 201,600 bounds take seconds."""
    if isinstance(instance, list):
        # Values that are equal may be of several types, such as 1 and true.
        scalar = (int, float, str, bool, type(None))
        found = {
            (type(item), item) if type(item) in scalar else at: at for at, item in reversed([*enumerate(instance)])
        }
        for at in sorted(found.values()):
            yield from validator.descend(instance[at], items, path=at)


_ReplyValidator = extend(OAS30ReadValidator, {"items": _each_distinct_item})


def inlined(node: Any) -> Any:
    """Return a part of the document with its references resolved."""
    if isinstance(node, dict):
        node = resolve(DOCUMENT, node)
        return {key: inlined(value) for key, value in node.items()}
    return [inlined(value) for value in node] if isinstance(node, list) else node


@functools.cache
def validator(*pointer: str) -> Any:
    """Return the validator of the schema to which the keys of `pointer` lead in the document."""
    node: Any = DOCUMENT
    for key in pointer:
        node = resolve(DOCUMENT, node)[key]
    return _ReplyValidator(inlined(node))


def example_path(template: str, **parameters: str) -> str:
    """Return a path of the contract, with the contract's examples for parameters that are not given."""
    declared = DOCUMENT["components"]["parameters"].values()
    values = {item["name"]: item["example"] for item in declared if item["in"] == "path"} | parameters
    return re.sub(r"\{(\w+)\}", lambda match: quote(str(values[match[1]]), safe=""), template)


def example_body(operation: dict[str, Any]) -> Any:
    """Return the example of an operation's body, or None if it has no body."""
    content = resolve(DOCUMENT, operation.get("requestBody", {})).get("content", {})
    return content["application/json"]["example"] if content else None


def check_reply(method: str, path: str, status: int, headers: dict[str, str], body: bytes) -> None:
    """Validate the reply to a request of a method and a decoded path; its headers have lower-case names.

    Raises:
        Nonconformity: the contract declares no such reply.
    """
    media_type = headers.get("content-type", "").split(";")[0].strip()
    if is_head := method == "HEAD":
        method = "GET"
        if body:
            raise Nonconformity("no content in a reply to HEAD", _text(body))
    found = CONTRACT.match(path)
    if found is None or method not in found[0].operations or status in UNDECLARED_STATUSES:
        if status not in UNDECLARED_STATUSES:
            raise Nonconformity(f"404 or 405, for {method} {path} is no operation", f"{status} {_text(body)}")
        _expect_type(["application/problem+json"], status, media_type)
        if not is_head:
            _fit(validator("components", "schemas", "Problem"), body)
        return
    item = found[0]
    responses = item.operations[method]["responses"]
    if str(status) not in responses:
        raise Nonconformity(f"one of the statuses {', '.join(responses)}", f"{status} {_text(body)}")
    content = resolve(DOCUMENT, responses[str(status)])["content"]
    _expect_type(list(content), status, media_type)
    if media_type.endswith(("json", "msgpack")) and not is_head:
        pointer = (item.template, method.lower(), "responses", str(status), "content", media_type, "schema")
        _fit(validator("paths", *pointer), body, is_packed=media_type.endswith("msgpack"))


def unpacked(body: bytes) -> Any:
    """Return the value of a MessagePack for JSON Schema: bin as text, NaN as None, infinities as ±1e100.

    Raises:
        ValueError: the body is not MessagePack.
    """
    return _as_json(msgpack.unpackb(body))


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else math.copysign(INFINITY, value)
    return value


def _expect_type(declared: list[str], status: int, media_type: str) -> None:
    if media_type not in declared:
        raise Nonconformity(f"{status} as {' or '.join(declared)}", f"{status} as {media_type or 'no media type'}")


def _fit(schema: Any, body: bytes, *, is_packed: bool = False) -> None:
    try:
        value = unpacked(body) if is_packed else json.loads(body, parse_constant=_refuse)
    except ValueError as error:
        form = "MessagePack" if is_packed else "JSON"
        raise Nonconformity(f"a body of {form}", f"{_text(body)} ({error})") from None
    wrong = best_match(schema.iter_errors(value))
    if wrong is not None:
        title = schema.schema.get("title", "that of its schema")
        raise Nonconformity(f"a body in the form of {title}", f"{wrong.json_path}: {shown(wrong.message)}")


def _refuse(name: str) -> NoReturn:
    raise Nonconformity("numbers that JSON has", name)


def _text(body: bytes) -> str:
    return shown(body.decode(errors="backslashreplace"))
