"""One environment and its operations: decode the arguments, call the environment, encode the reply.

Every operation takes plain values and answers a `Reply` that is already encoded, so that encoding happens beside the
environment and the server never looks inside an observation.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import (
    EnvironmentRaisedError,
    GymHttpServerError,
    InvalidActionError,
    InvalidValueError,
    RenderModeError,
    ResetNeededError,
)
from .codec import checker, contains, decoder, encoder
from .encoding import json_bytes
from .frame import encode_frame
from .library import make
from .messages import CreateRequest, Description, Reply
from .spaces import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

logger = logging.getLogger(__name__)


class Environment:
    """One live environment.

    Args:
        request: what to make.

    Raises:
        UsageError: it cannot be made as asked.
    """

    def __init__(self, request: CreateRequest) -> None:
        made = make(request)
        self._environment = made.environment
        self._action_space = made.action_space
        self._observation_space = made.observation_space
        self._prepare_action = made.prepare_action
        try:
            action_space, observation_space = describe(made.action_space), describe(made.observation_space)
        except TypeError as error:
            raise InvalidValueError(f"{made.env_id} has a space that has no JSON form: {error}") from None
        self.description = Description(
            made.env_id, made.library, made.render_mode, action_space, observation_space, made.notice
        )
        self._decode_action = decoder(made.action_space)
        self._is_action = checker(made.action_space)
        self._encode_action = encoder(made.action_space)
        self._encode_observation = encoder(made.observation_space)
        self._seed = request.seed
        self._action_space.seed(request.seed)
        self._has_reset = False

    def call(self, operation: str, arguments: Mapping[str, Any]) -> Reply:
        """Serve the operation of that name in `OPERATIONS` and return its reply.

        Raises:
            UsageError, ConflictError: what the operation refuses.
            EnvironmentRaisedError: the environment raised an exception.
        """
        return OPERATIONS[operation](self, **arguments)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Reply:
        """Start an episode; reply `{"observation", "info"}`. Without a seed the first one takes that of the creation."""
        if seed is None:
            seed, self._seed = self._seed, None
        refused = None if options is None else InvalidValueError
        with _calling("reset", refused):
            observation, info = self._environment.reset(seed=seed, options=options)
        self._has_reset = True
        return Reply(json_bytes({"observation": self._encode_observation(observation), "info": _object(info)}))

    def step(self, action: Any) -> Reply:
        """Take one action; reply `{"observation", "reward", "done", "terminated", "truncated", "info"}`."""
        try:
            decoded = self._decode_action(action)
        except ValueError as error:
            raise self._outside(action, str(error)) from None
        if not self._is_action(decoded):
            raise self._outside(action, None)
        if not self._has_reset:
            raise ResetNeededError("step before the first reset: call reset first")
        if self._prepare_action is not None:
            decoded = self._prepare_action(decoded)
        with _calling("step"):
            observation, reward, terminated, truncated, info = self._environment.step(decoded)
            reward, terminated, truncated = _number(reward), bool(terminated), bool(truncated)
        done = terminated or truncated
        body = json_bytes(
            {
                "observation": self._encode_observation(observation),
                "reward": reward,
                "done": done,
                "terminated": terminated,
                "truncated": truncated,
                "info": _object(info),
            }
        )
        return Reply(body, steps=1, episodes=int(done))

    def sample(self) -> Reply:
        """Draw from the action space; reply `{"action"}`."""
        return Reply(json_bytes({"action": self._encode_action(self._action_space.sample())}))

    def contains_action(self, action: Any) -> Reply:
        """Reply `{"member"}`: whether `step` would take the action."""
        return Reply(json_bytes({"member": contains(self._action_space, action)}))

    def contains_observation(self, observation: Any) -> Reply:
        """Reply `{"member"}`: whether the observation space contains the value."""
        return Reply(json_bytes({"member": contains(self._observation_space, observation)}))

    def render(self, media_types: Sequence[str]) -> Reply:
        """Reply the current frame in the first of the media types that the render mode can give.

        Raises:
            RenderModeError: the environment has no render mode that gives a frame.
            RenderFormatError: none of the media types can be made of the frame.
            ResetNeededError: there has been no reset yet.
        """
        mode = self.description.render_mode
        if mode is None or mode == "human":
            why = "has no render mode" if mode is None else "shows a window (render mode 'human')"
            raise RenderModeError(f"this instance {why}: create it with render_mode 'rgb_array' or 'ansi' for a frame")
        if not self._has_reset:
            raise ResetNeededError("render before the first reset: call reset first")
        with _calling("render"):
            frame = self._environment.render()
            body, media_type = encode_frame(frame, mode, media_types)
        return Reply(body, media_type)

    def close(self) -> None:
        """Close the environment. What it raises is logged, for there is nobody left whom it concerns."""
        try:
            self._environment.close()
        except Exception:
            logger.exception("closing %s failed", self.description.env_id)

    def _outside(self, action: Any, reason: str | None) -> InvalidActionError:
        because = f" ({reason})" if reason else ""
        return InvalidActionError(
            f"action {_short(action)} is not in the action space {_short(self._action_space)}{because}"
        )


OPERATIONS: dict[str, Callable[..., Reply]] = {
    "reset": Environment.reset,
    "step": Environment.step,
    "sample": Environment.sample,
    "contains_action": Environment.contains_action,
    "contains_observation": Environment.contains_observation,
    "render": Environment.render,
}


@contextlib.contextmanager
def _calling(operation: str, refused: type[GymHttpServerError] | None = None) -> Iterator[None]:
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


def _number(reward: Any) -> float:
    return float(reward) if isinstance(reward, (float, int, np.generic)) else float(np.asarray(reward).item())


def _object(info: Any) -> Any:
    if isinstance(info, dict):
        return info
    return {} if info is None else {"info": info}


def _short(value: Any, limit: int = 200) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}…"
