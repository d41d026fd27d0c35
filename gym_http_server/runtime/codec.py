"""Values of a space, to and from the plain values that cross the wire.

`decoder(space)`, `checker(space)` and `encoder(space)` compile a space once into functions; that is what a training
loop calls. Decoding converts and judges structure and type; the checker says whether what was decoded is a member.
It agrees with `space.contains` on decoded values and is several times faster, because it need not look at their shape
and dtype again. A subclass with a `contains` of its own is asked itself, except for the values of a batch.

A batch of a space's values, as a stacked Sequence or the nodes of a Graph have it, is arrays for array-like spaces, a
dict or tuple of batches for Dict and Tuple, and a tuple of values for every other kind.
"""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import singledispatch
from itertools import chain
from typing import Any, Final, TypeAlias

import numpy as np
from gymnasium.spaces import (
    Box,
    Dict,
    Discrete,
    Graph,
    GraphInstance,
    MultiBinary,
    MultiDiscrete,
    OneOf,
    Sequence,
    Space,
    Text,
    Tuple,
)

from .encoding import FAR

Convert: TypeAlias = Callable[[Any], Any]
Check: TypeAlias = Callable[[Any], bool]
_Array: TypeAlias = np.ndarray[Any, Any]

_REAL: Final = frozenset((int, float))
_WHOLE: Final = frozenset((int,))
_MAX_DEPTH: Final = 64  # dimensions of an array of numpy
_FEW: Final = 16  # elements up to which a loop over Python floats is faster than numpy


def decoder(space: Space[Any]) -> Convert:
    """Return the function that `decode` is, compiled for `space`.

    Raises:
        TypeError: for a kind of space that has no codec.
    """
    return _codec(space).decode


def checker(space: Space[Any]) -> Check:
    """Return a function that says whether a decoded value is a member of `space`.

    Raises:
        TypeError: for a kind of space that has no codec.
    """
    return _codec(space).check


def encoder(space: Space[Any]) -> Convert:
    """Return the function that `encode` is, compiled for `space`.

    Raises:
        TypeError: for a kind of space that has no codec.
    """
    return _codec(space).encode


def decode(space: Space[Any], value: Any) -> Any:
    """Return what code of an environment expects where a client sent `value`; arrays may stand for nested lists.

    Integers pass for floats and integral floats for integers, a scalar or a list of one for an array of one element,
    booleans for a MultiBinary (nowhere else: they are no numbers), ±1e100 for an infinity and null for NaN in a float
    Box. Membership is not checked.

    Returns:
        Discrete: a numpy integer of its dtype. Box, MultiDiscrete, MultiBinary: a new array of its shape and dtype.
        Text: str. Tuple: tuple. Dict: dict in the space's order. Sequence: tuple, or a batch where it is stacked.
        Graph: GraphInstance. OneOf: tuple of np.int64 and the value.

    Raises:
        ValueError: where the structure or a type cannot be the space's, or an integer is beyond the dtype.
        TypeError: for a kind of space that has no codec.
    """
    return decoder(space)(value)


def contains(space: Space[Any], value: Any) -> bool:
    """Return whether `value`, as a client sent it, is a member of `space`. Raises and warns for no value.

    Raises:
        TypeError: for a kind of space that has no codec.
    """
    codec = _codec(space)
    try:
        return bool(codec.check(codec.decode(value)))
    except Exception:  # noqa: BLE001 -- third-party code may raise anything
        return False


def encode(space: Space[Any], value: Any) -> Any:
    """Return the plain form of `value`, which an environment returned for `space`. Never raises for a value.

    What does not fit the space, as a whole or in a part, stays as it is.

    Returns:
        Discrete: int. Box, MultiDiscrete, MultiBinary: array, of the dtype that the value has. Text: str. Tuple and
        Sequence: list (a stacked Sequence: batch). Dict: dict in the space's order. Graph: dict of `nodes`, and
        `edges` and `edge_links` where it has edges. OneOf: [int, value].

    Raises:
        TypeError: for a kind of space that has no codec.
    """
    return encoder(space)(value)


@dataclass(frozen=True, slots=True)
class _Codec:
    """The functions for one space; `length` is the number of values in a decoded batch."""

    decode: Convert
    check: Check
    encode: Convert
    length: Callable[[Any], int] = len


@singledispatch
def _codec(space: Space[Any]) -> _Codec:
    raise TypeError(f"a space of type {type(space).__module__}.{type(space).__qualname__} has no codec")


@singledispatch
def _batch(space: Space[Any]) -> _Codec:
    return _each(_codec(space))


def _each(codec: _Codec) -> _Codec:
    def decode(value: Any) -> Any:
        return tuple(_at(index, codec.decode, item) for index, item in enumerate(_items(value)))

    def check(value: Any) -> bool:
        return all(map(codec.check, value))

    def encode(value: Any) -> Any:
        return [codec.encode(item) for item in value] if isinstance(value, list | tuple) else value

    return _Codec(decode, check, _lenient(encode))


@_codec.register(Discrete)
def _discrete(space: Discrete[Any]) -> _Codec:
    dtype = np.dtype(space.dtype)
    scalar, (least, most) = dtype.type, _limits(dtype)
    start, stop = int(space.start), int(space.start) + int(space.n)

    def decode(value: Any) -> Any:
        if type(value) is not int:
            value = _integer(value)
        if least <= value <= most:
            return scalar(value)
        raise ValueError(_beyond(dtype))

    def check(value: Any) -> bool:
        return start <= int(value) < stop

    def encode(value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.item()
        return int(value) if isinstance(value, float | np.floating) and value.is_integer() else operator.index(value)

    return _Codec(decode, _overridden(space, Discrete) or check, _lenient(encode))


@_codec.register(Box)
@_codec.register(MultiDiscrete)
@_codec.register(MultiBinary)
def _array_like(space: Box[Any] | MultiDiscrete[Any] | MultiBinary) -> _Codec:
    dtype, low, high = _range(space)
    decode = _array_decoder(space.shape, dtype, booleans=_has_booleans(space), batch=False)
    kind = next(kind for kind in (Box, MultiDiscrete, MultiBinary) if isinstance(space, kind))
    return _Codec(decode, _overridden(space, kind) or _within(low, high), _lenient(_encode_array))


@_batch.register(Box)
@_batch.register(Discrete)
@_batch.register(MultiDiscrete)
@_batch.register(MultiBinary)
def _array_batch(space: Box[Any] | Discrete[Any] | MultiDiscrete[Any] | MultiBinary) -> _Codec:
    dtype, low, high = _range(space)
    decode = _array_decoder(space.shape or (), dtype, booleans=_has_booleans(space), batch=True)

    def check(value: Any) -> bool:
        return bool((value >= low).all() and (value <= high).all())

    return _Codec(decode, check, _lenient(_encode_array))


@_codec.register(Text)
def _text(space: Text) -> _Codec:
    def decode(value: Any) -> Any:
        if isinstance(value, str):
            return str(value)
        raise ValueError(f"expected a string, got {_show(value)}")

    return _Codec(decode, space.contains, lambda value: value)


@_codec.register(Tuple)
def _tuple(space: Tuple[Any]) -> _Codec:
    return _fixed([_codec(part) for part in space.spaces], _overridden(space, Tuple))


@_batch.register(Tuple)
def _tuple_batch(space: Tuple[Any]) -> _Codec:
    parts = [_batch(part) for part in space.spaces]
    return _even(_fixed(parts), list(enumerate(parts)))


def _fixed(parts: list[_Codec], own: Check | None = None) -> _Codec:
    def decode(value: Any) -> Any:
        items = _items(value)
        if len(items) != len(parts):
            raise ValueError(f"expected {len(parts)} items, got {len(items)}")
        return tuple(_at(index, part.decode, items[index]) for index, part in enumerate(parts))

    def check(value: Any) -> bool:
        return all(part.check(item) for part, item in zip(parts, value, strict=True))

    def encode(value: Any) -> Any:
        return [part.encode(item) for part, item in zip(parts, value, strict=True)] if _is_row(value) else value

    return _Codec(decode, own or check, _lenient(encode))


@_codec.register(Dict)
def _dict(space: Dict[Any]) -> _Codec:
    return _named({key: _codec(part) for key, part in space.spaces.items()}, _overridden(space, Dict))


@_batch.register(Dict)
def _dict_batch(space: Dict[Any]) -> _Codec:
    parts = {key: _batch(part) for key, part in space.spaces.items()}
    return _even(_named(parts), list(parts.items()))


def _named(parts: dict[Any, _Codec], own: Check | None = None) -> _Codec:
    # On the wire a key is a string, as JSON has no others; in the environment it is what the space says.
    names = {key: str(key) for key in parts}
    expected = set(names.values())

    def decode(value: Any) -> Any:
        if _object(value).keys() != expected:
            _refuse_keys(value, expected)
        return {key: _at(names[key], part.decode, value[names[key]]) for key, part in parts.items()}

    def check(value: Any) -> bool:
        return all(part.check(value[key]) for key, part in parts.items())

    def encode(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        known = {names[key]: part.encode(value[key]) for key, part in parts.items() if key in value}
        return known if len(known) == len(value) else known | {key: value[key] for key in value if key not in parts}

    return _Codec(decode, own or check, _lenient(encode))


def _even(codec: _Codec, parts: list[tuple[Any, _Codec]]) -> _Codec:
    def length(value: Any) -> int:
        return next((part.length(value[key]) for key, part in parts), 0)

    def decode(value: Any) -> Any:
        decoded = codec.decode(value)
        lengths = [part.length(decoded[key]) for key, part in parts]
        if len(set(lengths)) > 1:
            raise ValueError(f"the parts of a batch have different lengths: {_show(lengths)}")
        return decoded

    return _Codec(decode, codec.check, codec.encode, length)


@_codec.register(Sequence)
def _sequence(space: Sequence) -> _Codec:
    codec = _batch(space.feature_space) if space.stack else _each(_codec(space.feature_space))
    return _Codec(codec.decode, _overridden(space, Sequence) or codec.check, codec.encode)


@_codec.register(Graph)
def _graph(space: Graph) -> _Codec:
    nodes = _batch(space.node_space)
    edges = None if space.edge_space is None else _batch(space.edge_space)
    links = _array_decoder((2,), np.dtype(np.int32), booleans=False, batch=True)

    def decode(value: Any) -> Any:
        given = {key for key, part in _object(value).items() if part is not None}
        with_edges = {"nodes", "edges", "edge_links"}
        if given != {"nodes"} and (edges is None or given != with_edges):
            _refuse_keys(given, {"nodes"} if edges is None or given.isdisjoint({"edges", "edge_links"}) else with_edges)
        points = _at("nodes", nodes.decode, value["nodes"])
        if edges is None or len(given) == 1:
            return GraphInstance(points, None, None)
        return GraphInstance(
            points, _at("edges", edges.decode, value["edges"]), _at("edge_links", links, value["edge_links"])
        )

    def check(value: Any) -> bool:
        if not nodes.check(value.nodes):
            return False
        if edges is None or value.edges is None:
            return True
        ends = value.edge_links
        return bool(
            len(ends) == edges.length(value.edges)
            and edges.check(value.edges)
            and ((ends >= 0) & (ends < nodes.length(value.nodes))).all()
        )

    def encode(value: Any) -> Any:
        plain = {"nodes": nodes.encode(value.nodes)}
        if value.edges is not None:
            plain["edges"] = value.edges if edges is None else edges.encode(value.edges)
        if value.edge_links is not None:
            plain["edge_links"] = _encode_array(value.edge_links)
        return plain

    return _Codec(decode, _overridden(space, Graph) or check, _lenient(encode))


@_codec.register(OneOf)
def _one_of(space: OneOf[Any]) -> _Codec:
    parts = [_codec(part) for part in space.spaces]

    def decode(value: Any) -> Any:
        items = _items(value)
        if len(items) != 2:
            raise ValueError(f"expected an index and a value, got {len(items)} items")
        index = _at("index", _integer, items[0])
        if not 0 <= index < len(parts):
            raise ValueError(f"expected an index from 0 to {len(parts) - 1}, got {_show(index)}")
        return np.int64(index), _at("value", parts[index].decode, items[1])

    def check(value: Any) -> bool:
        chosen: _Codec = parts[value[0]]
        return chosen.check(value[1])

    def encode(value: Any) -> Any:
        index, part = operator.index(value[0]), value[1]
        return [index, parts[index].encode(part)] if len(value) == 2 and index >= 0 else value

    return _Codec(decode, _overridden(space, OneOf) or check, _lenient(encode))


def _array_decoder(shape: tuple[int, ...], dtype: np.dtype[Any], *, booleans: bool, batch: bool) -> Convert:
    """Return the decoder for arrays of `shape`, or for a batch: of one dimension more, of any length, before it."""
    size = math.prod(shape)
    length = size if len(shape) == 1 and not batch and dtype.kind in "iuf" else 0
    usual = _REAL if dtype.kind == "f" else _WHOLE
    least, most = _limits(dtype)

    def decode(value: Any) -> Any:
        # The usual case, a flat list of numbers, in a fifth of the time.
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


def _to_array(value: Any, dtype: np.dtype[Any], *, booleans: bool) -> _Array:
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
        raise ValueError(f"expected {'numbers' if dtype.kind == 'f' else 'integers'}, got {_show(odd)}")
    array = _floats(leaves, dtype) if dtype.kind == "f" else _integers(leaves, dtype)
    return array.reshape(shape)


def _flatten(value: Any) -> tuple[list[int], list[Any]]:
    """Return the shape of nested lists and their leaves in C order; one level at a time, each in C code."""
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


def _floats(leaves: list[Any], dtype: np.dtype[Any]) -> _Array:
    try:
        wide = np.array(leaves, np.float64)
    except OverflowError:
        wide = np.array([_finite(leaf) for leaf in leaves], np.float64)
    return _narrow(wide, dtype)


def _finite(leaf: Any) -> Any:
    return leaf if leaf is None or -FAR < leaf < FAR else math.copysign(FAR, leaf > 0 or -1)


def _narrow(wide: _Array, dtype: np.dtype[Any]) -> _Array:
    with np.errstate(all="ignore"):
        return np.where(np.abs(wide) >= FAR, np.copysign(np.inf, wide), wide).astype(dtype)


def _integers(leaves: list[Any], dtype: np.dtype[Any]) -> _Array:
    if not {int, bool}.issuperset(map(type, leaves)):
        leaves = list(map(_integer, leaves))
    if dtype.kind == "b" and not {0, 1}.issuperset(leaves):
        raise ValueError(_beyond(dtype))
    try:
        return np.array(leaves, dtype)
    except OverflowError:
        raise ValueError(_beyond(dtype)) from None


def _integer(value: Any) -> int:
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    raise ValueError(f"expected an integer, got {_show(value)}")


def _beyond(dtype: np.dtype[Any]) -> str:
    least, most = _limits(dtype)
    return f"a value is out of the range of {dtype} ({least} to {most})"


def _limits(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Return the least and greatest value that `dtype` holds; for floats, that stays finite."""
    if dtype.kind == "b":
        return 0, 1
    if dtype.kind == "f":
        most = min(float(np.finfo(dtype).max), math.nextafter(FAR, 0))
        return -most, most
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def _range(space: Box[Any] | Discrete[Any] | MultiDiscrete[Any] | MultiBinary) -> tuple[np.dtype[Any], Any, Any]:
    """Return the dtype and the least and greatest members of an array-like space."""
    dtype = np.dtype(space.dtype)
    if isinstance(space, Box):
        return dtype, space.low, space.high
    if isinstance(space, Discrete):
        return dtype, int(space.start), int(space.start) + int(space.n) - 1
    if isinstance(space, MultiDiscrete):
        return dtype, space.start, space.start + (space.nvec - 1)
    return dtype, np.zeros(space.shape, dtype), np.ones(space.shape, dtype)


def _has_booleans(space: Space[Any]) -> bool:
    return isinstance(space, MultiBinary) or np.dtype(space.dtype).kind == "b"


def _within(low: _Array, high: _Array) -> Check:
    if low.dtype.kind in "biu":
        least, most = _limits(low.dtype)
        if (low == least).all() and (high == most).all():
            return lambda _: True
    if low.size <= _FEW:
        floor, ceiling = low.ravel().tolist(), high.ravel().tolist()
        return lambda value: all(
            least <= item <= most for least, item, most in zip(floor, value.ravel().tolist(), ceiling, strict=True)
        )
    return lambda value: bool((value >= low).all() and (value <= high).all())


def _encode_array(value: Any) -> Any:
    if type(value) is np.ndarray:
        return value
    array = np.asarray(value)
    return array if array.dtype.kind in "biuf" else value


def _overridden(space: Space[Any], kind: type[Space[Any]]) -> Check | None:
    return None if type(space).contains is kind.contains else space.contains


def _lenient(encode: Convert) -> Convert:
    def encode_or_keep(value: Any) -> Any:
        try:
            return encode(value)
        except Exception:  # noqa: BLE001 -- third-party code may raise anything
            return value

    return encode_or_keep


def _object(value: Any) -> Mapping[Any, Any]:
    if isinstance(value, Mapping):
        return value
    raise ValueError(f"expected an object, got {_show(value)}")


def _items(value: Any) -> Any:
    if _is_row(value):
        return value
    raise ValueError(f"expected an array, got {_show(value)}")


def _is_row(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _at(place: object, decode: Convert, value: Any) -> Any:
    try:
        return decode(value)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _refuse_keys(given: Any, expected: set[str]) -> None:
    missing = sorted(expected - set(given))
    unexpected = sorted(set(given) - expected, key=str)
    raise ValueError(f"an object with the wrong keys: missing {_show(missing)}, unexpected {_show(unexpected)}")


def _show(value: Any) -> str:
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "an integer of thousands of digits"
