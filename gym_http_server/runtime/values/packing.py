"""MessagePack with arrays, for the channel to an environment's process and the media type `application/msgpack`.

An array is a map of exactly `dtype` (NumPy's name, such as `<f4`), `shape` (a list) and `data` (a bin of the elements in C
order, little-endian). No other value of a space contains a bin.

Format: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

import math
import sys
from typing import Any, Final

import msgpack

from ...support.deferred import np

_FIRST_BUFFER: Final = 1024
_ARRAY: Final = frozenset(("dtype", "shape", "data"))
_MAX_AXES: Final = 64  # NumPy's limit
_DTYPES: Final = frozenset(("|b1", "|i1", "|u1", "<i2", "<i4", "<i8", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8"))
_NO_SHAPE: Final = "the shape of an array is not a list of non-negative integers"


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


def _pack_numpy(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return packed_array(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a value of type {type(value).__name__} has no form in MessagePack")


def _unpack_map(value: dict[Any, Any]) -> Any:
    if len(value) == len(_ARRAY) and value.keys() == _ARRAY and type(value["data"]) is bytes:
        return _unpack_array(**value)
    for key in value:
        if type(key) is not str:
            raise ValueError("the key of a map is not a string")
    return value


def _unpack_array(dtype: Any, shape: Any, data: bytes) -> np.ndarray[Any, Any]:
    if type(dtype) is not str or dtype not in _DTYPES:
        raise ValueError(f"the dtype of an array is {str(dtype)[:40]!r}, expected one such as <f4, <i8 or |u1")
    if type(shape) is not list:
        raise ValueError(_NO_SHAPE)
    for length in shape:
        if type(length) is not int or length < 0:
            raise ValueError(_NO_SHAPE)
    # Checked before the product, which takes minutes for a hundred thousand lengths.
    if len(shape) > _MAX_AXES:
        raise ValueError(f"an array has {len(shape)} axes and the limit is {_MAX_AXES}")
    kind = np.dtype(dtype)
    if math.prod(shape) * kind.itemsize != len(data):
        raise ValueError(f"an array of dtype {dtype} and shape {shape} has not {len(data)} bytes")
    flat = np.frombuffer(data, kind)
    return flat if len(shape) == 1 else flat.reshape(shape)


def _refuse_extension(code: int, data: bytes) -> Any:  # noqa: ARG001 -- msgpack's signature
    raise ValueError(f"it holds an extension of type {code}, which has no meaning here")
