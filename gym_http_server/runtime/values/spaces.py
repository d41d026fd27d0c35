"""Descriptors: a space as plain JSON values, and back.

The keys that the v1 contract had come first (`name`, `n`, `shape`, flat `low` and `high`), then what it takes to
rebuild the space. No key has the value None, infinities are written as ±1e100, and a Dict's order is repeated in
`keys` because some JSON libraries lose the order of an object's members.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import singledispatch
from typing import Any, Final

import numpy as np
from gymnasium.spaces import (
    Box,
    Dict,
    Discrete,
    Graph,
    MultiBinary,
    MultiDiscrete,
    OneOf,
    Sequence,
    Space,
    Text,
    Tuple,
)

from ..messages import FAR

# The type that NumPy itself makes, `l`, after the other one of 64 bits.
_DTYPES: Final = {np.dtype(code).name: np.dtype(code) for code in "?bhiqlBHIQLefdg"}


@singledispatch
def describe(space: Space[Any]) -> dict[str, Any]:
    """Return the descriptor of `space`: plain JSON values, nested as the space is.

    Bounds of a Box are flat lists in C order; ints where its dtype is an integer or bool, floats elsewhere, with
    ±1e100 for whatever is infinite. Keys of a Dict become strings.

    Raises:
        TypeError: for a kind of space that has no descriptor.
    """
    raise TypeError(f"a space of type {type(space).__module__}.{type(space).__qualname__} has no descriptor")


@describe.register(Discrete)
def _describe_discrete(space: Discrete[Any]) -> dict[str, Any]:
    return {"name": "Discrete", "n": int(space.n), "start": int(space.start), "dtype": _dtype_name(space)}


@describe.register(Box)
def _describe_box(space: Box[Any]) -> dict[str, Any]:
    return {
        "name": "Box",
        "shape": _shape(space),
        "low": _bounds(space.low),
        "high": _bounds(space.high),
        "dtype": _dtype_name(space),
        **_open_sides(space),
    }


def _open_sides(space: Box[Any]) -> dict[str, Any]:
    """Return which bounds of integers are none: Gymnasium samples such a side otherwise than up to the end of the dtype."""
    if np.dtype(space.dtype).kind not in "iu":
        return {}
    sides = {"unbounded_below": ~space.bounded_below, "unbounded_above": ~space.bounded_above}
    return {name: np.ravel(is_open).tolist() for name, is_open in sides.items() if np.any(is_open)}


@describe.register(MultiDiscrete)
def _describe_multi_discrete(space: MultiDiscrete[Any]) -> dict[str, Any]:
    return {
        "name": "MultiDiscrete",
        "nvec": space.nvec.ravel().tolist(),
        "shape": _shape(space),
        "start": space.start.ravel().tolist(),
        "dtype": _dtype_name(space),
    }


@describe.register(MultiBinary)
def _describe_multi_binary(space: MultiBinary) -> dict[str, Any]:
    shape = _shape(space)
    # Clients in typed languages read `n` as an int: where it would be a list, only `shape` says it.
    size = {"n": shape[0]} if len(shape) == 1 else {}
    is_list = {"n_is_list": True} if size and not isinstance(space.n, int) else {}
    return {"name": "MultiBinary", **size, **is_list, "shape": shape, "dtype": _dtype_name(space)}


@describe.register(Text)
def _describe_text(space: Text) -> dict[str, Any]:
    return {
        "name": "Text",
        "min_length": int(space.min_length),
        "max_length": int(space.max_length),
        "characters": "".join(space.character_list),
    }


@describe.register(Tuple)
def _describe_tuple(space: Tuple[Any]) -> dict[str, Any]:
    return {"name": "Tuple", "spaces": [describe(part) for part in space.spaces]}


@describe.register(Dict)
def _describe_dict(space: Dict[Any]) -> dict[str, Any]:
    spaces = {str(key): describe(part) for key, part in space.spaces.items()}
    integers = [str(key) for key in space.spaces if isinstance(key, int)]
    return {"name": "Dict", "spaces": spaces, "keys": list(spaces), **({"integer_keys": integers} if integers else {})}


@describe.register(Sequence)
def _describe_sequence(space: Sequence) -> dict[str, Any]:
    return {"name": "Sequence", "space": describe(space.feature_space), "stacked": bool(space.stack)}


@describe.register(Graph)
def _describe_graph(space: Graph) -> dict[str, Any]:
    edge_space = {} if space.edge_space is None else {"edge_space": describe(space.edge_space)}
    return {"name": "Graph", "node_space": describe(space.node_space), **edge_space}


@describe.register(OneOf)
def _describe_one_of(space: OneOf[Any]) -> dict[str, Any]:
    return {"name": "OneOf", "spaces": [describe(part) for part in space.spaces]}


def element_count(space: Space[Any]) -> int:
    """Return the number of elements of a value, those of its parts together; 1 for kinds that are no arrays."""
    if isinstance(space, Dict):
        return sum(map(element_count, space.spaces.values()))
    if isinstance(space, Tuple):
        return sum(map(element_count, space.spaces))
    if isinstance(space, Box | MultiDiscrete | MultiBinary | Discrete):
        return math.prod(space.shape or ())
    return 1


def _shape(space: Space[Any]) -> list[int]:
    return [int(length) for length in space.shape or ()]


def _dtype_name(space: Space[Any]) -> str:
    return np.dtype(space.dtype).name


def _bounds(bounds: np.ndarray[Any, Any]) -> list[Any]:
    if bounds.dtype.kind == "b":
        bounds = bounds.astype(np.int8)
    elif bounds.dtype.kind == "f":
        with np.errstate(over="ignore"):
            bounds = bounds.astype(np.float64)
        bounds = np.where(np.isinf(bounds), np.copysign(FAR, bounds), bounds)
    flat: list[Any] = bounds.ravel().tolist()
    return flat


def rebuild(descriptor: Mapping[str, Any]) -> Space[Any]:
    """Return the space that `descriptor` describes: `rebuild(describe(space)) == space`.

    What a descriptor does not tell apart comes back in its plainest form: a bound of ±1e100 as an infinity, and keys of a
    Dict that are neither strings nor integers as strings.

    Raises:
        ValueError: where `descriptor` is not one, with what was wrong with it.
    """
    name = descriptor.get("name") if isinstance(descriptor, Mapping) else None
    build = _BUILDERS.get(name) if isinstance(name, str) else None
    if build is None:
        raise ValueError(f"not a descriptor: its name is {name!r}, expected one of {', '.join(_BUILDERS)}")
    try:
        return build(descriptor)
    except KeyError as error:
        raise ValueError(f"the descriptor of a {name} lacks the key {error}") from None
    except (TypeError, ValueError, OverflowError, AttributeError, RecursionError) as error:
        raise ValueError(f"{name}: {error}") from None


def _rebuild_discrete(descriptor: Mapping[str, Any]) -> Space[Any]:
    dtype = _dtype(descriptor)
    # Gymnasium before 1.2 knows no dtype but int64 here, and has no argument for it.
    kind: dict[str, Any] = {} if dtype == np.int64 else {"dtype": dtype}
    return Discrete(descriptor["n"], start=descriptor["start"], **kind)


def _rebuild_box(descriptor: Mapping[str, Any]) -> Space[Any]:
    box = Box(_array(descriptor, "low"), _array(descriptor, "high"), dtype=_dtype(descriptor))
    for side in ("below", "above"):
        if f"unbounded_{side}" in descriptor:
            is_open = np.array(descriptor[f"unbounded_{side}"], np.bool_).reshape(box.shape)
            setattr(box, f"bounded_{side}", ~is_open)
    return box


def _rebuild_multi_discrete(descriptor: Mapping[str, Any]) -> Space[Any]:
    return MultiDiscrete(_array(descriptor, "nvec"), dtype=_dtype(descriptor), start=_array(descriptor, "start"))


def _rebuild_multi_binary(descriptor: Mapping[str, Any]) -> Space[Any]:
    shape = _dimensions(descriptor)
    return MultiBinary(shape[0] if len(shape) == 1 and not descriptor.get("n_is_list") else shape)


def _rebuild_text(descriptor: Mapping[str, Any]) -> Space[Any]:
    return Text(descriptor["max_length"], min_length=descriptor["min_length"], charset=descriptor["characters"])


def _rebuild_tuple(descriptor: Mapping[str, Any]) -> Space[Any]:
    return Tuple([rebuild(part) for part in descriptor["spaces"]])


def _rebuild_dict(descriptor: Mapping[str, Any]) -> Space[Any]:
    spaces = descriptor["spaces"]
    keys = descriptor.get("keys", list(spaces))
    if sorted(keys) != sorted(spaces):
        raise ValueError(f"`keys` lists {sorted(keys)} where `spaces` has {sorted(spaces)}")
    # A list of pairs keeps its order; Gymnasium sorts the keys of a plain dict.
    integers = set(descriptor.get("integer_keys", ()))
    parts: list[tuple[Any, Space[Any]]] = [(int(key) if key in integers else key, rebuild(spaces[key])) for key in keys]
    return Dict(parts)


def _rebuild_sequence(descriptor: Mapping[str, Any]) -> Space[Any]:
    return Sequence(rebuild(descriptor["space"]), stack=bool(descriptor["stacked"]))


def _rebuild_graph(descriptor: Mapping[str, Any]) -> Space[Any]:
    edges = descriptor.get("edge_space")
    return Graph(rebuild(descriptor["node_space"]), None if edges is None else rebuild(edges))


def _rebuild_one_of(descriptor: Mapping[str, Any]) -> Space[Any]:
    return OneOf([rebuild(part) for part in descriptor["spaces"]])


_BUILDERS: Final[dict[str, Callable[[Mapping[str, Any]], Space[Any]]]] = {
    "Box": _rebuild_box,
    "Dict": _rebuild_dict,
    "Discrete": _rebuild_discrete,
    "Graph": _rebuild_graph,
    "MultiBinary": _rebuild_multi_binary,
    "MultiDiscrete": _rebuild_multi_discrete,
    "OneOf": _rebuild_one_of,
    "Sequence": _rebuild_sequence,
    "Text": _rebuild_text,
    "Tuple": _rebuild_tuple,
}


def _dtype(descriptor: Mapping[str, Any]) -> np.dtype[Any]:
    name = descriptor["dtype"]
    # Looked up, not parsed: numpy would read a great many more strings than names of dtypes.
    if not isinstance(name, str) or name not in _DTYPES:
        raise ValueError(f"unknown dtype {name!r}")
    return _DTYPES[name]


def _dimensions(descriptor: Mapping[str, Any]) -> list[int]:
    shape = descriptor["shape"]
    if not isinstance(shape, list | tuple) or any(type(length) is not int or length < 0 for length in shape):
        raise ValueError(f"`shape` is {shape!r}, expected a list of non-negative ints")
    return list(shape)


def _array(descriptor: Mapping[str, Any], key: str) -> np.ndarray[Any, Any]:
    values, shape, dtype = descriptor[key], _dimensions(descriptor), _dtype(descriptor)
    if not isinstance(values, list) or len(values) != math.prod(shape):
        raise ValueError(f"`{key}` is not a flat list of {math.prod(shape)} values, one for each of shape {shape}")
    kinds = set(map(type, values))
    if not kinds <= {int, float}:
        raise ValueError(f"`{key}` holds something other than numbers")
    if dtype.kind == "f":
        wide = np.array(values, np.float64)
        wide[np.abs(wide) == FAR] *= np.inf
        with np.errstate(over="ignore"):
            return wide.astype(dtype).reshape(shape)
    whole = list(map(int, values)) if float in kinds else values
    if whole != values:
        raise ValueError(f"`{key}` holds fractions where the dtype is {dtype}")
    if dtype.kind == "b" and not {0, 1}.issuperset(whole):
        raise ValueError(f"`{key}` holds values other than 0 and 1 where the dtype is bool")
    return np.array(whole, dtype).reshape(shape)
