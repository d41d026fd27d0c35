"""MessagePack with arrays, for the channel to an environment's process and the media type `application/msgpack`.

An array is a map of exactly `dtype` (NumPy's name, such as `<f4`), `shape` (a list) and `data` (a bin of the elements in C
order, little-endian). No other value of a space contains a bin.

Format: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

import struct
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgpack

from ...support.deferred import np

if TYPE_CHECKING:
    from collections.abc import Callable

_FIRST_BUFFER: Final = 1024
_ARRAY_MEMBERS: Final = 3  # dtype, shape and data
_MAX_AXES: Final = 64  # NumPy's limit
_DTYPES: Final = frozenset(("|b1", "|i1", "|u1", "<i2", "<i4", "<i8", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8"))
_NO_SHAPE: Final = "the shape of an array is not a list of non-negative integers"
NUMBER_TYPES: Final = "?bBhHiIlLqQefd"
"""Codes of NumPy's types whose arrays, in this machine's byte order, both formats encode as they are."""
_MAX_KNOWN_FORMS: Final = 1024
_MAX_MEMBERS: Final = 15  # of a map with a head of one byte
_LARGE_DATA: Final = b"\xa4data\xc6"  # before the length and the elements of an array of 64 kB or more
_ELSEWHERE_CODE: Final = 127
_ELSEWHERE: Final = bytes((0xD4, _ELSEWHERE_CODE, 0))  # an extension
_DATA_TYPES: Final = frozenset((bytes, memoryview))
_MAX_SMALL_INTEGER: Final = 127
_DOUBLE: Final = struct.Struct(">Bd")

_heads: dict[tuple[np.dtype[Any], tuple[int, ...]], bytes] = {}
"""What stands before the elements of an array, by dtype and shape."""


def pack(value: Any) -> bytes:
    """Return plain values and arrays of numbers or booleans as MessagePack.

    Raises:
        TypeError, ValueError, OverflowError: a value cannot be packed.
    """
    packed: bytes = msgpack.packb(value, default=_pack_numpy)
    return packed


def packer() -> msgpack.Packer:
    """Return a packer of the same values, which reuses its buffer; not thread-safe."""
    return msgpack.Packer(default=_pack_numpy, buf_size=_FIRST_BUFFER)


def packed_array(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Return the map for an array of numbers or booleans; longdouble becomes double."""
    if array.dtype.itemsize > np.dtype(np.float64).itemsize:
        with np.errstate(over="ignore", under="ignore"):
            array = array.astype(np.float64)
    if array.dtype.byteorder == ">" or (array.dtype.byteorder == "=" and sys.byteorder == "big"):
        array = array.astype(array.dtype.newbyteorder("<"))
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": array.tobytes()}


def pack_members(value: Any, pack_other: Callable[[Any], bytes]) -> bytes | None:
    """Return a map as MessagePack, with the elements of its arrays copied once, into the result.

    Args:
        value: a dict of at most 15 members with ASCII names; for anything else it returns None.
        pack_other: packs a member that is no small integer, float, boolean, empty dict or array of numbers.
    """
    if type(value) is not dict or len(value) > _MAX_MEMBERS:
        return None
    pieces: list[Any] = [bytes((0x80 | len(value),))]
    for name, member in value.items():
        if type(name) is not str or not (packed_name := _packed_name(name)):
            return None
        pieces.append(packed_name)
        kind = type(member)
        if kind is np.ndarray:
            head = _heads.get((member.dtype, member.shape)) or _new_head(member)
            if head is None:
                pieces.append(pack_other(member))
            else:
                pieces.append(head)
                pieces.append(member if member.flags.c_contiguous else np.ascontiguousarray(member))
        elif kind is bool:
            pieces.append(b"\xc3" if member else b"\xc2")
        elif kind is int and 0 <= member <= _MAX_SMALL_INTEGER:
            pieces.append(bytes((member,)))
        elif kind is float:
            pieces.append(_DOUBLE.pack(0xCB, member))
        else:
            pieces.append(b"\x80" if kind is dict and not member else pack_other(member))
    return b"".join(pieces)


def array_head(value: Any) -> bytes | None:
    """Return what stands before the elements of an array; None if they are converted, or `value` is none."""
    return (_heads.get((value.dtype, value.shape)) or _new_head(value)) if type(value) is np.ndarray else None


@lru_cache(256)
def _packed_name(name: str) -> bytes:
    packed: bytes = msgpack.packb(name) if name.isascii() else b""
    return packed


def _new_head(array: np.ndarray[Any, Any]) -> bytes | None:
    """Note and return the head of such arrays; None if their elements are not to be copied as they are."""
    size = array.nbytes
    if (
        array.ndim == 0
        or array.dtype.char not in NUMBER_TYPES
        or array.dtype.newbyteorder("<") != array.dtype
        or size >> 32
    ):
        return None
    form, width = (0xC4, 1) if size < 1 << 8 else (0xC5, 2) if size < 1 << 16 else (0xC6, 4)
    without_data: bytes = msgpack.packb({"dtype": array.dtype.str, "shape": array.shape, "data": b""})[:-2]
    if len(_heads) >= _MAX_KNOWN_FORMS:
        _heads.clear()
    head = _heads[array.dtype, array.shape] = without_data + bytes((form,)) + size.to_bytes(width, "big")
    return head


def unpack(data: bytes | bytearray | memoryview) -> Any:
    """Return the value of a MessagePack; arrays are read-only, a timestamp becomes seconds.

    Raises:
        ValueError: it is not MessagePack, a key is not a string, the map of an array is invalid, or there is another
            extension than a timestamp.
    """
    try:
        return msgpack.unpackb(data, object_hook=_unpack_map, ext_hook=_refuse_extension, timestamp=1)
    except (msgpack.ExtraData, msgpack.FormatError, msgpack.StackError, UnicodeDecodeError) as error:
        why = "there are bytes after the value" if isinstance(error, msgpack.ExtraData) else str(error)
        raise ValueError(why or type(error).__name__) from None


def unpack_in_place(data: bytearray) -> Any:
    """Return the value of a MessagePack as `unpack` does, with its largest array as a view of `data`.

    Only an array that is most of the data is one: whoever keeps a smaller array would keep the whole data.

    Raises:
        ValueError: as for `unpack`.
    """
    start = data.find(_LARGE_DATA) + len(_LARGE_DATA)
    end = start + 4 + int.from_bytes(data[start : start + 4], "big")
    if start < len(_LARGE_DATA) or len(data) < end or 2 * (end - start) < len(data):
        return unpack(data)
    view = memoryview(data)
    elements = [view[start + 4 : end]]
    # The elements are cut out for the parser, which would copy them. If this was no array, but bytes inside one that look
    # so, the parser does not get to the place, and nothing is taken from `elements`.
    try:
        short = b"".join((view[: start - 1], _ELSEWHERE, view[end:]))
        value = msgpack.unpackb(
            short, object_hook=_unpack_map, ext_hook=lambda code, _: _taken(code, elements), timestamp=1
        )
    except (ValueError, IndexError):
        return unpack(data)
    return unpack(data) if elements else value


def _taken(code: int, elements: list[memoryview]) -> memoryview:
    if code != _ELSEWHERE_CODE:
        raise ValueError("another extension")
    return elements.pop()


def _pack_numpy(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return packed_array(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a value of type {type(value).__name__} has no form in MessagePack")


def _unpack_map(value: dict[Any, Any]) -> Any:
    if (
        len(value) == _ARRAY_MEMBERS
        and type(value.get("data")) in _DATA_TYPES
        and "dtype" in value
        and "shape" in value
    ):
        return _unpack_array(value["dtype"], value["shape"], value["data"])
    for key in value:
        if type(key) is not str:
            raise ValueError("the key of a map is not a string")
    return value


def _unpack_array(dtype: Any, shape: Any, data: bytes | memoryview) -> np.ndarray[Any, Any]:
    if type(dtype) is not str or dtype not in _DTYPES:
        raise ValueError(f"the dtype of an array is {str(dtype)[:40]!r}, expected one such as <f4, <i8 or |u1")
    if type(shape) is not list:
        raise ValueError(_NO_SHAPE)
    # Checked before the product, which takes minutes for a hundred thousand lengths.
    size = 1
    if len(shape) > _MAX_AXES:
        raise ValueError(f"an array has {len(shape)} axes and the limit is {_MAX_AXES}")
    for length in shape:
        if type(length) is not int or length < 0:
            raise ValueError(_NO_SHAPE)
        size *= length
    kind = np.dtype(dtype)
    if size * kind.itemsize != len(data):
        raise ValueError(f"an array of dtype {dtype} and shape {shape} has not {len(data)} bytes")
    array = np.ndarray(shape, kind, data) if size else np.frombuffer(data, kind).reshape(shape)
    if type(data) is memoryview:
        array.flags.writeable = False
    return array


def _refuse_extension(code: int, data: bytes) -> Any:  # noqa: ARG001 -- msgpack's signature
    raise ValueError(f"it holds an extension of type {code}, which has no meaning here")
