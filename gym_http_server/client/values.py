"""Conversion of observations and actions between the plain values of replies and Gymnasium's types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from ..runtime.values.codec import decoder, encoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from gymnasium.spaces import Space

_MAX_LIST_NUMBERS = 16  # up to this size a list is made, sent and read faster than an array
_INTEGERS = frozenset((int, np.int64))


def observation_reader(space: Space[Any]) -> Callable[[Any], Any]:
    """Return the function that makes a value of `space`, with its types and dtypes, of a plain value in a reply.

    A value that does not fit `space` stays plain: an environment may return what is not in its own space.

    Raises:
        TypeError: the kind of space is not known.
    """
    decode = decoder(space)
    is_array = isinstance(space, Box | MultiBinary | MultiDiscrete)
    shape, dtype = space.shape, space.dtype

    def read(value: Any) -> Any:
        # Callers may change observations.
        if is_array and type(value) is np.ndarray and value.dtype == dtype and value.shape == shape:
            return own(value)
        try:
            return decode(value)
        except ValueError:
            return value

    return read


def action_writer(space: Space[Any]) -> Callable[[Any], Any]:
    """Return the function that makes plain values and arrays of an action, without checking it.

    Raises:
        TypeError: the kind of space is not known.
    """
    encode = encoder(space)
    is_array = isinstance(space, Box | MultiBinary | MultiDiscrete)

    is_discrete = isinstance(space, Discrete)

    def write(action: Any) -> Any:
        if is_discrete and type(action) in _INTEGERS:
            return int(action)
        if not is_array or type(action) is not np.ndarray:
            return encode(action)
        return action.tolist() if action.size <= _MAX_LIST_NUMBERS else action

    return write


def own(value: Any) -> Any:
    """Return `value` with writable arrays: copies, and for an array that is most of a large reply the array itself."""
    if type(value) is np.ndarray:
        base: Any = value.base  # which the stubs take for an array
        if type(base) is bytearray and value.flags.aligned:
            value.flags.writeable = True
            return value
        return value.copy()
    if type(value) is dict:
        return {key: own(item) for key, item in value.items()}
    if type(value) is list:
        return [own(item) for item in value]
    return value
