"""Visits of Python's and NumPy's own classes: each saves the content of an object, and a `_put_` function restores it.

Methods of containers are called on the base class, because a subclass may override them.
"""

from __future__ import annotations

import array
import collections
import datetime as dt
import decimal
import functools
import gc
import io
import operator
import random
import re
import sys
import threading
import types
import weakref
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .saved import NotWalkableError, put_set

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .saved import SavedBuilder, Visit

MIN_SHARED_BYTES: Final = 1 << 16
"""Size of an array from which an unchanged content is shared with the snapshot before."""


def refusing(why: str) -> Visit:
    """Return the visit that raises `NotWalkableError`."""

    def visit(value: Any, builder: SavedBuilder) -> None:  # noqa: ARG001 -- the signature of a visit
        raise NotWalkableError(f"cannot copy {type(value).__name__!r} object: {why}")

    return visit


def _references(referred: Callable[[Any], Iterable[Any]]) -> Visit:
    """Return the visit of a class whose instances never change, but refer to other objects."""

    def visit(value: Any, builder: SavedBuilder) -> None:
        builder.todo += referred(value)

    return visit


def _list(value: list[Any], builder: SavedBuilder) -> None:
    saved = list.copy(value)
    builder.entries.append((_put_list, value, saved))
    builder.todo += saved


def _put_list(value: list[Any], saved: list[Any]) -> None:
    list.__setitem__(value, slice(None), saved)


def _tuple(value: tuple[Any, ...], builder: SavedBuilder) -> None:
    builder.todo += tuple.__iter__(value)


def _dict(value: dict[Any, Any], builder: SavedBuilder) -> None:
    saved = dict.copy(value)
    builder.entries.append((_put_dict, value, saved))
    builder.todo += saved
    builder.todo += saved.values()


def _put_dict(value: dict[Any, Any], saved: dict[Any, Any]) -> None:
    if len(value) != len(saved) or not all(map(operator.is_, dict.__iter__(value), saved)):
        dict.clear(value)
    dict.update(value, saved)


def _default_dict(value: collections.defaultdict[Any, Any], builder: SavedBuilder) -> None:
    _dict(value, builder)
    builder.todo.append(value.default_factory)


def _ordered_dict(value: collections.OrderedDict[Any, Any], builder: SavedBuilder) -> None:
    saved = list(collections.OrderedDict.items(value))
    builder.entries.append((_put_ordered_dict, value, saved))
    builder.todo += saved


def _put_ordered_dict(value: collections.OrderedDict[Any, Any], saved: list[tuple[Any, Any]]) -> None:
    collections.OrderedDict.clear(value)
    for key, item in saved:
        collections.OrderedDict.__setitem__(value, key, item)


def _set(value: set[Any], builder: SavedBuilder) -> None:
    saved = set(set.__iter__(value))
    builder.sets.append((value, saved))
    builder.entries.append((put_set, value, saved))
    builder.todo += saved


def _deque(value: collections.deque[Any], builder: SavedBuilder) -> None:
    saved = list(collections.deque.__iter__(value))
    builder.entries.append((_put_deque, value, saved))
    builder.todo += saved


def _put_deque(value: collections.deque[Any], saved: list[Any]) -> None:
    collections.deque.clear(value)
    collections.deque.extend(value, saved)


def _bytes(value: bytearray | array.array[Any], builder: SavedBuilder) -> None:
    # It refuses another length while a memoryview exports its memory.
    builder.add_foreign(value, lambda value: value[:], _put_bytes)


def _put_bytes(value: bytearray | array.array[Any], saved: Any) -> None:
    value[:] = saved


def _function(value: types.FunctionType, builder: SavedBuilder) -> None:
    builder.note_module(value.__module__)
    builder.todo += value.__closure__ or ()
    builder.todo += value.__defaults__ or ()
    builder.todo.append(value.__kwdefaults__)


def _cell(value: types.CellType, builder: SavedBuilder) -> None:
    try:
        saved = value.cell_contents
    except ValueError:
        return  # it is empty, and is filled before its first use
    builder.entries.append((_put_cell, value, saved))
    builder.todo.append(saved)


def _put_cell(value: types.CellType, saved: Any) -> None:
    value.cell_contents = saved


def _array(value: np.ndarray[Any, Any], builder: SavedBuilder) -> None:
    if not value.flags.writeable:
        # It can change only through the array that it is a view of.
        if isinstance(value.base, np.ndarray):
            builder.todo.append(value.base)
        return
    saved = np.array(value)
    if value.dtype.hasobject:
        builder.todo += saved.ravel().tolist()
    elif saved.nbytes >= MIN_SHARED_BYTES:
        saved = builder.shared(value, saved)
    builder.arrays.append((value, saved))


def _bit_generator(value: np.random.BitGenerator, builder: SavedBuilder) -> None:
    builder.entries.append((_put_bit_generator, value, value.state))
    builder.todo.append(value.seed_seq)


def _put_bit_generator(value: np.random.BitGenerator, saved: Any) -> None:
    value.state = saved


def _seed_sequence(value: np.random.SeedSequence, builder: SavedBuilder) -> None:
    builder.entries.append((_put_seed_sequence, value, value.state))


def _put_seed_sequence(value: np.random.SeedSequence, saved: Any) -> None:
    if value.n_children_spawned != saved["n_children_spawned"]:
        value.__init__(**saved)  # type: ignore[misc]  # the number of spawned children is read-only


def _random_state(value: np.random.RandomState, builder: SavedBuilder) -> None:
    builder.entries.append((lambda value, saved: value.set_state(saved), value, value.get_state(legacy=False)))


def _random(value: random.Random, builder: SavedBuilder) -> None:
    if not isinstance(value, random.SystemRandom):  # it has no state
        builder.entries.append((random.Random.setstate, value, random.Random.getstate(value)))


def _text_file(value: io.TextIOWrapper, builder: SavedBuilder) -> None:
    if not any(value is stream for stream in (sys.stdin, sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)):
        refusing("it is an open file")(value, builder)


def _buffer(value: io.StringIO | io.BytesIO, builder: SavedBuilder) -> None:
    if not value.closed:
        builder.add_foreign(value, lambda value: (value.getvalue(), value.tell()), _put_buffer)


def _put_buffer(value: Any, saved: tuple[Any, int]) -> None:
    value.seek(0)
    value.truncate()
    value.write(saved[0])
    value.seek(saved[1])


KNOWN: Final[dict[type, Visit | None]] = {
    list: _list,
    tuple: _tuple,
    dict: _dict,
    collections.defaultdict: _default_dict,
    collections.OrderedDict: _ordered_dict,
    set: _set,
    frozenset: _references(frozenset.__iter__),
    collections.deque: _deque,
    bytearray: _bytes,
    array.array: _bytes,
    np.ndarray: _array,
    types.FunctionType: _function,
    types.CellType: _cell,
    types.MethodType: _references(lambda method: (method.__self__, method.__func__)),
    types.BuiltinFunctionType: _references(lambda function: (function.__self__,)),
    types.MethodWrapperType: _references(lambda method: (method.__self__,)),
    functools.partial: _references(lambda partial: (partial.func, partial.args, partial.keywords)),
    types.MappingProxyType: _references(gc.get_referents),
    memoryview: _references(lambda view: (view.obj,)),
    np.random.Generator: _references(lambda generator: (generator.bit_generator,)),
    np.random.SeedSequence: _seed_sequence,
    np.random.RandomState: _random_state,
    random.Random.__mro__[1]: _random,  # `_random.Random`
    io.TextIOWrapper: _text_file,
    io.StringIO: _buffer,
    io.BytesIO: _buffer,
    np.void: refusing("a part of it may be set"),
    **dict.fromkeys(
        (
            *(bool, int, float, complex, str, bytes, type(None), type(...), type(NotImplemented), range, slice, object),
            *(types.CodeType, types.GenericAlias, types.UnionType, property, staticmethod, classmethod),
            *(types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType),
            *(types.GetSetDescriptorType, types.MemberDescriptorType, type(functools.lru_cache(len))),
            *(operator.itemgetter, operator.attrgetter, operator.methodcaller, re.Pattern, re.Match),
            *(dt.date, dt.datetime, dt.time, dt.timedelta, decimal.Decimal),
            *(np.ufunc, type(threading.Lock()), type(threading.RLock())),
            *(weakref.ref, weakref.ProxyType, weakref.CallableProxyType),
        )
    ),
}
"""The visits of these classes; None for classes whose instances never change."""

FAMILIES: Final[dict[type, Visit | None]] = {
    np.random.BitGenerator: _bit_generator,
    np.generic: None,
    np.dtype: None,
    BaseException: None,
    dt.tzinfo: None,
}
"""The visits of classes and all their subclasses, including those of extensions."""
