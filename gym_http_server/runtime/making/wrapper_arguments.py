"""Arguments of wrappers: conversions from JSON values, and the sizes of the spaces that they lead to.

A conversion raises `ValueError` for a value that a constructor would accept and a step would fail for. Values that a
constructor itself refuses pass, because its error text explains them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import gymnasium
import numpy as np

from ..messages import JSON_INFINITY
from ..values.codec import decode
from ..values.spaces import element_count

Environment: TypeAlias = gymnasium.Env[Any, Any]
Convert: TypeAlias = Callable[[Any, Environment], Any]
Count: TypeAlias = Callable[[Mapping[str, Any], Environment], int]

INT64_END: Final = 1 << 63
"""The first integer beyond int64."""

DTYPES: Final = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)
"""NumPy types that an argument may name; all can be encoded."""


def as_tuple(value: Any, environment: Environment) -> Any:  # noqa: ARG001 -- the signature of conversions
    """Return a list as a tuple, and anything else unchanged."""
    return tuple(value) if isinstance(value, list) else value


def as_bound(value: Any, environment: Environment) -> Any:  # noqa: ARG001 -- as above
    """Return a number, or an array of the numbers in a list; ±1e100 becomes an infinity."""
    if not isinstance(value, list):
        return value * np.inf if isinstance(value, float) and abs(value) == JSON_INFINITY else value
    try:
        array = np.array(value)
    except ValueError:  # lists of different lengths
        array = np.empty(0, object)
    if array.dtype.kind not in "iuf":
        raise ValueError("expected a number, or a list of numbers of the shape of the space")
    if array.dtype.kind == "f":
        array[np.abs(array) == JSON_INFINITY] *= np.inf
    return array


def as_reward(value: Any, environment: Environment) -> Any:
    """Return a number or None; Gymnasium would refuse anything else only at the first reward."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError("expected a number")
    return as_bound(value, environment)


def as_whole(value: Any, environment: Environment) -> Any:  # noqa: ARG001 -- as above
    """Return an integer; Gymnasium would refuse anything else only when it uses it."""
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= INT64_END:
        raise ValueError("expected an integer of 64 bits")
    return value


def as_one_or_two(value: Any, environment: Environment) -> Any:
    """Return an integer, or a list of integers as a tuple."""
    if isinstance(value, list):
        return tuple(as_whole(item, environment) for item in value)
    return as_whole(value, environment)


def as_key(value: Any, environment: Environment) -> Any:  # noqa: ARG001 -- as above
    """Return a text."""
    if not isinstance(value, str):
        raise ValueError("expected a text")  # noqa: TRY004 -- conversions raise ValueError
    return value


def as_dtype(value: Any, environment: Environment) -> Any:  # noqa: ARG001 -- as above
    """Return the NumPy type with this name."""
    # numpy.dtype would accept many more texts, `object` among them.
    if value not in DTYPES:
        raise ValueError(f"expected one of {', '.join(DTYPES)}")
    return np.dtype(value).type


def as_observation(value: Any, environment: Environment) -> Any:
    """Return a decoded observation. A text stays: `padding_type` has named values."""
    return value if isinstance(value, str) else decode(environment.observation_space, value)


def _integers(value: Any) -> list[int]:
    """Return the absolute integers in an argument, a single value or a list; Gymnasium refuses other values."""
    return [abs(item) for item in (value if isinstance(value, list) else [value]) if isinstance(item, int)]


def stack_size(given: Mapping[str, Any], environment: Environment) -> int:
    """Return the number of elements in a stack of observations."""
    return element_count(environment.observation_space) * math.prod(_integers(given.get("stack_size")))


def screen_size(given: Mapping[str, Any], environment: Environment) -> int:  # noqa: ARG001 -- as above
    """Return the number of elements in an Atari screen."""
    size = given.get("screen_size")
    return 3 * math.prod(_integers(size)) ** (1 if isinstance(size, list) else 2)


def resized_size(given: Mapping[str, Any], environment: Environment) -> int:
    """Return the number of elements in a resized image."""
    return math.prod([*_integers(given.get("shape")), *(environment.observation_space.shape or ())[2:]])


def flattened_size(given: Mapping[str, Any], environment: Environment) -> int:
    """Return the number of elements in a flattened observation; 0 if it cannot be flattened."""
    if not given.get("flatten", True):
        return 0
    try:
        return gymnasium.spaces.flatdim(environment.observation_space)
    except (ValueError, NotImplementedError):
        return 0


def bin_edges(space: str) -> Count:
    """Return the function that counts bin edges of an attribute `space`.

    It raises `ValueError` if the bins make a Discrete space whose values exceed int64.
    """

    def count(given: Mapping[str, Any], environment: Environment) -> int:
        bins, dimensions = given.get("bins"), element_count(getattr(environment, space))
        if not given.get("multidiscrete") and _overflows(bins, dimensions):
            each = f"{len(bins)} dimensions" if isinstance(bins, list) else f"{bins} in each of {dimensions} dimensions"
            raise ValueError(
                f"bins: {each} make a Discrete space of more values than a 64-bit integer can number, {INT64_END - 1}: give "
                "multidiscrete: true, or fewer bins"
            )
        return sum(_integers(bins)) * (1 if isinstance(bins, list) else dimensions)

    return count


def _overflows(bins: Any, dimensions: int) -> bool:
    """Return whether the product of the bins of all dimensions exceeds int64."""
    product = 1
    # From two bins on, 63 dimensions suffice to exceed it.
    for factor in _integers(bins) if isinstance(bins, list) else _integers(bins) * min(dimensions, 64):
        product *= factor
        if product >= INT64_END:
            return True
    return False
