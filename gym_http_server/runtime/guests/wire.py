"""Frames between the server and a guest: packed values, without pickle. Valid Python 3.7, because the guest is sent this file too.

A frame is `HEADER` (length, kind, lane) and a packed value. `unpack` checks every number, because what runs in a guest is
third-party code.
"""

from __future__ import annotations

import collections
import enum
import struct
import sys
from typing import Any

import numpy as np

HEADER = struct.Struct("<IBH")
TAIL = struct.Struct("<Bd??")
MAX_BODY_BYTES = 1 << 28
MAX_DEPTH = 100
MAX_EMPTY_ELEMENTS = 1 << 16
"""Maximum product of the lengths other than 0 of an array without elements: as a list it takes memory all the same."""
MAX_DIMENSIONS = 32
MAX_CACHED_HEADERS = 1000
MIN_VIEWED_BYTES = 1 << 12
MAX_INTEGER_DIGITS = 1 << 16

HELLO, CREATE, RESET, STEP, STEPS, RENDER, CLOSE, REGISTRY, FORK, SPACE, CONTROLS = range(11)
"""Kinds of requests."""
RESULT, ERROR, OUTCOME = range(3)
"""Kinds of replies; an outcome is a step's result in a short form."""

DTYPES = frozenset(
    ["|b1", "|i1", "|u1"] + [order + kind for order in "<>" for kind in "i2 i4 i8 u2 u4 u8 f2 f4 f8 c8 c16".split()]
)

_U4, _I8, _F8 = struct.Struct("<I"), struct.Struct("<q"), struct.Struct("<d")
_headers: dict[Any, Any] = {}
_arrays: dict[Any, Any] = {}


def pack(value, out, path):
    """Append a value to a bytearray. What has no form of its own goes as a list, a dict or a text.

    Args:
        value: the value.
        out: the bytearray.
        path: the ids of the containers around the value.
    """
    kind = type(value)
    if kind is np.ndarray:
        header = _headers.get((value.dtype, value.shape)) or _header(value)
        if header is not None:
            out += header
            # A large one without a copy before.
            is_large = value.nbytes > MIN_VIEWED_BYTES and value.flags.c_contiguous
            out.extend(value if is_large else value.tobytes())
            return
    elif kind is float:
        out += b"f" + _F8.pack(value)
        return
    elif kind is bool or value is None:
        out += _CONSTANTS[value]
        return
    elif kind is int:
        if -(1 << 63) <= value < 1 << 63:
            out += b"i" + _I8.pack(value)
        else:
            _pack_bytes(b"I", b"%x" % value if value.bit_length() < 4 * MAX_INTEGER_DIGITS - 8 else b"0", out)
        return
    elif kind is str:
        _pack_bytes(b"s", value.encode("utf-8", "surrogatepass"), out)
        return
    elif kind is bytes:
        _pack_bytes(b"b", value, out)
        return
    elif kind in _scalars:
        out += _scalars[kind][0]
        out += value.tobytes()
        return
    elif kind in _EMPTY and not value:
        out += _EMPTY[kind]
        return
    if id(value) in path or len(path) >= MAX_DEPTH - 4:
        pack(text_of(value), out, path)
        return
    path.add(id(value))
    if kind is dict:
        out += b"d"
        out += _U4.pack(len(value))
        for key, item in list(value.items()):
            pack(key if isinstance(key, (str, int, float)) or key is None else text_of(key), out, path)
            pack(item, out, path)
    elif kind is list or kind is tuple:
        out += b"l" if kind is list else b"t"
        out += _U4.pack(len(value))
        for item in value:
            pack(item, out, path)
    else:
        try:
            plain = _plain(value)
        except Exception:
            plain = text_of(value)
        pack(plain, out, path)
    path.discard(id(value))


_CONSTANTS = {None: b"N", True: b"T", False: b"F"}
_EMPTY = {dict: b"d\0\0\0\0", list: b"l\0\0\0\0", tuple: b"t\0\0\0\0"}


_scalars = {
    np.dtype(name).type: (b"g" + bytes([len(name)]) + name.encode(), struct.Struct(name[0].replace("|", "<") + code))
    for name, code in zip(
        "|b1 |i1 |u1 <i2 <i4 <i8 <u2 <u4 <u8 <f2 <f4 <f8".replace(
            "<", "<" if sys.byteorder == "little" else ">"
        ).split(),
        "?bBhiqHIQefd",
    )
}
_read_scalar = {prefix[2:]: (reader, kind) for kind, (prefix, reader) in _scalars.items()}


def _pack_bytes(tag, data, out):
    out += tag
    out += _U4.pack(len(data))
    out += data


def _pack_short(tag, data, out):
    out += tag
    out.append(len(data))
    out += data


def _header(value):
    if value.dtype.str not in DTYPES or value.ndim > MAX_DIMENSIONS:
        return None
    text = "{}:{}".format(value.dtype.str, ",".join(map(str, value.shape))).encode()
    header = bytearray()
    _pack_short(b"a", text, header)
    if len(_headers) > MAX_CACHED_HEADERS:
        _headers.clear()
    _headers[value.dtype, value.shape] = bytes(header)
    return _headers[value.dtype, value.shape]


def _plain(value):
    """Return a value in types that `pack` knows."""
    if isinstance(value, enum.Enum):
        return value.value
    for kind in (str, bool, int, float, bytes):
        if isinstance(value, kind):
            return kind.__str__(value) if kind is str else kind(value)
    if isinstance(value, np.generic):
        item = value.item()
        return str(value) if isinstance(item, np.generic) or hasattr(item, "isoformat") else item
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f" and not isinstance(value, np.ma.MaskedArray):
            return np.asarray(value, value.dtype if value.dtype.str in DTYPES else np.float64)
        if value.dtype.kind in "biuc" and value.dtype.str in DTYPES and not isinstance(value, np.ma.MaskedArray):
            return np.asarray(value)
        return value.tolist()
    if isinstance(value, collections.abc.Mapping):
        return dict(value)
    if isinstance(value, collections.abc.Set):
        try:
            return sorted(value)
        except TypeError:
            return list(value)
    if isinstance(value, tuple):
        return tuple(value)
    if isinstance(value, (list, collections.deque)):
        return list(value)
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        return {name: getattr(value, name) for name in value.__dataclass_fields__ if not name.startswith("_")}
    if hasattr(type(value), "__array__"):
        return np.asarray(value)
    return value.isoformat() if hasattr(value, "isoformat") else text_of(value)


def text_of(value):
    try:
        return str.__str__(str(value))
    except Exception:
        return "<{} object>".format(type(value).__name__)


def unpack(data: bytes | bytearray | memoryview, at: int = 0, depth: int = 0) -> Any:
    """Return the value that begins at a place of `data`, and where it ends.

    Raises:
        ValueError, LookupError, TypeError, struct.error, OverflowError: it is malformed.
    """
    tag = data[at]
    at += 1
    if tag == 97:  # a: an array
        end = at + 1 + data[at]
        header = bytes(data[at + 1 : end])
        dtype, shape, size = _arrays.get(header) or _array(header)
        # The copy is aligned, can be written to, and stays when the buffer is used again.
        return np.ndarray(shape, dtype, data, end).copy(), end + size
    if tag == 102:  # f
        return _F8.unpack_from(data, at)[0], at + 8
    if tag == 70 or tag == 84 or tag == 78:  # F, T, N
        return (None if tag == 78 else tag == 84), at
    if tag == 105:  # i
        return _I8.unpack_from(data, at)[0], at + 8
    if tag == 103:  # g: a scalar of numpy
        end = at + 1 + data[at]
        reader, kind = _read_scalar[bytes(data[at + 1 : end])]
        return kind(reader.unpack_from(data, end)[0]), end + reader.size
    count = _U4.unpack_from(data, at)[0]
    at += 4
    if count > len(data) - at:
        raise ValueError("a length beyond the end of the frame")
    if tag == 115 or tag == 98 or tag == 73:  # s, b, I
        text = bytes(data[at : at + count])
        at += count
        if tag == 73:
            if count > MAX_INTEGER_DIGITS:
                raise ValueError("an integer that is too long")
            return int(text, 16), at
        return (text if tag == 98 else text.decode("utf-8", "surrogatepass")), at
    if depth > MAX_DEPTH:
        raise ValueError("nested too deep")
    if tag == 108 or tag == 116:  # l, t
        items = []
        for _ in range(count):
            item, at = unpack(data, at, depth + 1)
            items.append(item)
        return (items if tag == 108 else tuple(items)), at
    if tag == 100:  # d
        members = {}
        for _ in range(count):
            key, at = unpack(data, at, depth + 1)
            members[key], at = unpack(data, at, depth + 1)
        return members, at
    raise ValueError("an unknown tag {}".format(tag))


def _array(header):
    name, _, lengths = header.decode("ascii").partition(":")
    if name not in DTYPES:
        raise ValueError("an unknown dtype {!r}".format(name))
    shape = tuple(map(int, lengths.split(","))) if lengths else ()
    size = product = np.dtype(name).itemsize
    for length in shape:
        size, product = size * length, product * max(length, 1)
    if (
        len(shape) > MAX_DIMENSIONS
        or min(shape, default=0) < 0
        or product > (MAX_BODY_BYTES if size else MAX_EMPTY_ELEMENTS)
    ):
        raise ValueError("an impossible shape {}".format(shape))
    if len(_arrays) > MAX_CACHED_HEADERS:
        _arrays.clear()
    _arrays[header] = np.dtype(name), shape, size
    return _arrays[header]


def frame(kind: int, lane: int, value: Any) -> Any:
    """Return a frame.

    Raises:
        ValueError: it is too long.
    """
    out = bytearray(HEADER.size)
    pack(value, out, set())
    return _finish(out, kind, lane)


def _finish(out, kind, lane):
    length = len(out) - HEADER.size
    if length > MAX_BODY_BYTES:
        raise ValueError("{} bytes are too many for one frame: {} are the most".format(length, MAX_BODY_BYTES))
    HEADER.pack_into(out, 0, length, kind, lane)
    return out


def outcome(result: Any) -> Any:
    """Return the frame of a step's result, and as few bytes as it takes where it has the usual types."""
    observation, reward, terminated, truncated, info = result
    if (
        type(reward) is float
        and type(terminated) is bool
        and type(truncated) is bool
        and type(info) is dict
        and not info
    ):
        out = bytearray(HEADER.size)
        pack(observation, out, set())
        out += TAIL.pack(83, reward, terminated, truncated)
        return _finish(out, OUTCOME, 0)
    return frame(RESULT, 0, result)


def unpack_outcome(data: bytes | bytearray | memoryview, at: int) -> Any:
    """Return the result of a step in its short form; raises as `unpack`."""
    observation, at = unpack(data, at)
    if at + TAIL.size != len(data):
        raise ValueError("an outcome of another length")
    _, reward, terminated, truncated = TAIL.unpack_from(data, at)
    return observation, reward, terminated, truncated, {}
