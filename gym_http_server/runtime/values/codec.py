"""Conversion between the values of a space and the plain values of requests and replies.

`decoder(space)`, `checker(space)` and `encoder(space)` compile a space once into functions for a training loop. A decoder
converts, and checks structure and type; a checker then checks membership. It agrees with `space.contains` and is several
times faster, because shape and dtype are known. A subclass's own `contains` is called, except for the values of a batch.

A value of a space of another kind than Gymnasium's own is what JSON makes of it, or an array where the space declares shape and
dtype, and its own `contains` decides.

A batch of values, in a stacked Sequence or a Graph, is an array for array-like spaces, a dict or tuple of batches for Dict
and Tuple, and a tuple of values for every other kind.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, OneOf, Sequence, Space, Text, Tuple
from gymnasium.spaces.graph import GraphInstance

from .arrays import (
    Check,
    Convert,
    array_decoder,
    beyond,
    encode_array,
    has_booleans,
    integer,
    limits,
    show,
    value_range,
    within,
)
from .opaque import OpaqueSpace, array_type
from .partial_dict import PartialDict


def decoder(space: Space[Any]) -> Convert:
    """Return `decode` compiled for `space`.

    Raises:
        TypeError: it is no space of Gymnasium; so do the other functions.
    """
    return _codec(space).decode


def checker(space: Space[Any]) -> Check:
    """Return the function that checks whether a decoded value is a member of `space`."""
    return _codec(space).check


def encoder(space: Space[Any]) -> Convert:
    """Return `encode` compiled for `space`."""
    return _codec(space).encode


def decode(space: Space[Any], value: Any) -> Any:
    """Return the value of `space` for the plain `value` that a client sent; arrays may stand for nested lists.

    Accepted conversions: integers for floats, integral floats for integers, a scalar or a list of one for an array of one
    element, booleans only for a MultiBinary, and in a float Box ±1e100 for an infinity and null for NaN. Membership is
    not checked.

    Returns:
        Discrete: a numpy integer of its dtype. Box, MultiDiscrete, MultiBinary: a new array of its shape and dtype.
        Text: str. Tuple: tuple. Dict: dict in the space's order. Sequence: tuple, or a batch where it is stacked.
        Graph: GraphInstance. OneOf: tuple of np.int64 and the value.

    Raises:
        ValueError: the structure or a type does not fit the space, or an integer is out of the range of the dtype.
    """
    return decoder(space)(value)


def contains(space: Space[Any], value: Any) -> bool:
    """Return whether the plain `value` is a member of `space`. Never raises or warns for a value."""
    codec = _codec(space)
    try:
        return bool(codec.check(codec.decode(value)))
    except Exception:  # noqa: BLE001 -- third-party code may raise anything
        return False


def encode(space: Space[Any], value: Any) -> Any:
    """Return the plain form of an environment's `value`. Never raises for a value.

    Values, or parts of them, that do not fit the space stay unchanged.

    Returns:
        Discrete: int. Box, MultiDiscrete, MultiBinary: array of the value's dtype. Text: str. Tuple and Sequence: list (a
        stacked Sequence: batch). Dict: dict in the space's order. Graph: dict of `nodes`, and of `edges` and `edge_links`
        if it has edges. OneOf: [int, value].
    """
    return encoder(space)(value)


@dataclass(frozen=True, slots=True)
class _Codec:
    """The functions of a space; `length` returns the number of values in a decoded batch."""

    decode: Convert
    check: Check
    encode: Convert
    length: Callable[[Any], int] = len


@singledispatch
def _codec(space: Space[Any]) -> _Codec:
    if not isinstance(space, Space):
        raise TypeError(f"an object of type {type(space).__module__}.{type(space).__qualname__} is no space")
    as_array, encode = _declared(space)

    def check(value: Any) -> bool:
        try:
            return bool(space.contains(value))
        except Exception:  # noqa: BLE001 -- third-party code may raise anything
            return False

    def decode(value: Any) -> Any:
        # JSON has one kind of row where Python has three.
        array = as_array(value)
        forms = (array, value, tuple(value) if isinstance(value, list) else value)
        return next(filter(check, forms), array)

    return _Codec(decode, check, encode)


@_codec.register(OpaqueSpace)
def _opaque(space: OpaqueSpace) -> _Codec:
    if space.owner is not None and not space.is_remote:
        return _codec.dispatch(Space)(space)
    # The owner is not asked for each value that is read.
    as_array, encode = _declared(space)
    return _Codec(as_array, space.contains, encode)


def _declared(space: Space[Any]) -> tuple[Convert, Convert]:
    """Return `decode` and `encode` for arrays if the space declares them, otherwise functions that change nothing."""
    declared = array_type(space)
    if declared is None:
        return _same, _same
    shape, dtype = declared
    return _lenient(array_decoder(shape, dtype, booleans=dtype.kind == "b", batch=False)), _lenient(encode_array)


def _same(value: Any) -> Any:
    return value


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
    scalar, (least, most) = dtype.type, limits(dtype)
    start, stop = int(space.start), int(space.start) + int(space.n)

    def decode(value: Any) -> Any:
        if type(value) is not int:
            value = integer(value)
        if least <= value <= most:
            return scalar(value)
        raise ValueError(beyond(dtype))

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
    dtype, low, high = value_range(space)
    decode = array_decoder(space.shape, dtype, booleans=has_booleans(space), batch=False)
    kind = next(kind for kind in (Box, MultiDiscrete, MultiBinary) if isinstance(space, kind))
    return _Codec(decode, _overridden(space, kind) or within(low, high), _lenient(encode_array))


@_batch.register(Box)
@_batch.register(Discrete)
@_batch.register(MultiDiscrete)
@_batch.register(MultiBinary)
def _array_batch(space: Box[Any] | Discrete[Any] | MultiDiscrete[Any] | MultiBinary) -> _Codec:
    dtype, low, high = value_range(space)
    decode = array_decoder(space.shape or (), dtype, booleans=has_booleans(space), batch=True)

    def check(value: Any) -> bool:
        return bool((value >= low).all() and (value <= high).all())

    return _Codec(decode, check, _lenient(encode_array))


@_codec.register(Text)
def _text(space: Text) -> _Codec:
    def decode(value: Any) -> Any:
        if isinstance(value, str):
            return str(value)
        raise ValueError(f"expected a string, got {show(value)}")

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


@_codec.register(PartialDict)
def _partial_dict(space: PartialDict) -> _Codec:
    return _named({key: _codec(part) for key, part in space.spaces.items()}, space.contains, is_partial=True)


@_batch.register(Dict)
def _dict_batch(space: Dict[Any]) -> _Codec:
    parts = {key: _batch(part) for key, part in space.spaces.items()}
    return _even(_named(parts), list(parts.items()))


def _named(parts: dict[Any, _Codec], own: Check | None = None, *, is_partial: bool = False) -> _Codec:
    # Keys are strings in requests and replies, and as in the space for the environment.
    names = {key: str(key) for key in parts}
    expected = set(names.values())

    def decode(value: Any) -> Any:
        if _object(value).keys() != expected:
            if not (is_partial and value.keys() <= expected):
                _refuse_keys(value, expected)
            return {
                key: _at(names[key], part.decode, value[names[key]])
                for key, part in parts.items()
                if names[key] in value
            }
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
            raise ValueError(f"the parts of a batch have different lengths: {show(lengths)}")
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
    links = array_decoder((2,), np.dtype(np.int32), booleans=False, batch=True)

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
            plain["edge_links"] = encode_array(value.edge_links)
        return plain

    return _Codec(decode, _overridden(space, Graph) or check, _lenient(encode))


@_codec.register(OneOf)
def _one_of(space: OneOf[Any]) -> _Codec:
    parts = [_codec(part) for part in space.spaces]

    def decode(value: Any) -> Any:
        items = _items(value)
        if len(items) != 2:
            raise ValueError(f"expected an index and a value, got {len(items)} items")
        index = _at("index", integer, items[0])
        if not 0 <= index < len(parts):
            raise ValueError(f"expected an index from 0 to {len(parts) - 1}, got {show(index)}")
        return np.int64(index), _at("value", parts[index].decode, items[1])

    def check(value: Any) -> bool:
        chosen: _Codec = parts[value[0]]
        return chosen.check(value[1])

    def encode(value: Any) -> Any:
        index, part = operator.index(value[0]), value[1]
        return [index, parts[index].encode(part)] if len(value) == 2 and index >= 0 else value

    return _Codec(decode, _overridden(space, OneOf) or check, _lenient(encode))


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
    raise ValueError(f"expected an object, got {show(value)}")


def _items(value: Any) -> Any:
    if _is_row(value):
        return value
    raise ValueError(f"expected an array, got {show(value)}")


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
    raise ValueError(f"an object with the wrong keys: missing {show(missing)}, unexpected {show(unexpected)}")
