"""Bodies of requests and replies. Arrays and scalars of numpy are taken without importing numpy.

JSON is written and read by orjson where that is installed, as it is beside the server, else by the standard library.
"""

from __future__ import annotations

import math
from typing import Any

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]
    import json

INFINITY = 1e100  # the contract's form of infinity, which JSON does not have


def json_body(value: Any) -> bytes:
    """Return `value` as JSON: NaN as null, infinities as ±1e100.

    Raises:
        TypeError: it holds something that has no JSON form.
    """
    if orjson is None:
        return json.dumps(_json_values(value), ensure_ascii=False, separators=(",", ":")).encode()
    data = _dumps(value)
    # orjson writes NaN and infinities alike as null: only a body with a null in it needs the slow look at each number.
    return _dumps(_without_infinities(value)) if b"null" in data else data


def json_value(content: bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is none.
    """
    return json.loads(content) if orjson is None else orjson.loads(content)


def _dumps(value: Any) -> bytes:
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        # What `_plain` raised says more than what orjson makes of it.
        raise TypeError(str(error.__cause__ or error)) from error


def _json_values(value: Any) -> Any:
    """Return `value` made of what the standard library writes as the contract has it."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else _without_infinities(value)
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("Dict key must be str")
        return {key: _json_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_values(item) for item in value]
    return _json_values(_plain(value))


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


def msgpack_body(value: Any) -> bytes:
    """Return `value` as MessagePack, arrays as the contract has them; NaN and infinities are themselves.

    Raises:
        TypeError: it holds something that has no form there.
    """
    from ...runtime.values.packing import pack  # here, for it loads numpy, which JSON does without

    try:
        return pack(value)
    except (OverflowError, TypeError):
        return pack(_without_strangers(value))


def msgpack_value(content: bytes) -> Any:
    """Return the value of a MessagePack; arrays come as read-only arrays of numpy.

    Raises:
        ValueError: it is none.
    """
    from ...runtime.values.packing import unpack

    return unpack(content)


def _without_strangers(value: Any) -> Any:
    """Return `value` with numpy's arrays where it has tensors of other libraries, or arrays that MessagePack lacks."""
    import numpy as np

    if isinstance(value, dict):
        return {key: _without_strangers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_strangers(item) for item in value]
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        return array if array.dtype.kind in "biuf" else array.tolist()
    return value.tolist() if hasattr(value, "tolist") else value
