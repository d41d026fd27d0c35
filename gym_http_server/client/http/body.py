"""Bodies of requests and replies, as JSON or MessagePack.

JSON uses orjson where it is installed, else the standard library, and takes NumPy's values without importing NumPy.
"""

from __future__ import annotations

import math
from typing import Any

from ...runtime.values.packing import pack, pack_members, unpack, unpack_in_place

try:
    import orjson

    _NUMPY = orjson.OPT_SERIALIZE_NUMPY
except ImportError:
    orjson = None  # type: ignore[assignment]
    import json

INFINITY = 1e100  # how the contract writes infinity, which JSON lacks


def json_body(value: Any) -> bytes:
    """Return `value` as JSON: NaN as null, infinities as ±1e100.

    Raises:
        TypeError: a value in it has no JSON form.
    """
    if orjson is None:
        return json.dumps(_json_values(value), default=_plain, ensure_ascii=False, separators=(",", ":")).encode()
    try:
        data = orjson.dumps(value, default=_plain, option=_NUMPY)
    except orjson.JSONEncodeError as error:
        # The error of `_plain` says more than that of orjson.
        raise TypeError(str(error.__cause__ or error)) from error
    # orjson writes NaN and infinities as null: only a body with a null needs the slow check of each number.
    return orjson.dumps(_json_values(value), default=_plain, option=_NUMPY) if b"null" in data else data


def json_value(content: bytes | bytearray) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: `content` is not JSON.
    """
    return json.loads(content) if orjson is None else orjson.loads(content)


def _json_values(value: Any) -> Any:
    """Return `value` with arrays as lists, NaN as None and infinities as ±1e100."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else math.copysign(INFINITY, value)
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("Dict key must be str")
        return {key: _json_values(item) for key, item in value.items()}
    return [_json_values(item) for item in value] if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    # For orjson: arrays that are not contiguous, and tensors of other libraries.
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form: send numbers, strings, lists, dicts or arrays")


def msgpack_body(value: Any) -> bytes:
    """Return `value` as MessagePack, arrays as the contract has them; NaN and infinities unchanged.

    Raises:
        TypeError: a value in it has no MessagePack form.
    """
    try:
        # For the actions of a batch, which are copied once.
        return (hasattr(value.get("actions"), "dtype") and pack_members(value, pack)) or pack(value)
    except (AttributeError, OverflowError, TypeError):
        return pack(_as_numpy(value))


def msgpack_value(content: bytes | bytearray) -> Any:
    """Return the value of a MessagePack, with arrays as read-only NumPy arrays.

    Raises:
        ValueError: `content` is not MessagePack.
    """
    return unpack_in_place(content) if type(content) is bytearray else unpack(content)


def _as_numpy(value: Any) -> Any:
    """Return `value` with tensors of other libraries as NumPy arrays, and arrays without a MessagePack form as lists."""
    import numpy as np

    if isinstance(value, dict):
        return {key: _as_numpy(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_numpy(item) for item in value]
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        return array if array.dtype.kind in "biuf" else array.tolist()
    return value.tolist() if hasattr(value, "tolist") else value
