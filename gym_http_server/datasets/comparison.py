"""Comparison of values to the bit, types and dtypes included."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

_MAX_CHARS = 60


def difference(recorded: Any, repeated: Any) -> str | None:
    """Return where and how two values differ, or None if they are equal to the bit.

    Types of numbers, dtypes, shapes, NaNs and the signs of zeros count; the order of the keys of a mapping does not.
    """
    if isinstance(recorded, Mapping) and isinstance(repeated, Mapping):
        if recorded.keys() != repeated.keys():
            return f": the keys {_shown(list(recorded))} were recorded, now {_shown(list(repeated))}"
        return _first((key, recorded[key], repeated[key]) for key in recorded)
    if isinstance(recorded, np.ndarray) and isinstance(repeated, np.ndarray):
        return _array_difference(recorded, repeated)
    if isinstance(recorded, tuple | list) and isinstance(repeated, tuple | list):
        is_same_kind = isinstance(recorded, tuple) == isinstance(repeated, tuple)
        if not is_same_kind or len(recorded) != len(repeated):
            return f": a {_kind(recorded)} of {len(recorded)} was recorded, now a {_kind(repeated)} of {len(repeated)}"
        return _first((at, *pair) for at, pair in enumerate(zip(recorded, repeated, strict=True)))
    if type(recorded) is not type(repeated):
        return f": {_typed(recorded)} was recorded, now {_typed(repeated)}"
    return None if _is_same(recorded, repeated) else f": {_shown(recorded)} was recorded, now {_shown(repeated)}"


def in_types_of(recorded: Any, repeated: Any) -> Any:
    """Return a repeated value with the types and dtypes of the recorded one, as a batch gives values of an environment."""
    try:
        if isinstance(recorded, np.ndarray | np.generic):
            array = np.asarray(repeated).astype(recorded.dtype)
            return array if isinstance(recorded, np.ndarray) else array[()]
        if isinstance(recorded, Mapping):
            return {key: in_types_of(recorded.get(key), value) for key, value in repeated.items()}
        if isinstance(recorded, tuple | list) and len(recorded) == len(repeated):
            return type(recorded)(map(in_types_of, recorded, repeated))
    except (TypeError, ValueError, AttributeError):
        return repeated
    return repeated


def _first(parts: Any) -> str | None:
    for place, recorded, repeated in parts:
        found = difference(recorded, repeated)
        if found is not None:
            return f"[{place!r}]{found}"
    return None


def _array_difference(recorded: np.ndarray[Any, Any], repeated: np.ndarray[Any, Any]) -> str | None:
    if recorded.dtype != repeated.dtype or recorded.shape != repeated.shape:
        kinds = [f"{each.dtype} of shape {each.shape}" for each in (recorded, repeated)]
        return f": an array of {kinds[0]} was recorded, now {kinds[1]}"
    if recorded.dtype.kind == "O":
        return _first((at, recorded[at], repeated[at]) for at in np.ndindex(recorded.shape))
    if recorded.tobytes() == repeated.tobytes():
        return None
    width = recorded.dtype.itemsize
    rows = [np.frombuffer(each.tobytes(), np.uint8).reshape(-1, width) for each in (recorded, repeated)]
    differing = np.flatnonzero((rows[0] != rows[1]).any(axis=1))
    index = tuple(map(int, np.unravel_index(differing[0], recorded.shape)))
    place = ", ".join(map(str, index))
    return (
        f"[{place}]: {_shown(recorded[index])} was recorded, now {_shown(repeated[index])} "
        f"({len(differing)} of {recorded.size} numbers differ)"
    )


def _is_same(recorded: Any, repeated: Any) -> bool:
    if isinstance(recorded, np.generic):
        return recorded.tobytes() == repeated.tobytes() if recorded.dtype.kind != "O" else bool(recorded == repeated)
    if isinstance(recorded, float):
        return struct.pack("d", recorded) == struct.pack("d", repeated)
    return bool(recorded == repeated)


def _kind(value: Any) -> str:
    return "tuple" if isinstance(value, tuple) else "list"


def _typed(value: Any) -> str:
    return f"{_shown(value)} of type {type(value).__name__}"


def _shown(value: Any) -> str:
    text = str(value.item()) if isinstance(value, np.generic) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= _MAX_CHARS else f"{text[:_MAX_CHARS]}…"
