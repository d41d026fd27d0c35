"""Encoding of replies as JSON or MessagePack, for any value that an environment returns.

Environments are third-party code, and `info` may contain anything. Nothing here raises: a value without a JSON form becomes
its text. For JSON there are two ways, with equal results:

- orjson encodes the value in one pass, which suffices for nearly every step.
- If orjson refuses the value, or its output may contain a form that this module does not use (null for infinities, a date
  for NaT, an open bracket in an array of dates), the value is first converted to plain types.

`_Form` has what differs between formats.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgpack
import orjson

from ...support.deferred import np
from ..messages import JSON, JSON_INFINITY, MSGPACK
from .packing import NUMBER_TYPES, pack_members, packed_array

MAX_DEPTH: Final = 128
"""Containers nested deeper than this become text; orjson's limit is 254, and a NumPy array has up to 64 dimensions."""

_NUMPY: Final = orjson.OPT_SERIALIZE_NUMPY
_NAT_IN_DAYS: Final = b"1970-01-01T00:00:00"
_NAT_IN_NANOSECONDS: Final = b"1677-09-21T00:12:43"
_INFINITY_TEXTS: Final = {math.inf: orjson.dumps(JSON_INFINITY), -math.inf: orjson.dumps(-JSON_INFINITY)}


def json_bytes(value: Any) -> bytes:
    """Return `value` as UTF-8 JSON. Never raises.

    - Arrays of any dtype and shape become nested lists, a 0-d array its element. float16, float32 and float64 get the
      shortest form that reads back as the same number of that dtype.
    - NaN, NaT and masked elements become null, ±inf becomes ±1e100.
    - Keys become strings; of two keys with the same text the last one stays.
    - Integers of any size are written in full; of more than 4300 digits, as a hexadecimal string.
    - Tuples, sets (sorted if possible) and deques become lists, dataclasses objects, enums their value, bytes text, dates
      their ISO form. Objects with `__array__` are encoded as that array.
    - Other objects, cycles, and values nested deeper than about a hundred levels become their `str`, or
      `<ClassName object>` if that raises.
    """
    try:
        encoded = orjson.dumps(value, option=_NUMPY)
    except Exception:  # noqa: BLE001 -- third-party code may raise anything
        return _plain_bytes(value)
    if b"null" in encoded or _NAT_IN_DAYS in encoded or _NAT_IN_NANOSECONDS in encoded or _is_open(encoded):
        return _plain_bytes(value)
    return encoded


def _goes_as_it_is(array: np.ndarray[Any, Any]) -> bool:
    return array.dtype.char in NUMBER_TYPES and array.dtype.isnative and array.flags.c_contiguous


def _is_open(encoded: bytes) -> bool:
    # A defect of orjson 3.13.0 with datetime64 arrays of two or more dimensions.
    return b"[[" in encoded and encoded.count(b"[") != encoded.count(b"]")


def _plain_bytes(value: Any) -> bytes:
    try:
        return orjson.dumps(_Walk(_JSON).plain(value), option=_NUMPY)
    except Exception:  # noqa: BLE001 -- third-party code may raise anything
        return orjson.dumps(_text(value))


def msgpack_bytes(value: Any) -> bytes:
    """Return `value` as MessagePack. Never raises.

    As `json_bytes`, except that arrays of numbers and booleans become `packing.packed_array`, NaN and infinities stay
    floats, and integers beyond 64 bits become text.
    """
    try:
        packed = pack_members(value, lambda member: _packed_member(value, member))
        if packed is None:
            packed = msgpack.packb(_Walk(_MSGPACK).plain(value))
    except Exception:  # noqa: BLE001 -- third-party code may raise anything
        packed = msgpack.packb(_text(value))
    return packed


def _packed_member(whole: Any, member: Any) -> bytes:
    packed: bytes = msgpack.packb(_Walk(_MSGPACK, whole).plain(member))
    return packed


class _Form(NamedTuple):
    """Conversions of leaves that differ between formats."""

    array: Callable[[np.ndarray[Any, Any]], Any]
    real: Callable[[Any], Any]
    integer: Callable[[int], Any]


class _Walk:
    """Converts a value to plain types for a format.

    Args:
        form: the format.
        around: the containers that the value is in.
    """

    def __init__(self, form: _Form, *around: Any) -> None:
        self._form = form
        self._path = set(map(id, around))

    def plain(self, value: Any) -> Any:
        """Return `value` in types that the format's encoder accepts."""
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return _utf8(value)
        if kind is float:
            return self._form.real(value)
        if kind is int:
            return self._form.integer(value)
        try:
            # Exact types first: checks for abstract types take several times as long.
            if kind is dict or kind is list or kind is tuple:
                return self._nested(value, self._mapping if kind is dict else self._row)
            if kind is np.ndarray and _goes_as_it_is(value):
                return self._form.array(value)
            return self._other(value)
        except Exception:  # noqa: BLE001 -- third-party code may raise anything
            return _text(value)

    def _other(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, np.generic) and not isinstance(value, str | bytes):
            return self._scalar(value)
        if isinstance(value, enum.Enum):
            return self._nested(value, lambda member: self.plain(member.value))
        if isinstance(value, str):
            return _utf8(str(value))
        if isinstance(value, int):
            return self._form.integer(int(value))
        if isinstance(value, float):
            return self._form.real(float(value))
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value).decode("utf-8", "backslashreplace")
        if isinstance(value, datetime | date | time | UUID | os.PathLike):
            return _utf8(_iso(value))
        return self._container(value)

    def _container(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return self._nested(value, self._mapping)
        if isinstance(value, AbstractSet):
            value = _sorted(value)
        if isinstance(value, list | tuple | deque):
            return self._nested(value, self._row)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._nested(value, self._fields)
        # On the class: an object with every attribute, such as a mock, is no array.
        if hasattr(type(value), "__array__"):
            return self._nested(value, lambda holder: self._array(np.asarray(holder)))
        return _text(value)

    def _mapping(self, value: Mapping[Any, Any]) -> Any:
        return {_key(key): self.plain(item) for key, item in value.items()}

    def _row(self, value: Iterable[Any]) -> Any:
        return [self.plain(item) for item in value]

    def _fields(self, value: Any) -> Any:
        # orjson leaves out names that start with an underscore; both ways must encode the same.
        names = [field.name for field in dataclasses.fields(value) if not field.name.startswith("_")]
        return {name: self.plain(getattr(value, name)) for name in names}

    def _nested(self, value: Any, build: Callable[[Any], Any]) -> Any:
        if id(value) in self._path or len(self._path) >= MAX_DEPTH:
            return _text(value)
        self._path.add(id(value))
        try:
            return build(value)
        finally:
            self._path.discard(id(value))

    def _array(self, array: np.ndarray[Any, Any]) -> Any:
        if isinstance(array, np.ma.MaskedArray) or array.dtype.kind not in "biuf":
            return self._nested(array, self._elements)
        return self._form.array(_native(array))

    def _elements(self, array: np.ndarray[Any, Any]) -> Any:
        if array.dtype.kind in "mM" and not isinstance(array, np.ma.MaskedArray):
            # Not tolist, which returns integers for values that datetime and timedelta cannot hold.
            plain = np.empty(array.size, object)
            plain[:] = [self.plain(moment) for moment in array.flat]
            return plain.reshape(array.shape).tolist()
        return self.plain(array.tolist())

    def _scalar(self, value: np.generic) -> Any:
        if isinstance(value, np.datetime64):
            return None if np.isnat(value) else _moment(value)
        if isinstance(value, np.timedelta64):
            return None if np.isnat(value) else str(value)
        if isinstance(value, np.floating):
            return self._form.real(_narrow(value))
        item = value.item()
        return _text(value) if isinstance(item, np.generic) else self.plain(item)


def _native(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.dtype.kind == "f" and array.dtype.itemsize > np.dtype(np.float64).itemsize:
        with np.errstate(over="ignore", under="ignore"):
            array = array.astype(np.float64)
    return np.asarray(array, array.dtype.newbyteorder("="), order="C")


def _narrow(value: np.floating[Any]) -> Any:
    return value if isinstance(value, np.float16 | np.float32 | np.float64) else float(value)


def _json_array(array: np.ndarray[Any, Any]) -> Any:
    if array.ndim == 0:
        return _json_real(array[()]) if array.dtype.kind == "f" else array.item()
    if array.dtype.kind != "f" or not np.isinf(array).any():
        return array
    # 1e100 does not fit float16 and float32, so it replaces orjson's nulls, which are in C order.
    pieces = orjson.dumps(array, option=_NUMPY).split(b"null")
    words = [_INFINITY_TEXTS.get(number, b"null") for number in array[~np.isfinite(array)].tolist()] + [b""]
    return orjson.Fragment(b"".join(piece + word for piece, word in zip(pieces, words, strict=True)))


def _json_real(value: Any) -> Any:
    if math.isfinite(value):
        return value
    return None if math.isnan(value) else math.copysign(JSON_INFINITY, value)


def _json_integer(value: int) -> Any:
    if -(2**63) <= value < 2**64:
        return value
    try:
        return orjson.Fragment(int.__repr__(value))
    except ValueError:
        # Python limits the number of decimal digits, but not of hexadecimal ones.
        return hex(value)


def _packed_array(array: np.ndarray[Any, Any]) -> Any:
    return array.item() if array.ndim == 0 else packed_array(array)


def _packed_integer(value: int) -> Any:
    return value if -(2**63) <= value < 2**64 else _text(value)


ENCODERS: Final[dict[str, Callable[[Any], bytes]]] = {JSON: json_bytes, MSGPACK: msgpack_bytes}
"""The encoder of each media type of replies."""

_MSGPACK: Final = _Form(array=_packed_array, real=float, integer=_packed_integer)
_JSON: Final = _Form(array=_json_array, real=_json_real, integer=_json_integer)


def _moment(value: np.datetime64) -> str:
    try:
        return str(orjson.loads(orjson.dumps(value, option=_NUMPY)))
    except TypeError:
        return str(value)


def _iso(value: Any) -> str:
    if isinstance(value, datetime | date | time):
        try:
            return str(orjson.loads(orjson.dumps(value)))
        except TypeError:
            return value.isoformat()
    return str(value)


def _key(key: Any) -> str:
    return _utf8(key) if isinstance(key, str) else _text(key)


def _sorted(values: AbstractSet[Any]) -> list[Any]:
    try:
        return sorted(values)
    except TypeError:
        return list(values)


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def _text(value: Any) -> str:
    try:
        return _utf8(str(value))
    except Exception:  # noqa: BLE001 -- third-party code may raise anything
        return f"<{type(value).__name__} object>"
