"""Conversion of observations and actions between the plain values of replies and Gymnasium's types."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from ..runtime.values.codec import decoder, encoder
from ..runtime.values.opaque import OpaqueSpace, opaque_parts
from ..runtime.values.spaces import rebuild
from ..runtime.values.value_types import Retyper

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gymnasium.spaces import Space

    from .client import Client

_MAX_LIST_NUMBERS = 16  # up to this size a list is made, sent and read faster than an array
_INTEGERS = frozenset((int, np.int64))


def remote_space(client: Client, instance_id: str, name: str, descriptor: Mapping[str, Any]) -> Space[Any]:
    """Return the space of a descriptor, whose opaque parts ask the server.

    Args:
        client: the client.
        instance_id: the instance that has the space.
        name: `action` or `observation`.
        descriptor: the descriptor.

    Raises:
        ValueError: it is not a descriptor.
    """
    space = rebuild(descriptor)
    has = client.action_space_contains if name == "action" else client.observation_space_contains
    for at, part in opaque_parts(space):
        part.bind(
            _Owner(part, partial(client.sample_space_typed, instance_id, name, at), partial(has, instance_id, part=at))
        )
    return space


class _Owner:
    """Answers for an opaque space on the server.

    Args:
        space: the space.
        sample: requests a random value and its types.
        contains: requests whether a plain value is a member.
    """

    def __init__(
        self, space: OpaqueSpace, sample: Callable[[], dict[str, Any]], contains: Callable[[Any], bool]
    ) -> None:
        self._read, self._write = decoder(space), encoder(space)
        self._sample, self._contains = sample, contains

    def sample(self) -> Any:
        """Return a random value."""
        reply = self._sample()
        value = reply["value"]
        return Retyper(reply.get("types", {}))("value", value, self._read(value))

    def contains(self, value: Any) -> bool:
        """Return whether a value is a member."""
        try:
            return self._contains(self._write(value))
        except TypeError:
            return False  # it has no JSON form


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
