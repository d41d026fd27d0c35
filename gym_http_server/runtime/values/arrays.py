"""Arrays of values: decoded from a client's nested lists or arrays, and checked against bounds."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable
from itertools import chain
from typing import Any, Final, TypeAlias

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space

from ..messages import JSON_INFINITY

Convert: TypeAlias = Callable[[Any], Any]
Check: TypeAlias = Callable[[Any], bool]
Array: TypeAlias = np.ndarray[Any, Any]

_REAL: Final = frozenset((int, float))
_WHOLE: Final = frozenset((int,))
_MAX_DEPTH: Final = 64  # dimensions of a NumPy array
_WRAPS: Final = np.lib.NumpyVersion(np.__version__) < "2.0.0"
_MAX_LOOP_SIZE: Final = 16  # elements up to which a loop over Python floats is faster than NumPy


def array_decoder(shape: tuple[int, ...], dtype: np.dtype[Any], *, booleans: bool, batch: bool) -> Convert:
    """Return the decoder of arrays of `shape`, or with `batch` of shape `(n, *shape)` for any n."""
    size = math.prod(shape)
    length = size if len(shape) == 1 and not batch and dtype.kind in "iuf" else 0
    usual = _REAL if dtype.kind == "f" else _WHOLE
    least, most = limits(dtype)

    def decode(value: Any) -> Any:
        # The usual case, a flat list of numbers, takes a fifth of the time of the general one.
        if (
            length
            and type(value) is list
            and len(value) == length
            and usual.issuperset(map(type, value))
            and least <= min(value)  # false for NaN
            and max(value) <= most
        ):
            return np.array(value, dtype)
        array = _to_array(value, dtype, booleans=booleans)
        expected = (*(array.shape[:1] or (1,)), *shape) if batch else shape
        if array.shape == expected:
            return array
        one = size == 1 and not batch and array.shape in ((), (1,))
        # A list shows no dimension beyond the first empty one.
        empty = array.size == 0 and 0 in expected and array.shape == expected[: array.ndim]
        if one or empty:
            return array.reshape(expected)
        wanted = ["n", *shape] if batch else list(shape)
        raise ValueError(f"expected shape {wanted}, got {list(array.shape)}")

    return decode


def _to_array(value: Any, dtype: np.dtype[Any], *, booleans: bool) -> Array:
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f" and dtype.kind == "f":
            return _narrow(np.array(value), dtype)
        if np.can_cast(value.dtype, dtype) and (booleans or value.dtype.kind != "b"):
            return value.astype(dtype)
        if value.dtype.kind not in "biufO":
            raise ValueError(f"expected numbers, got an array of dtype {value.dtype}")
        value = value.tolist()
    shape, leaves = _flatten(value)
    allowed = {int, float}
    if booleans:
        allowed.add(bool)
    if dtype.kind == "f":
        allowed.add(type(None))
    if not allowed.issuperset(map(type, leaves)):
        odd = next(leaf for leaf in leaves if type(leaf) not in allowed)
        raise ValueError(f"expected {'numbers' if dtype.kind == 'f' else 'integers'}, got {show(odd)}")
    array = _floats(leaves, dtype) if dtype.kind == "f" else _integers(leaves, dtype)
    return array.reshape(shape)


def _flatten(value: Any) -> tuple[list[int], list[Any]]:
    """Return the shape of nested lists, and their leaves in C order."""
    level: list[Any] = [value]
    shape: list[int] = []
    while True:
        kinds = set(map(type, level))
        if any(issubclass(kind, np.ndarray | np.generic) for kind in kinds):
            level = [item.tolist() if isinstance(item, np.ndarray | np.generic) else item for item in level]
            kinds = set(map(type, level))
        if kinds.isdisjoint((list, tuple)):
            return shape, level
        lengths = set(map(len, level)) if kinds <= {list, tuple} else set()
        if len(lengths) != 1:
            raise ValueError(f"ragged: the items at depth {len(shape)} differ in length or kind")
        if len(shape) == _MAX_DEPTH:
            raise ValueError(f"nested deeper than {_MAX_DEPTH} levels")
        shape.append(lengths.pop())
        level = list(chain.from_iterable(level))
        if not level:
            return shape, level


def _floats(leaves: list[Any], dtype: np.dtype[Any]) -> Array:
    try:
        wide = np.array(leaves, np.float64)
    except OverflowError:
        wide = np.array([_as_float(leaf) for leaf in leaves], np.float64)
    return _narrow(wide, dtype)


def _as_float(leaf: Any) -> Any:
    try:
        return leaf if leaf is None else float(leaf)
    except OverflowError:
        return math.inf if leaf > 0 else -math.inf


def _narrow(wide: Array, dtype: np.dtype[Any]) -> Array:
    with np.errstate(all="ignore"):
        return np.where(np.abs(wide) == JSON_INFINITY, np.copysign(np.inf, wide), wide).astype(dtype)


def _integers(leaves: list[Any], dtype: np.dtype[Any]) -> Array:
    if not {int, bool}.issuperset(map(type, leaves)):
        leaves = list(map(integer, leaves))
    # NumPy 1 wraps what is beyond: 256 would be 0 in uint8.
    if (dtype.kind == "b" or _WRAPS) and leaves:
        least, most = limits(dtype)
        if not (least <= min(leaves) and max(leaves) <= most):
            raise ValueError(beyond(dtype))
    try:
        return np.array(leaves, dtype)
    except OverflowError:
        raise ValueError(beyond(dtype)) from None


def integer(value: Any) -> int:
    """Return the integer for an integer or an integral float.

    Raises:
        ValueError: it is anything else, including a boolean.
    """
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    raise ValueError(f"expected an integer, got {show(value)}")


def beyond(dtype: np.dtype[Any]) -> str:
    """Return the error text for a value that `dtype` cannot hold."""
    least, most = limits(dtype)
    return f"a value is out of the range of {dtype} ({least} to {most})"


def limits(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Return the least and greatest value that `dtype` holds; for floats at most those before ±1e100, which mean infinity."""
    if dtype.kind == "b":
        return 0, 1
    if dtype.kind == "f":
        most = min(float(np.finfo(dtype).max), math.nextafter(JSON_INFINITY, 0))
        return -most, most
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def value_range(space: Box[Any] | Discrete[Any] | MultiDiscrete[Any] | MultiBinary) -> tuple[np.dtype[Any], Any, Any]:
    """Return the dtype, and the least and greatest values of an array-like space."""
    dtype = np.dtype(space.dtype)
    if isinstance(space, Box):
        return dtype, space.low, space.high
    if isinstance(space, Discrete):
        return dtype, int(space.start), int(space.start) + int(space.n) - 1
    if isinstance(space, MultiDiscrete):
        return dtype, space.start, space.start + (space.nvec - 1)
    return dtype, np.zeros(space.shape, dtype), np.ones(space.shape, dtype)


def has_booleans(space: Space[Any]) -> bool:
    """Return whether the elements of the space may be booleans."""
    return isinstance(space, MultiBinary) or np.dtype(space.dtype).kind == "b"


def within(low: Array, high: Array) -> Check:
    """Return the function that checks a decoded array against bounds of the same shape and dtype."""
    if low.dtype.kind in "biu":
        least, most = limits(low.dtype)
        if (low == least).all() and (high == most).all():
            return lambda _: True
    if low.size <= _MAX_LOOP_SIZE:
        floor, ceiling = low.ravel().tolist(), high.ravel().tolist()
        return lambda value: all(
            least <= item <= most for least, item, most in zip(floor, value.ravel().tolist(), ceiling, strict=True)
        )
    return lambda value: bool((value >= low).all() and (value <= high).all())


def encode_array(value: Any) -> Any:
    """Return a value as an array of numbers or booleans if possible, otherwise unchanged."""
    if type(value) is np.ndarray:
        return value
    array = np.asarray(value)
    return array if array.dtype.kind in "biuf" else value


def show(value: Any) -> str:
    """Return an abbreviated value for an error text."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python does not format integers of more than 4300 digits
        return "an integer of thousands of digits"
