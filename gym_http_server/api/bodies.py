"""Reading request bodies, strictly: what connexion's own readers let through or fail on ends in a clear 400 here.

`parse` is what a handler's `body` comes from on either way. `parse_plain` is the hot path's: several times faster, and it
gives up, instead of explaining, on whatever it is not sure to read as `parse` does.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import orjson

from ..runtime.messages import JSON, MSGPACK
from ..runtime.packing import unpack
from .problems import HttpProblem

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DEPTH = 100
"""Deepest nesting of arrays and objects; numpy has at most 64 dimensions, and spaces nest a few times more."""
_LONG_INTEGER = re.compile(rb"\d{19}")
_LEAST, _GREATEST = -(2**63), 2**64 - 1


def parse(media_type: str, body: bytes) -> Any:
    """Return the value of a body of one of the media types in `PARSERS`.

    Raises:
        HttpProblem: 400 where it is not of that type, or over a limit.
    """
    return PARSERS[media_type](body)


def parse_json(body: bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        HttpProblem: 400 where it is not UTF-8, not JSON (NaN and Infinity are not), nested deeper than `MAX_DEPTH`, or
            holds an integer outside of 64 bits.
    """
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise _malformed(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise _malformed(str(error)) from None
    except RecursionError:
        raise _too_deep("json") from None
    except ValueError as error:
        # The interpreter refuses to read integers of thousands of digits.
        raise _malformed(str(error).split(";", 1)[0]) from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_too_deep(value):
        raise _too_deep("json")
    if _LONG_INTEGER.search(body):
        _check_integers(value)
    return value


def parse_msgpack(body: bytes) -> Any:
    """Return the value of a MessagePack, its arrays as read-only arrays.

    Raises:
        HttpProblem: 400 where it is not MessagePack (see `packing.unpack`), or nested deeper than `MAX_DEPTH`.
    """
    try:
        value = unpack(body)
    except ValueError as error:
        raise HttpProblem(400, "malformed-msgpack", f"the body is not MessagePack: {error}") from None
    if len(body) > MAX_DEPTH and _is_too_deep(value):
        raise _too_deep("msgpack")
    return value


PARSERS: dict[str, Callable[[bytes], Any]] = {JSON: parse_json, MSGPACK: parse_msgpack}


def parse_plain(media_type: str, body: bytes) -> Any:
    """Return what `parse` returns, faster.

    Raises:
        ValueError: `parse` may refuse this body or read something else in it.
    """
    if media_type == MSGPACK:
        value = unpack(body)
        if len(body) > MAX_DEPTH and _is_too_deep(value):
            raise ValueError("deep")
        return value
    value = orjson.loads(body)
    if len(body) >= _SUSPECT and (
        _LONG_INTEGER.search(body) or (body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_too_deep(value))
    ):
        raise ValueError("deep, or with integers beyond 64 bits")
    return value


_SUSPECT = 19
"""Length from which a JSON text may hold an integer beyond 64 bits or more than `MAX_DEPTH` brackets."""


def _refuse_constant(name: str) -> None:
    raise _malformed(f"{name} is not JSON: send null for NaN, and ±1e100 for ±infinity")


def _malformed(why: str) -> HttpProblem:
    return HttpProblem(400, "malformed-json", f"the body is not JSON: {why}")


def _too_deep(form: str) -> HttpProblem:
    return HttpProblem(400, f"malformed-{form}", f"the body is nested deeper than {MAX_DEPTH} levels", limit=MAX_DEPTH)


def _is_too_deep(value: Any) -> bool:
    level, depth = [value], 0
    while level:
        level = [item for each in level for item in _items(each) if isinstance(item, (list, dict))]
        depth += 1
        if depth > MAX_DEPTH:
            return True
    return False


def _check_integers(value: Any) -> None:
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, (list, dict)):
            todo.extend(_items(each))
        elif isinstance(each, int) and not _LEAST <= each <= _GREATEST:
            raise HttpProblem(400, "malformed-json", "the body holds an integer that does not fit in 64 bits")


def _items(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
