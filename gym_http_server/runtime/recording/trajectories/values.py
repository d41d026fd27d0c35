"""Bytes of recorded values, lossless: dtype, shape, NaN and -0.0, tuples and arrays of any kind of number, text or time.

A column holds the values of one name over the steps of a block. Where all have one form it is an array: `pack_columns` writes a
MessagePack that describes the columns, and the bytes of all arrays after it, so that they are copied once. Values of several
forms are MessagePack with the extensions below. Nothing is pickled, and `unpack_columns` checks everything that it reads.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import msgpack
import numpy as np
from gymnasium.spaces import GraphInstance

from ...values.encoding import msgpack_bytes

DAMAGE: Final = (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError, MemoryError)
"""Errors of reading bytes that are no columns."""

_RAW_KINDS: Final = "biufcmMS"
_DTYPE: Final = re.compile(r"[|<>=]([biufcmMSU])(\d{1,9})(\[\d{0,9}[A-Za-zμ]{1,2}\])?", re.ASCII)
_MAX_DEPTH: Final = 32
_MAX_AXES: Final = 64
_MAX_ELEMENTS: Final = 1 << 30
_NUMPY_NUMBERS: Final = frozenset(
    (
        np.bool_,
        np.int8,
        np.int16,
        np.int32,
        np.int64,
        np.uint8,
        np.uint16,
        np.uint32,
        np.uint64,
        np.float16,
        np.float32,
        np.float64,
    )
)
_CONSTANTS: Final = frozenset((int, float, bool, str, type(None), bytes, complex, *_NUMPY_NUMBERS))
_LENGTH_BYTES: Final = 4

_TUPLE, _ARRAY, _SCALAR, _INTEGER, _GRAPH, _TEXTS, _COMPLEX, _OBJECTS = range(1, 9)
"""Codes of the extensions: what MessagePack has not."""


def frozen(value: Any, depth: int = 0) -> Any:
    """Return a copy of a value that an environment may write into later. Never raises.

    Numbers, texts, arrays, dicts, lists, tuples and graphs keep their type. Other mappings and sequences become a dict, list or
    tuple, objects with `__array__` an array, and whatever else a reply can hold what the reply has.
    """
    kind = type(value)
    if kind in _CONSTANTS:
        return value
    try:
        if kind is np.ndarray and (is_raw(value.dtype) or value.dtype.kind == "U"):
            return value.copy()
        if depth < _MAX_DEPTH:
            return _frozen(value, depth + 1)
    except Exception:  # noqa: BLE001, S110 -- third-party code may raise anything
        pass
    return msgpack.unpackb(msgpack_bytes(value), strict_map_key=False)


def _frozen(value: Any, depth: int) -> Any:
    if isinstance(value, np.generic) and (is_raw(value.dtype) or value.dtype.kind == "U"):
        return value
    if type(value) is np.ndarray and value.dtype.kind == "O":
        return _objects([frozen(item, depth) for item in value.flat], list(value.shape))
    if isinstance(value, Mapping):
        return {_key(key): frozen(item, depth) for key, item in value.items()}
    if isinstance(value, GraphInstance):
        return GraphInstance(*(frozen(part, depth) for part in value))
    if isinstance(value, tuple):
        return tuple([frozen(item, depth) for item in value])
    if isinstance(value, list):
        return [frozen(item, depth) for item in value]
    if hasattr(type(value), "__array__") and not isinstance(value, np.ma.MaskedArray | np.ndarray):
        return frozen(np.array(value), depth)
    if isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray) and value.dtype.kind in _RAW_KINDS:
        return frozen(np.array(value, subok=False), depth)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    raise TypeError


def _key(key: Any) -> Any:
    if type(key) in _CONSTANTS or isinstance(key, np.generic):
        return key
    return tuple(map(_key, key)) if type(key) is tuple else str(key)


def byte_size(value: Any) -> int:
    """Return about how many bytes a frozen value takes."""
    kind = type(value)
    if kind is np.ndarray:
        return int(value.nbytes) + 100
    if kind in _CONSTANTS and kind not in (str, bytes):
        return 32
    if isinstance(value, str | bytes):
        return len(value) + 50
    if isinstance(value, dict):
        return 64 + sum(byte_size(item) + 50 for item in value.values())
    return 56 + sum(map(byte_size, value)) if isinstance(value, list | tuple) else 32


@lru_cache(256)
def is_raw(dtype: np.dtype[Any]) -> bool:
    """Return whether arrays of a dtype are kept as their bytes."""
    return dtype.kind in _RAW_KINDS and dtype.itemsize > 0 and _DTYPE.fullmatch(dtype.str) is not None


def pack_columns(columns: Mapping[str, list[Any]]) -> list[Any]:
    """Return columns of frozen values as buffers, which one after the other are their bytes."""
    buffers: list[Any] = []
    index = {name: [len(values), _packed(values, buffers)] for name, values in columns.items()}
    head = msgpack.packb(index, unicode_errors="surrogatepass")
    return [len(head).to_bytes(_LENGTH_BYTES, "little"), head, *buffers]


def _packed(values: list[Any], buffers: list[Any], depth: int = 0) -> list[Any]:
    """Append the bytes of a column to `buffers`, and return its form."""
    kinds = set(map(type, values))
    if len(kinds) == 1 and depth < _MAX_DEPTH:
        form = _uniform(kinds.pop(), values, buffers, depth)
        if form is not None:
            return form
    data = _packer().pack(values)
    buffers.append(data)
    return ["values", len(data)]


def _uniform(kind: type, values: list[Any], buffers: list[Any], depth: int) -> list[Any] | None:
    if kind is np.ndarray:
        return _stacked(values, buffers)
    if kind is type(None):
        return ["none"]
    if kind is dict:
        return _members(values, buffers, depth)
    if kind in _ROW_KINDS:
        length = len(values[0])
        if length > _MAX_DEPTH or {length} != set(map(len, values)):
            return None
        parts = [_packed([value[at] for value in values], buffers, depth + 1) for at in range(length)]
        return [_ROW_KINDS[kind], parts]
    if kind in _PACKED:
        try:
            buffers.append(_PACKED[kind](values))
        except (OverflowError, struct.error):
            return None
        return [kind.__name__]
    if kind in _NUMPY_NUMBERS:
        buffers.append(b"".join(values))
        return ["scalar", values[0].dtype.str]
    return None


def _stacked(values: list[Any], buffers: list[Any]) -> list[Any] | None:
    dtype = values[0].dtype
    if not is_raw(dtype) or len({value.shape for value in values}) > 1 or len({value.dtype for value in values}) > 1:
        return None
    if dtype.kind in "mM":  # which have no buffers
        buffers.append(b"".join([value.tobytes() for value in values]))
    else:
        buffers.extend([value if value.flags.c_contiguous else value.tobytes() for value in values])
    return ["array", dtype.str, list(values[0].shape)]


def _members(values: list[Any], buffers: list[Any], depth: int) -> list[Any] | None:
    if not any(values):
        return ["dict", [], []]
    keys = list(values[0])
    if any(list(value) != keys for value in values) or any(type(key) is not str for key in keys):
        return None
    return ["dict", [_packed([value[key] for value in values], buffers, depth + 1) for key in keys], keys]


_ROW_KINDS: Final[dict[type, str]] = {tuple: "tuple", list: "list", GraphInstance: "graph"}
_PACKED: Final[dict[type, Callable[[list[Any]], bytes]]] = {
    bool: bytes,
    int: lambda values: struct.pack(f"<{len(values)}q", *values),
    float: lambda values: struct.pack(f"<{len(values)}d", *values),
}
_PLAIN: Final = {"bool": "|b1", "int": "<i8", "float": "<f8"}
"""The dtypes of columns of Python's own numbers."""


def unpack_columns(data: bytes) -> dict[str, list[Any]]:
    """Return the columns; their arrays are read-only views of `data`.

    Raises:
        any of `DAMAGE`: these are no columns.
    """
    end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
    if end > len(data):
        raise ValueError("the index of the columns is cut short")
    index = msgpack.unpackb(data[_LENGTH_BYTES:end], unicode_errors="surrogatepass")
    reader = _Reader(data, end)
    columns = {str(name): reader.column(form, _count(length)) for name, (length, form) in index.items()}
    if reader.at != len(data):
        raise ValueError("there are bytes after the columns")
    return columns


class _Reader:
    """Reads columns.

    Args:
        data: the bytes.
        at: position of the first column.
    """

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self.at = at

    def column(self, form: Any, length: int, depth: int = 0) -> list[Any]:
        """Return the values of the next column."""
        kind, *more = form
        if depth > _MAX_DEPTH or length > len(self._data):
            raise ValueError("the columns are nested too deeply, or too long")
        if kind == "values":
            values = _unpacked(self._bytes(more[0]))
            if type(values) is not list or len(values) != length:
                raise ValueError(f"a column has not {length} values")
            return values
        if kind == "none":
            return [None] * length
        if kind in _PLAIN:
            plain: list[Any] = self._array(_dtype(_PLAIN[kind]), length, []).tolist()
            return plain
        if kind == "scalar":
            return list(self._array(_dtype(more[0]), length, []))
        if kind == "array":
            array = self._array(_dtype(more[0]), length, more[1])
            return list(array) if array.ndim > 1 else [array[at, ...] for at in range(length)]
        parts = [self.column(part, length, depth + 1) for part in more[0]]
        rows = zip(*parts, strict=True) if parts else [()] * length
        if kind == "dict":
            keys = [str(key) for key in more[1]]
            return [dict(zip(keys, row, strict=True)) for row in rows]
        return list(map(_ROWS[kind], rows))

    def _array(self, dtype: np.dtype[Any], length: int, shape: list[Any]) -> np.ndarray[Any, Any]:
        size = length * _elements(shape)
        array = np.frombuffer(self._bytes(size * dtype.itemsize), dtype)
        return array.reshape((length, *shape))

    def _bytes(self, size: Any) -> bytes | memoryview:
        start, self.at = self.at, self.at + _count(size)
        if self.at > len(self._data):
            raise ValueError("a column is cut short")
        return memoryview(self._data)[start : self.at]


_ROWS: Final[dict[str, Callable[[Any], Any]]] = {"tuple": tuple, "list": list, "graph": lambda row: GraphInstance(*row)}


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no number of values")
    return value


def _elements(shape: Any) -> int:
    if type(shape) is not list or len(shape) > _MAX_AXES:
        raise ValueError("the shape of an array is no list of lengths")
    size = 1
    for length in shape:
        size *= _count(length)
    if size > _MAX_ELEMENTS or max(shape, default=0) > _MAX_ELEMENTS:
        raise ValueError("an array has too many elements")
    return size


@lru_cache(256)
def _dtype(name: Any) -> np.dtype[Any]:
    if not isinstance(name, str) or not _DTYPE.fullmatch(name):
        raise ValueError(f"{str(name)[:40]!r} is no dtype of an array")
    dtype = np.dtype(name)
    if dtype.itemsize == 0 and dtype.kind != "U":
        raise ValueError(f"{name} has no size")
    return dtype


def _packer() -> msgpack.Packer:
    return msgpack.Packer(default=_extension, strict_types=True, unicode_errors="surrogatepass")


def _extension(value: Any) -> Any:
    """Return what MessagePack has not as an extension."""
    pack = _packer().pack
    kind = type(value)
    if kind is GraphInstance:
        return msgpack.ExtType(_GRAPH, pack(list(value)))
    if kind is tuple:
        return msgpack.ExtType(_TUPLE, pack(list(value)))
    if kind is np.ndarray or isinstance(value, np.generic):
        array = np.asarray(value)
        if array.dtype.kind == "O":
            return msgpack.ExtType(_OBJECTS, pack([list(array.flat), list(array.shape)]))
        if array.dtype.kind == "U":
            return msgpack.ExtType(
                _TEXTS, pack([array.dtype.str, list(array.shape), array.ravel().tolist(), kind is np.ndarray])
            )
        form = [array.dtype.str, list(array.shape), array.tobytes()]
        return msgpack.ExtType(_ARRAY if kind is np.ndarray else _SCALAR, pack(form))
    if kind is int:
        return msgpack.ExtType(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))
    if kind is complex:
        return msgpack.ExtType(_COMPLEX, pack([value.real, value.imag]))
    raise TypeError(f"a recorded value of type {kind.__name__} has no form")


def _unpacked(data: bytes | memoryview) -> Any:
    return msgpack.unpackb(
        data, ext_hook=_of_extension, strict_map_key=False, unicode_errors="surrogatepass", timestamp=1
    )


def _of_extension(code: int, data: bytes) -> Any:
    """Return the value of an extension."""
    if code == _INTEGER:
        return int.from_bytes(data, "little", signed=True)
    if code not in _EXTENSIONS:
        raise ValueError(f"there is an extension of type {code}")
    return _EXTENSIONS[code](*_unpacked(data))


def _array(dtype: str, shape: list[Any], data: bytes) -> np.ndarray[Any, Any]:
    kind = _dtype(dtype)
    if _elements(shape) * kind.itemsize != len(data):
        raise ValueError(f"an array of dtype {dtype} and shape {shape} has not {len(data)} bytes")
    return np.frombuffer(data, kind).reshape(shape)


def _texts(dtype: str, shape: list[Any], texts: list[Any], is_array: bool) -> Any:
    if not all(type(text) is str for text in texts) or _elements(shape) != len(texts):
        raise ValueError("an array of texts has something else inside")
    if len(texts) * _dtype(dtype).itemsize > _MAX_ELEMENTS:
        raise ValueError("an array of texts is too large")
    array = np.array(texts, _dtype(dtype)).reshape(shape)
    return array if is_array else array[()]


def _objects(items: list[Any], shape: list[Any]) -> np.ndarray[Any, Any]:
    if _elements(shape) != len(items):
        raise ValueError("an array of objects has another shape")
    array = np.empty(len(items), object)
    for at, item in enumerate(items):
        array[at] = item
    return array.reshape(shape)


_EXTENSIONS: Final[dict[int, Callable[..., Any]]] = {
    _TUPLE: lambda *items: items,
    _ARRAY: _array,
    _SCALAR: lambda *form: _array(*form)[()],
    _GRAPH: GraphInstance,
    _TEXTS: _texts,
    _OBJECTS: _objects,
    _COMPLEX: complex,
}
