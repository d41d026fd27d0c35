"""What is served: one environment or a batch of them, behind one set of operations by name.

Every operation takes plain values and arrays and answers a `Reply` that is already encoded, so that encoding happens
beside the environment and the server never looks inside an observation.
"""

from __future__ import annotations

import abc
import contextlib
import logging
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from ..errors import (
    EnvironmentRaisedError,
    GymHttpServerError,
    InstanceKindError,
    InvalidActionError,
    InvalidValueError,
)
from .codec import contains, encoder
from .encoding import ENCODERS
from .messages import JSON, CreateRequest, Description, Reply
from .usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import gymnasium

logger = logging.getLogger(__name__)

COUNTERPARTS: Final = {
    "reset": "use resetBatch",
    "step": "use stepBatch",
    "rollout": "use stepBatch",
    "render": "it is not rendered, create a single environment for that",
    "batch_reset": "use resetEnv",
    "batch_step": "use stepEnv",
}
"""What to use, where an operation is asked of the other kind of instance."""


class Served(abc.ABC):
    """One live environment, or a batch of them.

    Attributes:
        OPERATIONS: the operations by name, methods of the class.
        description: what was made.
        is_broken: no further call can be served.
        last_words: why not, where it is broken.
        usage: how much it has been used.
    """

    is_broken = False
    last_words = ""
    OPERATIONS: ClassVar[Mapping[str, Callable[..., Reply]]]

    def __init__(
        self,
        description: Description,
        action_space: gymnasium.Space[Any],
        observation_space: gymnasium.Space[Any],
        seed: int | None,
        usage: Usage | None,
    ) -> None:
        self.description = description
        self.usage = usage or Usage()
        self._action_space = action_space
        self._observation_space = observation_space
        self._encode_sample = encoder(action_space)
        self._action_space.seed(seed)

    def call(self, operation: str, arguments: Mapping[str, Any]) -> Reply:
        """Serve the operation of that name and return its reply.

        Raises:
            UsageError, ConflictError: what the operation refuses.
            InstanceKindError: it is for the other kind of instance.
            EnvironmentRaisedError: the environment raised an exception.
        """
        serve = self.OPERATIONS.get(operation)
        if serve is None:
            lanes = self.description.num_envs
            what = "a single environment" if lanes is None else f"a batch of {lanes}"
            raise InstanceKindError(f"this instance is {what}: {COUNTERPARTS[operation]}", num_envs=lanes)
        self.usage.begin(operation)
        try:
            return serve(self, **arguments)
        finally:
            self.usage.end()

    def sample(self, media_type: str = JSON) -> Reply:
        """Draw from the action space; reply `{"action"}`."""
        return encoded({"action": self._encode_sample(self._action_space.sample())}, media_type)

    def contains_action(self, action: Any, media_type: str = JSON) -> Reply:
        """Reply `{"member"}`: whether the action space contains the value."""
        return encoded({"member": contains(self._action_space, action)}, media_type)

    def contains_observation(self, observation: Any, media_type: str = JSON) -> Reply:
        """Reply `{"member"}`: whether the observation space contains the value."""
        return encoded({"member": contains(self._observation_space, observation)}, media_type)

    def close(self) -> None:
        """Close what is served. What it raises is logged, for there is nobody left whom it concerns."""
        try:
            self._close()
        except Exception:
            logger.exception("closing %s failed", self.description.env_id)

    @abc.abstractmethod
    def _close(self) -> None:
        """Close the library's own object."""


SPACE_OPERATIONS: Final[dict[str, Callable[..., Reply]]] = {
    "sample": Served.sample,
    "contains_action": Served.contains_action,
    "contains_observation": Served.contains_observation,
}


def open_served(request: CreateRequest, *, may_fork: bool = True, usage: Usage | None = None) -> Served:
    """Make what is asked for.

    Args:
        request: what to make.
        may_fork: this process is an environment's own, which may have children.
        usage: where to write how much it is used; None for memory of its own.

    Raises:
        UsageError: it cannot be made as asked.
    """
    if request.num_envs is not None:
        from .batch import Batch

        return Batch(request, may_fork=may_fork, usage=usage)
    for name, given in (
        ("vectorization_mode", request.vectorization_mode != "auto"),
        ("autoreset_mode", request.autoreset_mode is not None),
    ):
        if given:
            raise InvalidValueError(f"{name} is for a batch: give num_envs as well, or leave {name} out")
    from .environment import Environment

    return Environment(request, usage=usage)


def encoded(value: Any, media_type: str) -> Reply:
    """Return a value as a reply in one of the media types of `encoding.ENCODERS`."""
    return Reply(ENCODERS[media_type](value), media_type)


@contextlib.contextmanager
def calling(operation: str, refused: type[GymHttpServerError] | None = None) -> Iterator[None]:
    """Turn whatever the environment raises into an error of ours; `refused` is the class where the caller's to blame."""
    try:
        yield
    except GymHttpServerError:
        raise
    except (Exception, SystemExit) as error:
        if refused is None:
            logger.exception("the environment raised during %s", operation)
        cls = refused or EnvironmentRaisedError
        raise cls(f"the environment raised {type(error).__name__} during {operation}: {error}") from error


def outside(action: Any, space: gymnasium.Space[Any], reason: str | None) -> InvalidActionError:
    """Return the error for an action that is not in its space."""
    because = f" ({reason})" if reason else ""
    return InvalidActionError(f"action {_short(action)} is not in the action space {_short(space)}{because}")


def number(reward: Any) -> float:
    """Return a reward as a float, whatever numeric type the environment gave."""
    return float(reward) if isinstance(reward, (float, int, np.generic)) else float(np.asarray(reward).item())


def as_object(info: Any) -> Any:
    """Return what the environment tells as an object with names."""
    if isinstance(info, dict):
        return info
    return {} if info is None else {"info": info}


def _short(value: Any, limit: int = 200) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}…"
