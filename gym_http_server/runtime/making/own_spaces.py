"""The spaces that an environment declares, as spaces of Gymnasium."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.spaces import Dict, OneOf, Sequence, Space, Tuple

from ...errors import InvalidValueError
from ..values.opaque import OpaqueSpace, parts
from .gym_compat import convert_space

SPACE_NAMES = ("action_space", "observation_space")


def own_space(space: Any, name: str, env_id: str) -> Space[Any]:
    """Return an environment's space as a space of Gymnasium.

    Args:
        space: what the environment has for it.
        name: `action_space` or `observation_space`.
        env_id: the environment's id, for the error text.

    Raises:
        InvalidValueError: there is none, or it is no space.
    """
    try:
        return convert_space(space)
    except TypeError as error:
        raise InvalidValueError(
            f"{env_id} cannot be served: its {name} is to be a space such as gymnasium.spaces.Box, which the environment's "
            f"class or constructor sets; {'it is None' if space is None else error}"
        ) from None


def given_spaces(environment: Any) -> tuple[Any, Any]:
    """Return what an environment has for its action and observation space, None where it has nothing."""
    return getattr(environment, "action_space", None), getattr(environment, "observation_space", None)


class ComparableSpaces(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A lane of a batch, whose spaces are equal to those of the other lanes.

    Gymnasium compares them, and a package's own space without `__eq__` is equal to itself alone.

    Args:
        environment: the environment.
        env_id: its id, for the error text.

    Raises:
        InvalidValueError: it lacks a space.
    """

    def __init__(self, environment: Any, env_id: str) -> None:
        super().__init__(environment)
        self.action_space, self.observation_space = (
            comparable(own_space(space, name, env_id))
            for space, name in zip(given_spaces(self.env), SPACE_NAMES, strict=True)
        )


def with_own_spaces(environment: Any, env_id: str) -> Any:
    """Return a lane of a batch that has both spaces, and equal ones in every lane.

    Raises:
        InvalidValueError: it lacks one.
    """
    given = given_spaces(environment)
    wrapped = ComparableSpaces(environment, env_id)
    return environment if given[0] is wrapped.action_space and given[1] is wrapped.observation_space else wrapped


def comparable(space: Space[Any]) -> Space[Any]:
    """Return the space, or one with an `OpaqueSpace` for each of a package's own that has no `__eq__`."""
    inside = {pointer: comparable(part) for pointer, part in parts(space).items()}
    if all(inside[pointer] is part for pointer, part in parts(space).items()):
        return OpaqueSpace.of(space) if type(space).__eq__ is object.__eq__ else space
    if type(space) not in (Dict, OneOf, Sequence, Tuple):
        return space  # a subclass, which may be made of more than its parts
    if isinstance(space, Dict):
        return Dict(list(zip(space.spaces, inside.values(), strict=True)))
    if isinstance(space, Sequence):
        return Sequence(inside["/space"], stack=space.stack)
    return (Tuple if isinstance(space, Tuple) else OneOf)(list(inside.values()))
