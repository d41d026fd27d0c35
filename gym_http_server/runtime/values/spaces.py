"""Descriptors: spaces as plain JSON values, and back.

First the keys of the v1 contract (`name`, `n`, `shape`, flat `low` and `high`), then those needed to rebuild the space. No
value is null, infinities are ±1e100, and `keys` repeats the order of a Dict, because some JSON libraries lose it. A space of
another kind than Gymnasium's own is `opaque`: its class name, and shape and dtype where its values are arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import singledispatch
from typing import Any, Final

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, OneOf, Sequence, Space, Text, Tuple

from ..messages import JSON_INFINITY
from .arrays import limits
from .opaque import OpaqueSpace, array_type, class_name
from .partial_dict import PartialDict

# Of the codes with the same name the last stays: `l`, NumPy's default, after `q`.
_DTYPES: Final = {np.dtype(code).name: np.dtype(code) for code in "?bhiqlBHIQLefdg"}


@singledispatch
def describe(space: Space[Any]) -> dict[str, Any]:
    """Return the descriptor of `space`: plain JSON values, nested as the space is.

    Bounds of a Box are flat lists in C order: ints if the dtype is an integer or bool, otherwise floats, with ±1e100 for
    infinities. Keys of a Dict become strings.

    Raises:
        TypeError: it is no space of Gymnasium.
    """
    if not isinstance(space, Space):
        raise TypeError(f"an object of type {type(space).__module__}.{type(space).__qualname__} is no space")
    descriptor: dict[str, Any] = {"name": class_name(space), "opaque": True}
    declared = array_type(space)
    if declared is not None:
        descriptor |= {"shape": list(declared[0]), "dtype": declared[1].name}
    return descriptor


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
    """Return what the bounds do not tell.

    An integer Box may declare sides unbounded: Gymnasium samples them differently from the dtype's limits. Of a float Box it
    is the bounds of ±1e100 that are no infinities.
    """
    dtype = np.dtype(space.dtype)
    if dtype.kind in "iu":
        sides = {"unbounded_below": ~space.bounded_below, "unbounded_above": ~space.bounded_above}
    elif dtype in (np.float64, np.longdouble):
        sides = {"bounded_below": space.low == -JSON_INFINITY, "bounded_above": space.high == JSON_INFINITY}
    else:
        return {}
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
    # No `n` if it would be a list: clients in typed languages read it as an int.
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
    descriptor = {"name": "Dict", "spaces": spaces, "keys": list(spaces)}
    if integers:
        descriptor["integer_keys"] = integers
    return descriptor | {"partial": True} if isinstance(space, PartialDict) else descriptor


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
    """Return the number of elements of a value, including those of its parts; 1 for spaces without a fixed size."""
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
        bounds = np.where(np.isinf(bounds), np.copysign(JSON_INFINITY, bounds), bounds)
    flat: list[Any] = bounds.ravel().tolist()
    return flat


def rebuild(descriptor: Mapping[str, Any]) -> Space[Any]:
    """Return the space of a descriptor: `rebuild(describe(space)) == space`.

    A bound of ±1e100 becomes an infinity unless it is said to be a bound, keys of a Dict that are neither strings nor integers
    become strings, and an opaque space an `OpaqueSpace` without an owner.

    Raises:
        ValueError: it is not a descriptor; the text says what is wrong.
    """
    name = descriptor.get("name") if isinstance(descriptor, Mapping) else None
    build = _BUILDERS.get(name) if isinstance(name, str) else None
    if isinstance(name, str) and build is None and descriptor.get("opaque") is True:
        build = _rebuild_opaque
    if build is None:
        raise ValueError(f"not a descriptor: its name is {name!r}, expected one of {', '.join(_BUILDERS)}")
    try:
        return build(descriptor)
    except KeyError as error:
        raise ValueError(f"the descriptor of a {name} lacks the key {error}") from None
    except (AssertionError, TypeError, ValueError, OverflowError, AttributeError, RecursionError) as error:
        raise ValueError(f"{name}: {error}") from None


def _rebuild_discrete(descriptor: Mapping[str, Any]) -> Space[Any]:
    dtype = _dtype(descriptor)
    # Gymnasium before 1.2 has no argument for the dtype, which is int64.
    kind: dict[str, Any] = {} if dtype == np.int64 else {"dtype": dtype}
    least, most = limits(dtype)
    if not least <= descriptor["start"] <= most:
        raise ValueError(f"`start` is beyond {dtype}")
    return Discrete(descriptor["n"], start=descriptor["start"], **kind)


def _rebuild_box(descriptor: Mapping[str, Any]) -> Space[Any]:
    low, high = _array(descriptor, "low"), _array(descriptor, "high")
    for bounds, name, number in ((low, "bounded_below", -JSON_INFINITY), (high, "bounded_above", JSON_INFINITY)):
        if name in descriptor:
            bounds[np.array(descriptor[name], np.bool_).reshape(bounds.shape)] = number
    box = Box(low, high, dtype=_dtype(descriptor))
    for side in ("below", "above"):
        if f"unbounded_{side}" in descriptor:
            is_open = np.array(descriptor[f"unbounded_{side}"], np.bool_).reshape(box.shape)
            setattr(box, f"bounded_{side}", ~is_open)
    return box


def _rebuild_opaque(descriptor: Mapping[str, Any]) -> Space[Any]:
    if "shape" not in descriptor:
        return OpaqueSpace(descriptor["name"])
    return OpaqueSpace(descriptor["name"], tuple(_dimensions(descriptor)), _dtype(descriptor))


def _rebuild_multi_binary(descriptor: Mapping[str, Any]) -> Space[Any]:
    shape = _dimensions(descriptor)
    return MultiBinary(shape[0] if len(shape) == 1 and not descriptor.get("n_is_list") else shape)


def _rebuild_dict(descriptor: Mapping[str, Any]) -> Space[Any]:
    spaces = descriptor["spaces"]
    keys = descriptor.get("keys", list(spaces))
    if sorted(keys) != sorted(spaces):
        raise ValueError(f"`keys` lists {sorted(keys)} where `spaces` has {sorted(spaces)}")
    # A list of pairs, because Gymnasium sorts the keys of a dict.
    integers = set(descriptor.get("integer_keys", ()))
    parts: list[tuple[Any, Space[Any]]] = [(int(key) if key in integers else key, rebuild(spaces[key])) for key in keys]
    return PartialDict(parts) if descriptor.get("partial") is True else Dict(parts)


def _rebuild_graph(descriptor: Mapping[str, Any]) -> Space[Any]:
    edges = descriptor.get("edge_space")
    return Graph(rebuild(descriptor["node_space"]), None if edges is None else rebuild(edges))


_BUILDERS: Final[dict[str, Callable[[Mapping[str, Any]], Space[Any]]]] = {
    "Box": _rebuild_box,
    "Dict": _rebuild_dict,
    "Discrete": _rebuild_discrete,
    "Graph": _rebuild_graph,
    "MultiBinary": _rebuild_multi_binary,
    "MultiDiscrete": lambda of: MultiDiscrete(_array(of, "nvec"), dtype=_dtype(of), start=_array(of, "start")),
    "OneOf": lambda of: OneOf([rebuild(part) for part in of["spaces"]]),
    "Sequence": lambda of: Sequence(rebuild(of["space"]), stack=bool(of["stacked"])),
    "Text": lambda of: Text(of["max_length"], min_length=of["min_length"], charset=of["characters"]),
    "Tuple": lambda of: Tuple([rebuild(part) for part in of["spaces"]]),
}


def _dtype(descriptor: Mapping[str, Any]) -> np.dtype[Any]:
    name = descriptor["dtype"]
    # numpy.dtype would accept many more strings.
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
        wide[np.abs(wide) == JSON_INFINITY] *= np.inf
        with np.errstate(over="ignore"):
            return wide.astype(dtype).reshape(shape)
    whole = list(map(int, values)) if float in kinds else values
    if whole != values:
        raise ValueError(f"`{key}` holds fractions where the dtype is {dtype}")
    least, most = limits(dtype)
    if whole and not (least <= min(whole) and max(whole) <= most):
        raise ValueError(f"`{key}` holds {next(n for n in whole if not least <= n <= most)}, which {dtype} does not")
    return np.array(whole, dtype).reshape(shape)
