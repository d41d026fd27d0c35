"""Forms: what the values of a column are, so that a table can hold all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from gymnasium.spaces import GraphInstance

MAX_EXACT_INTEGER: Final = 1 << 53
"""Integers up to this one are equal as float64."""

_INT64, _UINT64, _FLOAT64 = np.dtype(np.int64), np.dtype(np.uint64), np.dtype(np.float64)
_KINDS: Final = "biuf"
_MAX_ITEM_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Nothing:
    """No value was seen, or only None."""


@dataclass(frozen=True, slots=True)
class Number:
    """Numbers or booleans of one dtype."""

    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class Words:
    """Texts."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """Arrays of one dtype; `shape` is None where shapes vary."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Record:
    """Mappings, whose keys may be missing, and tuples of one length, whose keys are their positions."""

    fields: dict[str, Form]
    is_tuple: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    """Lists of any length, and tuples whose lengths vary."""

    item: Form


@dataclass(frozen=True, slots=True)
class Mixed:
    """Values of several kinds, or of a kind that has no column."""


Form: TypeAlias = Nothing | Number | Words | Tensor | Record | Items | Mixed


def form_of(value: Any) -> Form:
    """Return the form of a value."""
    if value is None:
        return Nothing()
    if isinstance(value, np.ndarray) and value.ndim:
        return Tensor(_native(value.dtype), value.shape) if _is_plain(value.dtype) else Mixed()
    if isinstance(value, str):
        return Words()
    if isinstance(value, GraphInstance):
        return Mixed()
    if isinstance(value, Mapping):
        return Record({str(key): form_of(item) for key, item in value.items()}) if _has_texts(value) else Mixed()
    if isinstance(value, tuple):
        return Record({str(at): form_of(item) for at, item in enumerate(value)}, is_tuple=True)
    if isinstance(value, list):
        item: Form = Nothing()
        for each in value:
            item = merged(item, form_of(each))
        return Items(item)
    return _form_of_scalar(value)


def _form_of_scalar(value: Any) -> Form:
    if isinstance(value, bool):
        return Number(np.dtype(np.bool_))
    if isinstance(value, int):
        if -(1 << 63) <= value < 1 << 63:
            return Number(_INT64)
        return Number(_UINT64) if 0 < value < 1 << 64 else Mixed()
    if isinstance(value, float):  # and float64, which is one
        return Number(_FLOAT64)
    if isinstance(value, np.generic | np.ndarray) and _is_plain(value.dtype):
        return Number(_native(value.dtype))
    return Mixed()


def merged(one: Form, other: Form) -> Form:
    """Return the form that has the values of both."""
    if one == other or isinstance(other, Nothing):
        return one
    if isinstance(one, Nothing):
        return other
    match one, other:
        case Number(), Number():
            dtype = _common(one.dtype, other.dtype)
            return Mixed() if dtype is None else Number(dtype)
        case Tensor(), Tensor():
            dtype = _common(one.dtype, other.dtype)
            return Mixed() if dtype is None else Tensor(dtype, one.shape if one.shape == other.shape else None)
        case Record(is_tuple=True), Record(is_tuple=True) if len(one.fields) != len(other.fields):
            return merged(_as_items(one), _as_items(other))
        case (Record(is_tuple=True), Items()) | (Items(), Record(is_tuple=True)):
            return merged(_as_items(one), _as_items(other))
        case Record(), Record() if one.is_tuple == other.is_tuple:
            names = dict.fromkeys((*one.fields, *other.fields))
            nothing = Nothing()
            return Record(
                {name: merged(one.fields.get(name, nothing), other.fields.get(name, nothing)) for name in names},
                one.is_tuple,
            )
        case Items(), Items():
            return Items(merged(one.item, other.item))
    return Mixed()


def _as_items(form: Form) -> Form:
    """Return the form of tuples of any length, as those of a Sequence space are."""
    if not isinstance(form, Record):
        return form
    item: Form = Nothing()
    for part in form.fields.values():
        item = merged(item, part)
    return Items(item)


def _common(one: np.dtype[Any], other: np.dtype[Any]) -> np.dtype[Any] | None:
    """Return a dtype in which the numbers of both are equal to what they were, or None."""
    if one == other:
        return one
    if "b" in (one.kind, other.kind):
        return None
    common = np.promote_types(one, other)
    # Of int64 and float64 it is float64: whoever writes a column looks at each integer (MAX_EXACT_INTEGER).
    return common if common.itemsize <= _MAX_ITEM_BYTES else None


def _is_plain(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in _KINDS and dtype.itemsize <= _MAX_ITEM_BYTES


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("=")


def _has_texts(value: Mapping[Any, Any]) -> bool:
    """Return whether all keys are texts, or integers that stay distinct as texts."""
    return len({str(key) for key in value}) == len(value) and all(isinstance(key, str | int) for key in value)
