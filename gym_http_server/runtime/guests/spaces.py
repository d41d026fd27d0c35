"""Spaces of guests: rebuilt from the plain values that a guest describes them with, as spaces of Gymnasium."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, OneOf, Sequence, Space, Text, Tuple
from gymnasium.spaces.graph import GraphInstance

from ..values.opaque import OpaqueSpace
from .wire import DTYPES, SPACE

Fit: TypeAlias = Callable[[Any], Any]

MAX_ELEMENTS: Final = 1 << 24
"""Maximum elements of a space that is described by its size alone."""


def rebuild(told: Any) -> Space[Any]:
    """Return the space that a guest describes.

    One of a package's own is an `OpaqueSpace` without an owner.

    Raises:
        TypeError, ValueError, KeyError, AttributeError, OverflowError, AssertionError: it is malformed.
    """
    if told.get("is_unknown"):
        like, name = told["like"], str(told["name"])[:200]
        is_array = isinstance(like, np.ndarray) and like.dtype.kind in "biuf"
        return OpaqueSpace(name, like.shape, like.dtype) if is_array else OpaqueSpace(name)
    return _BUILDERS[told["name"]](told)


def _dtype(told: Mapping[str, Any]) -> np.dtype[Any]:
    if told["dtype"] not in DTYPES:
        raise ValueError(f"an unknown dtype {told['dtype']!r}")
    dtype: np.dtype[Any] = np.dtype(told["dtype"])
    return dtype


def _array(told: Mapping[str, Any], name: str) -> np.ndarray[Any, Any]:
    if not isinstance(told[name], np.ndarray):
        raise TypeError(f"{name} is no array")
    array: np.ndarray[Any, Any] = told[name]
    return array


def _box(told: Mapping[str, Any]) -> Space[Any]:
    box = Box(_array(told, "low"), _array(told, "high"), dtype=_dtype(told).type)
    for side in ("bounded_below", "bounded_above"):
        if side in told and box.dtype.kind in "iu":
            setattr(box, side, _array(told, side).astype(np.bool_).reshape(box.shape))
    return box


def _discrete(told: Mapping[str, Any]) -> Space[Any]:
    # Gymnasium before 1.2 has no argument for the dtype, which is int64.
    dtype = _dtype(told)
    kind: dict[str, Any] = {} if dtype == np.int64 else {"dtype": dtype.type}
    return Discrete(told["n"], start=told["start"], **kind)


def _multi_binary(told: Mapping[str, Any]) -> Space[Any]:
    size = told["n"]
    lengths = size if isinstance(size, list) else [size]
    if (
        not all(type(length) is int and length > 0 for length in lengths)
        or np.prod(lengths, dtype=float) > MAX_ELEMENTS
    ):
        raise ValueError(f"an impossible size {lengths}")
    return MultiBinary(size)


def _text(told: Mapping[str, Any]) -> Space[Any]:
    return Text(told["max"], min_length=told["min"], charset=told["characters"])


def _graph(told: Mapping[str, Any]) -> Space[Any]:
    return Graph(rebuild(told["nodes"]), None if told["edges"] is None else rebuild(told["edges"]))


_BUILDERS: Final[dict[str, Callable[[Mapping[str, Any]], Space[Any]]]] = {
    "Box": _box,
    "Dict": lambda told: Dict([(key, rebuild(part)) for key, part in told["spaces"]]),
    "Discrete": _discrete,
    "Graph": _graph,
    "MultiBinary": _multi_binary,
    "MultiDiscrete": lambda told: MultiDiscrete(
        _array(told, "nvec"), dtype=_dtype(told).type, start=_array(told, "start")
    ),
    "OneOf": lambda told: OneOf([rebuild(part) for part in told["spaces"]]),
    "Sequence": lambda told: Sequence(rebuild(told["space"]), stack=bool(told["stack"])),
    "Text": _text,
    "Tuple": lambda told: Tuple([rebuild(part) for part in told["spaces"]]),
}


class SpaceOwner:
    """Asks a guest about a space of a package's own.

    Args:
        call: sends a request to the guest.
        lane: the environment.
        place: 0 for the action space or 1 for the observation space, and the keys that lead to the space in it.
    """

    def __init__(self, call: Callable[[int, int, Any], Any], lane: int, place: tuple[int, tuple[Any, ...]]) -> None:
        self._call, self._lane, self._place = call, lane, place

    def sample(self) -> Any:
        """Return a random value."""
        return self._ask("sample")

    def contains(self, value: Any) -> bool:
        """Return whether a value is a member."""
        return bool(self._ask("contains", value))

    def seed(self, seed: int | None = None) -> Any:
        """Seed `sample`."""
        self._ask("seed", seed)

    def _ask(self, name: str, *values: Any) -> Any:
        return self._call(SPACE, self._lane, (*self._place, name, values))


def unknown_parts(space: Space[Any], path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], OpaqueSpace]]:
    """Yield each space of a package's own with the keys that lead to it, None into a Sequence."""
    if isinstance(space, OpaqueSpace):
        yield path, space
    inside: Iterable[tuple[Any, Space[Any]]] = ()
    if isinstance(space, Dict):
        inside = space.spaces.items()
    elif isinstance(space, Tuple | OneOf):
        inside = enumerate(space.spaces)
    elif isinstance(space, Sequence):
        inside = ((None, space.feature_space),)
    for key, part in inside:
        yield from unknown_parts(part, (*path, key))


def fit(space: Space[Any]) -> Fit | None:
    """Return the function that restores the graphs in a value, which cross as tuples; None if there are none."""
    if isinstance(space, Graph):
        return lambda value: GraphInstance(*value) if isinstance(value, tuple) and len(value) == 3 else value
    if isinstance(space, Dict):
        named = {key: its for key, part in space.spaces.items() if (its := fit(part)) is not None}
        return (lambda value: {**value, **{key: its(value[key]) for key, its in named.items()}}) if named else None
    if isinstance(space, Tuple):
        parts = [fit(part) for part in space.spaces]
        return (
            (lambda value: tuple(its(item) if its else item for its, item in zip(parts, value, strict=True)))
            if any(parts)
            else None
        )
    if isinstance(space, Sequence) and not space.stack:
        inner = fit(space.feature_space)
        return (lambda value: tuple(map(inner, value))) if inner else None
    return None
