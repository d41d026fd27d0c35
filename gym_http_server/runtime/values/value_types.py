"""Value types: the NumPy and Python types that JSON and MessagePack lose, noted by the server and restored by the client.

A reply has them by JSON pointer (RFC 6901), only where the type differs from the plain value's, or for an observation from that
of `codec.decoder`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import singledispatch
from typing import Any, Final, TypeAlias

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, OneOf, Sequence, Space, Text, Tuple

from ..messages import JSON_INFINITY
from .outcomes import PARTS, Parts
from .packing import NUMBER_TYPES

Types: TypeAlias = dict[str, str]
Note: TypeAlias = Callable[[Any, str, Types, bool], None]
"""Notes the types in a value: the value, its pointer, the notes to add to, and whether the reply is in MessagePack."""

_MAX_DEPTH: Final = 128  # as in `encoding`: values nested deeper become text
_PLAIN: Final = frozenset((type(None), bool, int, str))
_NAMES: Final = {int: "int", float: "float", bool: "bool", list: "list", tuple: "tuple", type(None): "None"}
_TYPES: Final[dict[str, type]] = {name: kind for kind, name in _NAMES.items()}
_ARRAY: Final = re.compile(r"([<>|=]?(?:[biuf][0-9]+|O|U[0-9]+))\[([0-9,]*)\]")
_SCALAR: Final = re.compile(r"[<|][biuf][0-9]+")


def note(value: Any, pointer: str, types: Types, packed: bool) -> None:
    """Note the types in any value. Never raises."""
    kind = type(value)
    if kind in _PLAIN or (kind is dict and not value):
        return
    try:
        _note(value, pointer, types, packed, set())
    except Exception:  # noqa: BLE001 -- third-party code may raise anything
        return


def _note(value: Any, pointer: str, types: Types, packed: bool, path: set[int]) -> None:
    kind = type(value)
    if kind in _PLAIN:
        return
    if kind is float:
        if not packed and not math.isfinite(value):
            types[pointer] = "float"
    elif isinstance(value, np.ndarray | np.generic):
        _note_numpy(value, pointer, types, packed, path)
    elif isinstance(value, Mapping | list | tuple) and id(value) not in path and len(path) < _MAX_DEPTH:
        path.add(id(value))
        if isinstance(value, tuple):
            types[pointer] = "tuple"
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            if type(item) not in _PLAIN:
                _note(item, joined(pointer, key), types, packed, path)
        path.discard(id(value))


def _note_numpy(value: Any, pointer: str, types: Types, packed: bool, path: set[int]) -> None:
    if packed and _keeps_type(value):
        return
    name = _type_of(value)
    if name is None:
        return
    types[pointer] = name
    if value.dtype.kind == "O" and isinstance(value, np.ndarray):
        for index in np.ndindex(value.shape):
            item = value[index]
            if type(item) not in _PLAIN:
                _note(item, joined(pointer, *index), types, packed, path)


def _keeps_type(value: Any) -> bool:
    """Return whether a value is an array that MessagePack encodes with its type."""
    return (
        isinstance(value, np.ndarray) and value.ndim > 0 and value.dtype.char in NUMBER_TYPES and value.dtype.isnative
    )


def _type_of(value: Any) -> str | None:
    """Return the name of a value's type, or None if it cannot be restored."""
    if isinstance(value, np.ndarray):
        name = f"{value.dtype.str}[{','.join(map(str, value.shape))}]"
        return name if _ARRAY.fullmatch(name) and not isinstance(value, np.ma.MaskedArray) else None
    if isinstance(value, np.generic):
        return value.dtype.str if _SCALAR.fullmatch(value.dtype.str) else None
    return _NAMES.get(type(value))


def joined(pointer: str, *keys: Any) -> str:
    """Return a JSON pointer with further keys."""
    return "/".join((pointer, *(str(key).replace("~", "~0").replace("/", "~1") for key in keys)))


def note_outcome(value: Any, pointer: str, types: Types) -> None:
    """Note the type of a single value, such as a reward, which a reply has as a plain number or boolean."""
    name = _type_of(value)
    if name is not None:
        types[pointer] = name


def note_single(given: tuple[Any, Any, Any], parts: Parts, types: Types) -> None:
    """Note the types of a reward, terminated and truncated, except of those that are among the parts of the outcome."""
    for (name, part), value in zip(PARTS.items(), given, strict=True):
        if part in parts or type(value) is (float if name == "reward" else bool):
            continue
        note_outcome(value, f"/{name}", types)
        if isinstance(value, list | tuple):  # of one
            note(value, f"/{name}", types, packed=False)


def note_parts(parts: Parts, types: Types, *, packed: bool) -> None:
    """Note the types in the parts of an outcome."""
    for name, part in parts.items():
        note(part, f"/{name}", types, packed)


@singledispatch
def observation_note(space: Space[Any]) -> Note:  # noqa: ARG001 -- the signature of all kinds
    """Return the function that notes the types in a value of `space` that `codec.decoder(space)` does not restore."""
    return note


@observation_note.register(Graph)
@observation_note.register(Text)
def _no_note(space: Space[Any]) -> Note:  # noqa: ARG001 -- the signature of all kinds
    def note_nothing(value: Any, pointer: str, types: Types, packed: bool) -> None:
        """Do nothing: the decoder restores the type."""

    return note_nothing


@observation_note.register(Box)
@observation_note.register(MultiBinary)
@observation_note.register(MultiDiscrete)
def _array_note(space: Box[Any] | MultiBinary | MultiDiscrete[Any]) -> Note:
    dtype, shape = np.dtype(space.dtype), space.shape

    def note_array(value: Any, pointer: str, types: Types, packed: bool) -> None:
        if type(value) is np.ndarray and value.dtype == dtype and value.shape == shape:
            return
        note_outcome(value, pointer, types)
        if isinstance(value, list | tuple):
            note(value, pointer, types, packed)

    return note_array


@observation_note.register(Discrete)
def _discrete_note(space: Discrete[Any]) -> Note:
    scalar = np.dtype(space.dtype).type

    def note_scalar(value: Any, pointer: str, types: Types, packed: bool) -> None:  # noqa: ARG001 -- a Note
        if type(value) is not scalar:
            note_outcome(value, pointer, types)

    return note_scalar


@observation_note.register(Dict)
def _dict_note(space: Dict[Any]) -> Note:
    parts = [(key, observation_note(part)) for key, part in space.spaces.items()]

    def note_dict(value: Any, pointer: str, types: Types, packed: bool) -> None:
        if isinstance(value, Mapping):
            for key, part in parts:
                if key in value:
                    part(value[key], joined(pointer, key), types, packed)

    return note_dict


@observation_note.register(Tuple)
def _tuple_note(space: Tuple[Any]) -> Note:
    return _row_note([observation_note(part) for part in space.spaces])


@observation_note.register(Sequence)
def _sequence_note(space: Sequence) -> Note:
    part = observation_note(space.feature_space)

    def note_sequence(value: Any, pointer: str, types: Types, packed: bool) -> None:
        if isinstance(value, list | tuple):
            _row_note([part] * len(value))(value, pointer, types, packed)

    return _no_note(space) if space.stack else note_sequence


@observation_note.register(OneOf)
def _one_of_note(space: OneOf[Any]) -> Note:
    parts = [observation_note(part) for part in space.spaces]
    index = observation_note(Discrete(len(parts)))

    def note_one_of(value: Any, pointer: str, types: Types, packed: bool) -> None:
        if isinstance(value, list | tuple) and len(value) == 2 and 0 <= int(value[0]) < len(parts):
            _row_note([index, parts[int(value[0])]])(value, pointer, types, packed)

    return note_one_of


def _row_note(parts: list[Note]) -> Note:
    def note_row(value: Any, pointer: str, types: Types, packed: bool) -> None:
        if type(value) is list:
            types[pointer] = "list"
        if isinstance(value, list | tuple) and len(value) == len(parts):
            for at, part in enumerate(parts):
                part(value[at], joined(pointer, at), types, packed)

    return note_row


class Retyper:
    """Restores the noted types in a reply.

    Args:
        types: names of types by pointer, from the reply.
    """

    def __init__(self, types: Mapping[str, str]) -> None:
        self._root = _Node()
        for pointer, name in types.items():
            node = self._root
            for key in pointer.split("/")[1:]:
                node = node.parts.setdefault(key.replace("~1", "/").replace("~0", "~"), _Node())
            node.name = name

    def __call__(self, member: str, raw: Any, value: Any) -> Any:
        """Return a member of the reply with its types.

        Args:
            member: its name.
            raw: its plain value.
            value: its decoded value.
        """
        node = self._root.parts.get(member)
        return value if node is None else _retyped(node, raw, value)


class _Node:
    """The type of a value, and the nodes of its parts."""

    __slots__ = ("name", "parts")

    def __init__(self) -> None:
        self.name: str | None = None
        self.parts: dict[str, _Node] = {}


def _retyped(node: _Node, raw: Any, value: Any) -> Any:
    if node.name == "None":
        return None
    try:
        if node.name in (None, "list", "tuple"):
            return _container(node, raw, value)
        kind = _TYPES.get(node.name)
        if kind is not None:
            return kind(_real(raw)) if kind is float else kind(raw)
        array = _ARRAY.fullmatch(node.name)
        if array is not None:
            return _array(node, raw, value, array[1], [int(length) for length in array[2].split(",") if length])
        return np.dtype(node.name).type(_real(raw)) if _SCALAR.fullmatch(node.name) else value
    except (TypeError, ValueError, OverflowError, KeyError, IndexError):
        return value  # the types do not fit the value


def _container(node: _Node, raw: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        parts = node.parts
        return {key: _retyped(parts[key], raw[key], item) if key in parts else item for key, item in value.items()}
    if isinstance(raw, np.ndarray):
        raw = raw.tolist()
    if raw is None or isinstance(raw, int | float):
        raw = [raw]  # a row of one number
    if not isinstance(raw, list | tuple) or not isinstance(value, list | tuple):
        value = raw
    kind = type(value) if node.name is None else _TYPES[node.name]
    if not node.parts:
        return kind(value)
    return kind(
        _retyped(node.parts[str(at)], raw[at], item) if str(at) in node.parts else item for at, item in enumerate(value)
    )


def _array(node: _Node, raw: Any, value: Any, dtype: str, shape: list[int]) -> Any:
    if dtype.endswith("O"):
        array = np.empty(shape, object)
        for index in np.ndindex(*shape):
            array[index] = _at(raw, value, node, index)
        return array
    if dtype[1] == "f":
        wide = np.array(raw, np.float64)
        wide[np.abs(wide) == JSON_INFINITY] *= np.inf
        with np.errstate(over="ignore"):
            return wide.astype(dtype).reshape(shape)
    return np.array(raw, dtype).reshape(shape)


def _at(raw: Any, value: Any, node: _Node | None, index: tuple[int, ...]) -> Any:
    for at in index:
        raw, value = raw[at], value[at]
        node = None if node is None else node.parts.get(str(at))
    return value if node is None else _retyped(node, raw, value)


def _real(raw: Any) -> Any:
    if raw is None:
        return math.nan
    return math.copysign(math.inf, raw) if isinstance(raw, float) and abs(raw) == JSON_INFINITY else raw
