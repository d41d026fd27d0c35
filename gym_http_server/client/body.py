"""JSON bodies of requests. Arrays and scalars of numpy are taken without importing numpy."""

from __future__ import annotations

import math
from typing import Any

import orjson

INFINITY = 1e100  # the contract's form of infinity, which JSON does not have


def json_body(value: Any) -> bytes:
    """Return `value` as JSON: NaN as null, infinities as ±1e100.

    Raises:
        TypeError: it holds something that has no JSON form.
    """
    data = _dumps(value)
    # orjson writes NaN and infinities alike as null: only a body with a null in it needs the slow look at each number.
    return _dumps(_without_infinities(value)) if b"null" in data else data


def _dumps(value: Any) -> bytes:
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        # What `_plain` raised says more than what orjson makes of it.
        raise TypeError(str(error.__cause__ or error)) from error


def _plain(value: Any) -> Any:
    # orjson leaves arrays that are not contiguous, and tensors of other libraries, to this function.
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form: send numbers, strings, lists, dicts or arrays")


def _without_infinities(value: Any) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return math.copysign(INFINITY, value) if math.isinf(value) else value
    if isinstance(value, dict):
        return {key: _without_infinities(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_infinities(item) for item in value]
    return value
