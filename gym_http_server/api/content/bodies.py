"""Strict parsers of request bodies: what connexion's parsers accept wrongly or fail on is a clear 400 here.

`parse` is the reference. `parse_plain`, for the hot path, is several times faster and raises ValueError for any body that `parse`
might reject or read differently. Both count the values first.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import orjson

from ...runtime.messages import JSON, MSGPACK
from ...runtime.values.packing import unpack
from ..problems import HttpProblem
from .value_count import PIECE_BYTES, json_exceeds, msgpack_exceeds

if TYPE_CHECKING:
    from collections.abc import Callable

LARGE_BODY_BYTES: Final = 1 << 14
"""A body of more bytes is parsed in one of `READERS`."""

MAX_LOOP_BODY_BYTES: Final = 1 << 18
"""Maximum bytes of a body of the hot path that is parsed on the event loop; a longer one is parsed in one of `READERS`."""

READERS: Final = ThreadPoolExecutor(2, thread_name_prefix="body")
"""Threads that parse large bodies; few, because they compete with the event loop for the interpreter."""

MAX_DEPTH = 100
"""Maximum nesting of arrays and objects; numpy has at most 64 dimensions, and spaces nest a few levels."""
_AS_ZEROS: Final = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_LONG_INTEGER: Final = b"0" * 19
"""What `_AS_ZEROS` makes of 19 digits, an integer that may exceed 64 bits. A regular expression takes 20 times as long."""
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**64 - 1


def parse(media_type: str, body: bytes, max_values: int) -> Any:
    """Return the value of a body.

    Args:
        media_type: one of `PARSERS`.
        body: the body.
        max_values: maximum number of values.

    Raises:
        HttpProblem: 400 for a malformed or too deeply nested body, 413 for too many values.
    """
    if EXCEED[media_type](body, max_values):
        raise HttpProblem(
            413,
            "too-many-values",
            f"the body holds more than {max_values} values (numbers, texts, arrays, objects, names of members): send fewer, send numbers as "
            "arrays of application/msgpack, where each counts as one, or start the server with a larger --max-values",
            limit=max_values,
            setting="max_values",
        )
    return PARSERS[media_type](body)


def parse_json(body: bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        HttpProblem: 400 if it is not UTF-8, not JSON (NaN and Infinity are not), nested deeper than `MAX_DEPTH`, or has an
            integer outside 64 bits.
    """
    try:
        # Python functions for the numbers let other threads run in between.
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant, parse_int=_integer, parse_float=_real)
    except UnicodeDecodeError as error:
        raise _malformed(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise _malformed(str(error)) from None
    except RecursionError:
        raise _too_deep("json") from None
    if _may_be_deep(body) and _is_too_deep(value):
        raise _too_deep("json")
    return value


def parse_msgpack(body: bytes) -> Any:
    """Return the value of a MessagePack body, with arrays as read-only NumPy arrays.

    Raises:
        HttpProblem: 400 if it is not MessagePack (see `packing.unpack`) or nested deeper than `MAX_DEPTH`.
    """
    try:
        value = unpack(body)
    except ValueError as error:
        raise HttpProblem(400, "malformed-msgpack", f"the body is not MessagePack: {error}") from None
    if len(body) > MAX_DEPTH and _is_too_deep(value):
        raise _too_deep("msgpack")
    return value


PARSERS: dict[str, Callable[[bytes], Any]] = {JSON: parse_json, MSGPACK: parse_msgpack}
EXCEED: dict[str, Callable[[bytes, int], bool]] = {JSON: json_exceeds, MSGPACK: msgpack_exceeds}


def parse_plain(media_type: str, body: bytes, max_values: int) -> Any:
    """Like `parse`, but faster.

    Raises:
        ValueError: `parse` may refuse this body or read it differently.
    """
    if (len(body) > max_values or len(body) > _MAX_UNCOUNTED_BYTES) and EXCEED[media_type](body, max_values):
        raise ValueError("too many values")
    if media_type == MSGPACK:
        value = unpack(body)
        if len(body) > MAX_DEPTH and _is_too_deep(value):
            raise ValueError("deep")
        return value
    if len(body) >= _MIN_SUSPECT_BYTES and _has_long_integer(body):
        raise ValueError("with integers beyond 64 bits, or digits that look like one")
    value = orjson.loads(body)
    if len(body) >= _MIN_SUSPECT_BYTES and _may_be_deep(body) and _is_too_deep(value):
        raise ValueError("deep")
    return value


_MAX_UNCOUNTED_BYTES: Final = 1024
"""Maximum bytes of a body whose values are not counted, unless fewer values are allowed."""

_MIN_SUSPECT_BYTES = 19
"""Minimum bytes of a JSON text that may have an integer beyond 64 bits or more than `MAX_DEPTH` brackets."""


def _has_long_integer(body: bytes) -> bool:
    if len(body) <= PIECE_BYTES:
        return _LONG_INTEGER in body.translate(_AS_ZEROS)
    return any(
        _LONG_INTEGER in body[start : start + PIECE_BYTES + _MIN_SUSPECT_BYTES].translate(_AS_ZEROS)
        for start in range(0, len(body), PIECE_BYTES)
    )


def _may_be_deep(body: bytes) -> bool:
    return body.count(b"[") + body.count(b"{") > MAX_DEPTH


def _integer(digits: str) -> int:
    # The longest integer of 64 bits has 20 characters; Python refuses thousands.
    if len(digits) <= 20 and _MIN_INTEGER <= (value := int(digits)) <= _MAX_INTEGER:
        return value
    detail = "the body holds an integer that does not fit in 64 bits: send a seed of that size as the text wide_seed"
    raise HttpProblem(400, "integer-too-large", detail)


def _real(digits: str) -> float:
    return float(digits)


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


def _items(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
