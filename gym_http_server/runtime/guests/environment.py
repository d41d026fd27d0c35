"""`GuestEnv` and `GuestVectorEnv`: environments of a guest, with the interfaces of Gymnasium."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import iterate

from ..making.vectorize import SingleValues
from .spaces import SpaceOwner, fit, rebuild, unknown_parts
from .wire import CONTROLS, CREATE, RENDER, RESET, STEP, STEPS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .link import GuestLink

MALFORMED: Final = (ValueError, KeyError, AttributeError, OverflowError, AssertionError, IndexError)


class GuestEnv(gymnasium.Env[Any, Any]):
    """One environment of a guest.

    Args:
        link: the connection to the guest.
        lane: which of its environments.
        told: what the guest said of them.
        env_id: the id.

    Attributes:
        stays: why its state cannot be saved, and its tabular model not be read.
    """

    def __init__(self, link: GuestLink, lane: int, told: Mapping[str, Any], env_id: str) -> None:
        self._link = link
        self._lane = lane
        self.stays = f"the environment lives in interpreter {link.name!r}, and this does not cross: use one of the server's own Python"
        self.metadata = told["metadata"]
        self.render_mode = told["render_mode"]
        self.spec = EnvSpec(
            env_id,
            max_episode_steps=told["max_episode_steps"],
            reward_threshold=told["reward_threshold"],
            nondeterministic=told["nondeterministic"],
        )
        self._seed = told["seeds"][lane] if told["seeds"] else None
        self._ready: list[Any] = []
        """What a batch received for this lane."""
        self._set_spaces(told["spaces"])

    @property
    def np_random_seed(self) -> Any:
        """Seed of the environment's generator when it was made; None if it has none."""
        return self._seed

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Start an episode."""
        reply = self._ready.pop() if self._ready else self._link.call(RESET, self._lane, (seed, options))
        try:
            observation, info, spaces = reply
        except (TypeError, ValueError):
            raise self._link.malformed("the result of a reset") from None
        if spaces is not None:
            self._set_spaces(spaces)
        return self._fitted(observation), info

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        """Take one action."""
        reply = self._ready.pop() if self._ready else self._link.call(STEP, self._lane, action)
        try:
            observation, reward, terminated, truncated, info = reply
        except (TypeError, ValueError):
            raise self._link.malformed("the result of a step") from None
        return observation if self._fit is None else self._fitted(observation), reward, terminated, truncated, info

    def render(self) -> Any:
        """Return the current frame."""
        return self._link.call(RENDER, self._lane, None)

    def get_keys_to_action(self) -> dict[Any, Any]:
        """Return the actions that keys give, as far as the environment tells them."""
        return {tuple(keys) if isinstance(keys, list) else keys: action for keys, action in self._controls()[0]}

    def get_action_meanings(self) -> list[Any] | None:
        """Return the meanings of the actions, as far as the environment tells them."""
        meanings: list[Any] | None = self._controls()[1]
        return meanings

    @property
    def documentation(self) -> Any:
        """The docstring of the environment's class."""
        return self._controls()[2]

    def close(self) -> None:
        """Close the environment, and all others of its guest."""
        self._link.close()

    def _controls(self) -> list[Any]:
        told = self._link.call(CONTROLS, self._lane, None)
        is_right = isinstance(told, list) and len(told) == 3 and isinstance(told[0], list)
        if not is_right or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in told[0]):
            raise self._link.malformed("the controls of an environment")
        return list(told)

    def _set_spaces(self, told: Sequence[Any]) -> None:
        try:
            action_space, observation_space = told
            self.action_space, self.observation_space = rebuild(action_space), rebuild(observation_space)
        except MALFORMED as error:
            raise self._link.malformed(f"a space: {error}") from None
        for which, space in enumerate((self.action_space, self.observation_space)):
            for path, part in unknown_parts(space):
                part.owner = SpaceOwner(self._link.call, self._lane, (which, path))
        self._fit = fit(self.observation_space)

    def _fitted(self, observation: Any) -> Any:
        try:
            return observation if self._fit is None else self._fit(observation)
        except (TypeError, ValueError, KeyError):
            return observation


class GuestVectorEnv(SyncVectorEnv):
    """A batch of the environments of one guest, stepped by one request where no wrapper is around them."""

    envs: list[Any]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        lanes: list[Any] = [env.env if type(env) is SingleValues else env for env in self.envs]
        self._guests = lanes if all(type(lane) is GuestEnv for lane in lanes) else []

    @property
    def stays(self) -> str:
        """See `GuestEnv`."""
        return str(self.envs[0].unwrapped.stays)

    def step(self, actions: Any) -> Any:
        """Take an action in every lane."""
        if self._guests:
            waits = self._autoreset_envs if self.autoreset_mode == AutoresetMode.NEXT_STEP else np.zeros(self.num_envs)
            lanes = zip(iterate(self.action_space, actions), waits, strict=True)
            link = self._guests[0]._link
            replies = link.call(STEPS, 0, [None if is_over else (action,) for action, is_over in lanes])
            if not isinstance(replies, list) or len(replies) != self.num_envs:
                raise link.malformed("the results of a batch")
            for guest, reply in zip(self._guests, replies, strict=True):
                guest._ready = [reply]
        return super().step(actions)


def make_lanes(link: GuestLink, request: Mapping[str, Any]) -> tuple[list[GuestEnv], str]:
    """Have a guest make environments; return them with library and version.

    Raises:
        EnvironmentDiedError: the guest ended, or sent something malformed.
        Exception: what the constructor raised.
    """
    told = link.call(CREATE, 0, dict(request))
    if not _is_description(told, request["lanes"]):
        raise link.malformed("a description")
    return [GuestEnv(link, lane, told, request["env_id"]) for lane in range(request["lanes"])], told["library"]


def _is_description(told: Any, lanes: int) -> bool:
    if not isinstance(told, dict):
        return False
    mode, limit, threshold, seeds = (
        told.get(name) for name in ("render_mode", "max_episode_steps", "reward_threshold", "seeds")
    )
    return (
        isinstance(told.get("library"), str)
        and len(told["library"]) < 200
        and (mode is None or isinstance(mode, str))
        and isinstance(told.get("metadata"), dict)
        and (limit is None or (type(limit) is int and limit > 0))
        and (threshold is None or isinstance(threshold, float))
        and isinstance(told.get("nondeterministic"), bool)
        and (seeds is None or (isinstance(seeds, list) and len(seeds) == lanes))
        and isinstance(told.get("spaces"), list)
    )
