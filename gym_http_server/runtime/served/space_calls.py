"""The calls about an instance's spaces, and how a call of third-party code is made and answered."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import EnvironmentRaisedError, GymHttpServerError, InvalidValueError
from ..making.blame import blame
from ..messages import JSON, MSGPACK, Description, Reply
from ..values.codec import contains, encoder
from ..values.encoding import ENCODERS
from ..values.opaque import part_at
from ..values.spaces import describe
from ..values.value_types import observation_note

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import gymnasium

    from ..values.value_types import Types

logger = logging.getLogger(__name__)


class SpaceCalls:
    """A mixin: describes, samples and asks the spaces of an instance.

    Attributes:
        description: description of the instance.
    """

    description: Description
    _action_space: gymnasium.Space[Any]
    _observation_space: gymnasium.Space[Any]

    def sample(self, media_type: str = JSON) -> Reply:
        """Draw from the action space; reply `{"action"}`."""
        space = self._part("action")
        return encoded({"action": encoder(space)(_sampled(space))}, media_type)

    def sample_space(self, space: str, part: str = "", media_type: str = JSON) -> Reply:
        """Draw from the action or observation space, or from the space at the JSON pointer `part`.

        Reply `{"value"}`, and `types` if there are any (see `value_types`).
        """
        asked = self._part(space, part)
        value = _sampled(asked)
        types: Types = {}
        observation_note(asked)(value, "/value", types, media_type == MSGPACK)
        return encoded({"value": encoder(asked)(value), **({"types": types} if types else {})}, media_type)

    def spaces(self) -> Reply:
        """Reply `{"action_space", "observation_space"}`, their descriptors."""
        self._follow_spaces()
        own = self.description
        return encoded({"action_space": own.action_space, "observation_space": own.observation_space}, JSON)

    def _part(self, space: str, part: str = "") -> gymnasium.Space[Any]:
        """Return the space of that name as it is now, or the space inside it.

        Raises:
            InvalidValueError: there is no such part.
        """
        self._follow_spaces()
        whole = self._action_space if space == "action" else self._observation_space
        try:
            return part_at(whole, part)
        except ValueError as error:
            raise InvalidValueError(
                f"part {part!r} is to be a JSON pointer to a space in the description of the {space} space: {error}"
            ) from None

    def _follow_spaces(self) -> bool:
        """Read the environment's spaces again; return whether they are others than before."""
        return False

    def contains_action(self, action: Any, part: str = "", media_type: str = JSON) -> Reply:
        """Reply `{"member"}`: whether the action space, or the space at the JSON pointer `part`, contains the value."""
        return encoded({"member": contains(self._part("action", part), action)}, media_type)

    def contains_observation(
        self,
        observation: Any = None,
        description: Mapping[str, Any] | None = None,
        part: str = "",
        media_type: str = JSON,
    ) -> Reply:
        """Reply `{"member"}`: whether the observation space contains the value, or its description has these members."""
        space = self._part("observation", part)
        if description is None:
            return encoded({"member": contains(space, observation)}, media_type)
        own = describe(space) if part else self.description.observation_space
        plain = {
            name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in description.items()
        }
        return encoded({"member": all(name in own and own[name] == value for name, value in plain.items())}, media_type)


def _sampled(space: gymnasium.Space[Any]) -> Any:
    with calling("sample"):
        return space.sample()


def encoded(value: Any, media_type: str) -> Reply:
    """Return a value as a reply in one of the media types of `encoding.ENCODERS`."""
    return Reply(ENCODERS[media_type](value), media_type)


@contextlib.contextmanager
def calling(operation: str, refused: type[GymHttpServerError] | None = None) -> Iterator[None]:
    """Turn an exception of the environment into a `GymHttpServerError`.

    Args:
        operation: the call, for the text.
        refused: the class of the error if the client's arguments are to blame.
    """
    try:
        yield
    except GymHttpServerError:
        raise
    except (Exception, SystemExit) as error:
        failure = blame(error, operation)
        if refused is not None and isinstance(failure, EnvironmentRaisedError):
            raise refused(failure.detail) from error
        logger.exception("%s", failure.detail)
        raise failure from error
