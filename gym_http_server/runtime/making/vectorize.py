"""Batches: made by Gymnasium's `make_vec`, or as its `SyncVectorEnv` of adapted gym environments.

https://gymnasium.farama.org/api/vector/
"""

from __future__ import annotations

import functools
import importlib.metadata
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import Autoreset

from ...errors import InvalidValueError
from ...support.foreign_threads import lasting_threads
from ..snapshots.emulator import remember_actions
from ..values.outcomes import FLAGS, NUMBERS, Parts, reduced
from ..values.partial_dict import PartialDict
from ..values.spaces import describe
from .blame import constructing
from .construct import adapted, closing_on_error, construct, make_single, quiet
from .ids import find
from .library import can_be_made, constructor_kwargs
from .own_spaces import with_own_spaces
from .sources.old_interface import layers
from .wrappers import check_names, wrap

if TYPE_CHECKING:
    from ..messages import CreateRequest
    from .ids import Registration

ENTRY_POINT: Final = "vector_entry_point"

AUTORESET_MODES: Final = {mode.name.lower(): mode for mode in AutoresetMode}


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A new batch.

    Attributes:
        environment: a `gymnasium.vector.VectorEnv`.
        env_id: the id that is served.
        library: library and version.
        render_mode: the render mode of its lanes, or None.
        vectorization_mode: `sync`, `async` or `vector_entry_point`.
        autoreset_mode: `next_step`, `same_step` or `disabled`; None if the environment does not declare it.
        notice: a sentence that another id is served than the one requested, or None.
    """

    environment: gymnasium.vector.VectorEnv[Any, Any, Any]
    env_id: str
    library: str
    render_mode: str | None
    vectorization_mode: str
    autoreset_mode: str | None
    notice: str | None


class SingleValues(gymnasium.Wrapper[Any, Any, Any, Any]):
    """The outermost wrapper of a lane: Gymnasium's batches take single values alone, so the parts of outcomes are in `info`.

    A library's own environment is not looked at any more after its first step: its rewards and ends are single values.
    """

    PARTS: Final = "gym_http_server_parts"
    """The name in `info` of `OutcomeParts`."""

    @property
    def described_reward_space(self) -> dict[str, Any] | None:
        """The description of the reward space; None if there is none. Never raises, which would end the process of a lane."""
        try:
            return describe(self.get_wrapper_attr("reward_space"))
        except Exception:  # noqa: BLE001 -- nearly all have none, and third-party code may raise anything
            return None

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one action."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if type(reward) in NUMBERS and type(terminated) in FLAGS and type(truncated) in FLAGS:
            if all(_is_of_library(layer) for layer in layers(self.env)):
                self.__dict__["step"] = self.env.step
            return observation, reward, terminated, truncated, info
        number, terminated, truncated, parts = reduced(reward, terminated, truncated)
        if number is None or parts:
            info = {**(info or {}), self.PARTS: OutcomeParts(parts)}
        return observation, math.nan if number is None else number, terminated, truncated, info


class LaneParts:
    """Takes out of what a batch returned the parts of outcomes that `SingleValues` put into the infos.

    Args:
        lanes: number of lanes.
    """

    def __init__(self, lanes: int) -> None:
        self._lanes = lanes
        self._no_reward: np.ndarray[Any, Any] | None = None

    def split(
        self, rewards: np.ndarray[Any, Any], infos: Any, was_reset: np.ndarray[Any, Any] | None
    ) -> tuple[np.ndarray[Any, Any], list[Parts | None] | None]:
        """Return the single rewards, NaN where there is none, and the parts of each lane's outcome; None if no lane has any."""
        if rewards.ndim > 1:  # of the environment's own vector implementation
            return np.full(self._lanes, np.nan), [{"rewards": row} for row in rewards]
        parts = _taken_parts(infos, self._lanes) if infos else None
        for each in parts or ():
            if each and isinstance(each.get("rewards"), np.ndarray):
                self._no_reward = np.zeros_like(each["rewards"])
                break
        if self._no_reward is not None:
            # Lanes that were only reset have the reward 0, here in the form of the others.
            parts = parts or [None] * self._lanes
            for lane in range(self._lanes):
                if parts[lane] is None and was_reset is not None and was_reset[lane]:
                    parts[lane] = {"rewards": self._no_reward}
                    rewards[lane] = np.nan
        return rewards, parts


def _taken_parts(infos: Any, lanes: int) -> list[Parts | None] | None:
    """Return the parts of each lane's outcome, taken out of the infos; None if no lane has any."""
    parts: list[Parts | None] | None = None
    for holder in (infos, infos.get("final_info")) if isinstance(infos, dict) else ():
        if isinstance(holder, dict) and SingleValues.PARTS in holder:
            row = holder.pop(SingleValues.PARTS)
            del holder[f"_{SingleValues.PARTS}"]
            parts = parts or [None] * lanes
            parts = [old if new is None else new.parts for old, new in zip(parts, row, strict=True)]
    return parts


def _is_of_library(environment: Any) -> bool:
    return type(environment).__module__.partition(".")[0] in ("gymnasium", "gym", "ale_py")


@dataclass(frozen=True, slots=True)
class OutcomeParts:
    """The parts of an outcome; not a dict, which Gymnasium would take apart in `info`."""

    parts: Parts


def make_batch(request: CreateRequest, *, may_fork: bool) -> NewBatch:
    """Make a batch of `request.num_envs` lanes.

    Raises:
        UnknownEnvironmentError: no library registers the id, or it is malformed.
        InvalidValueError: it cannot be made in that mode, a keyword argument is reserved, the environment does not have
            the render mode, or a wrapper does not fit.
        MissingDependencyError: a package that the environment or a wrapper needs is not installed.
        EnvironmentCreationError: the constructor raised.
    """
    kwargs = constructor_kwargs(request)
    check_names(request)
    registration = find(request, can_be_made)
    mode = _mode(registration, request, may_fork=may_fork)
    vector_kwargs: dict[str, Any] = {}
    if mode != ENTRY_POINT:
        # No copy is needed: a reply is encoded before the next call overwrites the observations.
        vector_kwargs = {"copy": False, "autoreset_mode": AUTORESET_MODES[request.autoreset_mode or "next_step"]}
    if mode == "async":
        # A forked lane lacks this process's threads. Without any it is made in milliseconds, a spawned one imports everything again.
        vector_kwargs["context"] = "spawn" if lasting_threads() else "fork"

    def make(registration: Registration, request: CreateRequest, **kwargs: Any) -> Any:
        lanes = request.num_envs or 1
        if registration.library == "gym":
            return SyncVectorEnv(
                [
                    lambda: SingleValues(
                        wrap(adapted(make_single(registration, request, **kwargs), registration, request), request)
                    )
                ]
                * lanes,
                **vector_kwargs,
            )
        if mode != ENTRY_POINT:
            kwargs = {"disable_env_checker": True, **kwargs}
        if request.max_episode_steps is not None:
            kwargs["max_episode_steps"] = request.max_episode_steps
        if mode != ENTRY_POINT:
            kwargs["wrappers"] = [
                functools.partial(_prepared, env_id=registration.env_id, request=request),
                SingleValues,
            ]
        if mode == "async":
            return _make_async(registration, lanes, vector_kwargs, kwargs)
        return gymnasium.make_vec(
            registration.specification, num_envs=lanes, vectorization_mode=mode, vector_kwargs=vector_kwargs, **kwargs
        )

    entry_point = registration.specification.vector_entry_point if mode == ENTRY_POINT else None
    with constructing(registration.env_id, request.kwargs), quiet():
        environment, render_mode = construct(
            registration, {**registration.kwargs, **kwargs}, request, entry_point=entry_point, make=make
        )
        with closing_on_error(environment):
            for lane in environment.unwrapped.envs if mode == "sync" else ():
                remember_actions(lane)
            if mode == "sync":
                environment.unwrapped.env_fns = ()  # Gymnasium 1.1 keeps a generator, which no snapshot could copy
            autoreset_mode = environment.metadata.get("autoreset_mode")
    return NewBatch(
        environment,
        registration.env_id,
        f"{registration.library} {importlib.metadata.version(registration.library)}",
        render_mode,
        mode,
        autoreset_mode.name.lower() if isinstance(autoreset_mode, AutoresetMode) else None,
        registration.notice,
    )


def _make_async(registration: Registration, lanes: int, vector_kwargs: dict[str, Any], kwargs: dict[str, Any]) -> Any:
    """Make a batch with a process per lane, and with shared memory if observations have a fixed layout.

    Gymnasium 1.4.0 refuses shared memory for Graph, Sequence and packages' own spaces, and reads Text and OneOf from it only
    once. Without shared memory, in `next_step`, its processes reset twice if the client resets after an ended episode: there a
    wrapper of each lane does what that mode does.
    """

    def make(**more: Any) -> Any:
        return gymnasium.make_vec(
            registration.specification,
            num_envs=lanes,
            vectorization_mode="async",
            vector_kwargs={**vector_kwargs, **more},
            **kwargs,
        )

    try:
        environment = make()
    except (TypeError, ValueError) as error:
        if "shared_memory" not in str(error):
            raise
    else:
        if _has_fixed_layout(environment.single_observation_space):
            return environment
        environment.close()
    if vector_kwargs["autoreset_mode"] is not AutoresetMode.NEXT_STEP:
        return make(shared_memory=False)
    kwargs = {**kwargs, "wrappers": [*kwargs["wrappers"], Autoreset]}
    environment = make(shared_memory=False, autoreset_mode=AutoresetMode.DISABLED)
    environment.metadata = {**environment.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}
    return environment


def _prepared(environment: Any, env_id: str, request: CreateRequest) -> Any:
    return wrap(with_own_spaces(environment, env_id), request)


def _has_fixed_layout(space: gymnasium.Space[Any]) -> bool:
    if isinstance(space, Dict) and not isinstance(space, PartialDict):
        return all(map(_has_fixed_layout, space.spaces.values()))
    if isinstance(space, Tuple):
        return all(map(_has_fixed_layout, space.spaces))
    return isinstance(space, Box | Discrete | MultiDiscrete | MultiBinary)


def _mode(registration: Registration, request: CreateRequest, *, may_fork: bool) -> str:
    """Return the vectorization mode, or raise `InvalidValueError` if the requested one is not possible."""
    specification, asked = registration.specification, request.vectorization_mode
    own = getattr(specification, "vector_entry_point", None)
    wrappers = getattr(specification, "additional_wrappers", ())
    autoreset = request.autoreset_mode
    if asked == "auto":
        asked = (
            ENTRY_POINT if own is not None and not wrappers and autoreset is None and not request.wrappers else "sync"
        )
    why = None
    if registration.library == "gym" and asked != "sync":
        why = "environments of gym are made in mode 'sync'"
    elif registration.library == "stable-retro" and asked == "sync":
        why = "a process can have one emulator: ask for 'async'"
    elif asked == ENTRY_POINT and own is None:
        why = "it has no vector entry point: ask for 'sync' or 'async'"
    elif asked == ENTRY_POINT and autoreset is not None:
        why = f"a vector entry point takes no autoreset mode (asked for: {autoreset!r}): ask for 'sync' or 'async'"
    elif asked == ENTRY_POINT and request.wrappers:
        why = "a vector entry point takes no wrappers: ask for 'sync' or 'async'"
    elif asked == ENTRY_POINT and wrappers:
        why = "a vector entry point takes no wrappers, and its registration has some: ask for 'sync' or 'async'"
    elif asked != ENTRY_POINT and specification.entry_point is None:
        why = f"it has a vector entry point alone: ask for {ENTRY_POINT!r}, without an autoreset mode and wrappers"
    elif asked == "async" and not may_fork:
        why = "it takes a process for each lane, which the engine 'inline' has not: start the server with --engine process"
    if why is not None:
        raise InvalidValueError(f"{registration.env_id} cannot be made in vectorization_mode {asked!r}: {why}")
    return asked
