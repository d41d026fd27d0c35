"""Arguments of wrappers: what makes of JSON values what Gymnasium's constructors want, and how much room they would take.

A conversion raises `ValueError` for what a constructor would take and a step then fail for; what a constructor refuses
itself is left to its words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import gymnasium
import numpy as np

from ..messages import FAR
from ..rollout import least_bytes
from ..values.codec import decode

Environment: TypeAlias = gymnasium.Env[Any, Any]
Convert: TypeAlias = Callable[[Any, Environment], Any]
Count: TypeAlias = Callable[[Mapping[str, Any], Environment], int]

TOO_LARGE: Final = 1 << 63
"""The least integer that numpy's largest has no room for."""

DTYPES: Final = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)
"""The types that an argument may name; each has a form on the wire."""


def as_tuple(value: Any, environment: Environment) -> Any:  # noqa: ARG001 -- the signature of conversions
    """Return a list as a tuple, and anything else as it is."""
    return tuple(value) if isinstance(value, list) else value


def as_bound(value: Any, environment: Environment) -> Any:  # noqa: ARG001 -- as above
    """Return a number, or an array of the numbers in a list, with an infinity for what is as far as ±1e100."""
    if not isinstance(value, list):
        return value * np.inf if isinstance(value, float) and abs(value) >= FAR else value
    try:
        array = np.array(value)
    except ValueError:  # lists of different lengths
        array = np.empty(0, object)
    if array.dtype.kind not in "iuf":
        raise ValueError("expected a number, or a list of numbers of the shape of the space")
    if array.dtype.kind == "f":
        array[np.abs(array) >= FAR] *= np.inf
    return array


def as_reward(value: Any, environment: Environment) -> Any:
    """Return a number or None; Gymnasium finds out about anything else when there is a reward to compare it with."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError("expected a number")
    return as_bound(value, environment)


def as_whole(value: Any, environment: Environment) -> Any:  # noqa: ARG001 -- as above
    """Return an integer; Gymnasium takes others, and fails when it counts to them."""
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= TOO_LARGE:
        raise ValueError("expected an integer of 64 bits")
    return value


def as_one_or_two(value: Any, environment: Environment) -> Any:
    """Return an integer, or a tuple of those in a list."""
    if isinstance(value, list):
        return tuple(as_whole(each, environment) for each in value)
    return as_whole(value, environment)


def as_key(value: Any, environment: Environment) -> Any:  # noqa: ARG001 -- as above
    """Return a text."""
    if not isinstance(value, str):
        raise ValueError("expected a text")  # noqa: TRY004 -- what conversions raise
    return value


def as_dtype(value: Any, environment: Environment) -> Any:  # noqa: ARG001 -- as above
    """Return the type that is named."""
    # Looked up, not parsed: numpy reads a great many more texts, `object` among them.
    if value not in DTYPES:
        raise ValueError(f"expected one of {', '.join(DTYPES)}")
    return np.dtype(value).type


def as_observation(value: Any, environment: Environment) -> Any:
    """Return an observation, but leave a text alone: Gymnasium has words for it."""
    return value if isinstance(value, str) else decode(environment.observation_space, value)


def _whole(value: Any) -> list[int]:
    """Return the integers of an argument that is one or has several; any others are Gymnasium's to refuse."""
    return [abs(each) for each in (value if isinstance(value, list) else [value]) if isinstance(each, int)]


def stacked(given: Mapping[str, Any], environment: Environment) -> int:
    """Count the numbers in a stack of observations."""
    return least_bytes(environment.observation_space) * math.prod(_whole(given.get("stack_size")))


def screen(given: Mapping[str, Any], environment: Environment) -> int:  # noqa: ARG001 -- as above
    """Count those of a screen of Atari."""
    size = given.get("screen_size")
    return 3 * math.prod(_whole(size)) ** (1 if isinstance(size, list) else 2)


def picture(given: Mapping[str, Any], environment: Environment) -> int:
    """Count those of a picture that is resized."""
    return math.prod([*_whole(given.get("shape")), *(environment.observation_space.shape or ())[2:]])


def flattened(given: Mapping[str, Any], environment: Environment) -> int:
    """Count those of a flattened observation."""
    if not given.get("flatten", True):
        return 0
    try:
        return gymnasium.spaces.flatdim(environment.observation_space)
    except (ValueError, NotImplementedError):  # it cannot be
        return 0


def edges(space: str) -> Count:
    """Return what counts the edges of the bins in a space."""

    def count(given: Mapping[str, Any], environment: Environment) -> int:
        bins, dimensions = given.get("bins"), least_bytes(getattr(environment, space))
        if not given.get("multidiscrete") and _overflows(bins, dimensions):
            each = f"{len(bins)} dimensions" if isinstance(bins, list) else f"{bins} in each of {dimensions} dimensions"
            raise ValueError(
                f"bins: {each} make a Discrete space of more values than a 64-bit integer can number, {TOO_LARGE - 1}: give "
                "multidiscrete: true, or fewer bins"
            )
        return sum(_whole(bins)) * (1 if isinstance(bins, list) else dimensions)

    return count


def _overflows(bins: Any, dimensions: int) -> bool:
    """Return whether so many bins, in so many dimensions where it is one number, are too many for one integer."""
    product = 1
    # Two or more need no more than 63 dimensions for that.
    for each in _whole(bins) if isinstance(bins, list) else _whole(bins) * min(dimensions, 64):
        product *= each
        if product >= TOO_LARGE:
            return True
    return False
