"""A batch of environments that step together; each lane is one environment."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.vector.utils import iterate

from ...errors import (
    EnvironmentDiedError,
    EnvironmentFailure,
    InstanceKindError,
    InvalidActionError,
    InvalidValueError,
    ResetNeededError,
)
from ..guests.making import make_guest_batch
from ..making.declared import declared
from ..making.vectorize import ENTRY_POINT, LaneParts, make_batch
from ..messages import JSON, MSGPACK, CreateRequest, Description, Reply
from ..recording.trajectories.recorder import repeatable
from ..recording.trajectories.values import frozen
from ..sharing.live import LiveLanes
from ..values.action_check import takes
from ..values.codec import checker, decoder, encoder
from ..values.lanes import is_of_lanes, lane_info, lane_outcomes, lane_values, object_array
from ..values.outcomes import PARTS, several
from ..values.spaces import describe
from ..values.value_types import note, observation_note
from .base import Served, as_object, outside
from .lane_resets import LaneSeeds, reset_mask_of
from .space_calls import calling, encoded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import gymnasium

    from ...errors import GymHttpServerError
    from ..recording.monitor import Monitor
    from ..shared.usage import Usage
    from ..values.outcomes import Parts
    from ..values.value_types import Types


class Batch(Served):
    """A batch of environments.

    Args:
        request: the request to make it, with `num_envs`.
        may_fork: this process serves only this batch, so that lanes may run in child processes.
        usage: its counters in shared memory; None for private memory.

    Raises:
        UsageError: the request is invalid.
    """

    KIND = "batch"
    STATE = ("_observations", "_ended", "_has_reset", "_seed", "_live_state")
    _live: LiveLanes

    def __init__(self, request: CreateRequest, *, may_fork: bool = True, usage: Usage | None = None) -> None:
        made = make_batch(request, may_fork=may_fork) if request.interpreter is None else make_guest_batch(request)
        # Any: the base class declares int as the seed; its subclasses take lists.
        self._environment = made.environment
        self._lanes = made.environment.num_envs
        action_space, observation_space = (
            made.environment.single_action_space,
            made.environment.single_observation_space,
        )
        self._decode_actions = decoder(made.environment.action_space)
        self._encode_observations = encoder(made.environment.observation_space)
        self._encode_observation = encoder(observation_space)
        description = Description(
            made.env_id,
            made.library,
            made.render_mode,
            describe(action_space),
            describe(observation_space),
            made.notice,
            num_envs=self._lanes,
            vectorization_mode=made.vectorization_mode,
            autoreset_mode=made.autoreset_mode,
            wrappers=request.wrappers,
            declared=declared(made.environment, made.env_id, request),
            action_check=request.action_check,
        )
        super().__init__(description, action_space, observation_space, request, usage, owns_process=may_fork)
        self._are_actions = checker(made.environment.action_space)
        self._is_action = checker(action_space)
        self._note_observations = observation_note(made.environment.observation_space)
        self._note_observation = observation_note(observation_space)
        self._stays = getattr(made.environment.unwrapped, "stays", "")
        self._observations: Any = None
        self._ended = np.zeros(self._lanes, np.bool_)
        self._seeds = LaneSeeds(self._lanes, takes_one=made.vectorization_mode == ENTRY_POINT)
        self._lane_parts = LaneParts(self._lanes)
        self._live = LiveLanes(self._lanes)

    def batch_reset(
        self,
        seed: int | str | None = None,
        seeds: Sequence[int | str | None] | None = None,
        options: dict[str, Any] | None = None,
        reset_mask: list[bool] | None = None,
        media_type: str = JSON,
        types: bool = False,
    ) -> Reply:
        """Start an episode in every lane, or in the lanes of the mask; reply `{"observations", "infos"}`.

        Args:
            seed: seed of the batch; None for the seed of the creation with the first reset, and for none later. A string of
                decimal digits if it does not fit in 64 bits.
            seeds: a seed for each lane, instead of `seed`.
            options: the options of the environments' reset.
            reset_mask: the lanes to reset; None for all.
            media_type: the media type of the reply.
            types: reply `types` as well (see `value_types`).
        """
        options = dict(options or {})
        mask = reset_mask_of(
            options.pop("reset_mask", None) if reset_mask is None else reset_mask,
            self.description,
            has_reset=self._has_reset,
        )
        whose = InvalidValueError if options or seeds is not None else None
        given = dict(options) if options or mask is not None else None  # what each lane gets
        if mask is not None:
            options["reset_mask"] = mask
        chosen = self._seeds.asked(seed, seeds, self._seed)
        recorder = self._trajectories
        if chosen is None and recorder is not None:
            chosen = self._seeds.drawn(mask)
        with self._calling("reset", whose), repeatable(recorder):
            observations, infos = self._environment.reset(seed=chosen, options=options or None)
        values = () if recorder is None else self._each_lane(frozen(observations))
        self._observations = observations
        self._has_reset = True
        self._seed = None
        self._ended[... if mask is None else mask] = False
        begun = np.ones(self._lanes, np.bool_) if mask is None else mask
        self._live.began(begun)
        self.usage.count_leap()
        if self._monitor is not None:
            self._monitor.lanes_began(begun)
        lanes = range(self._lanes) if mask is None else np.flatnonzero(mask).tolist()
        for lane, lane_seed in zip(lanes, self._seeds.given(chosen, lanes), strict=True):
            if recorder is not None:
                recorder.began(lane, lane_seed, given, values[lane], frozen(lane_info(infos, lane)))
        reply = {"observations": self._encode_observations(observations), "infos": self._told(infos)}
        if types:
            self._note_types(reply, observations, infos, media_type)
        return encoded(reply, media_type)

    def batch_step(self, actions: Any, media_type: str = JSON, types: bool = False) -> Reply:
        """Take an action in every lane; reply `{"observations", "rewards", "terminated", "truncated", "infos"}`.

        Where rewards and ends are no single values, the reply also has what `outcomes.several` returns.

        Args:
            actions: an action for each lane, encoded.
            media_type: the media type of the reply.
            types: reply `types` as well (see `value_types`).
        """
        decoded = self._decoded(actions)
        if not self._has_reset:
            raise ResetNeededError("step before the first reset: call resetBatch first")
        if self.description.autoreset_mode == "disabled" and self._ended.any():
            lanes = np.flatnonzero(self._ended).tolist()
            raise ResetNeededError(
                f"the episodes of {_some(lanes)} have ended, and the autoreset mode is 'disabled': "
                "call resetBatch with a reset_mask",
                lanes=lanes,
            )
        recorder = self._trajectories
        taken = None if recorder is None else lane_values(self._environment.action_space, frozen(decoded), self._lanes)
        try:
            observations, rewards, terminated, truncated, infos = self._environment.step(decoded)
            rewards, terminated, truncated = _reals(rewards), _flags(terminated), _flags(truncated)
        except (Exception, SystemExit):
            if recorder is not None:
                recorder.failed()
            # Only on failure: entering the context managers takes as long as the rest of this method.
            with self._calling("step"):
                raise
        self._observations = observations
        resets = int(np.count_nonzero(self._ended)) if self.description.autoreset_mode == "next_step" else 0
        ended_before, self._ended = self._ended, terminated | truncated
        rewards, parts = self._lane_parts.split(rewards, infos, ended_before if resets else None)
        ends = int(np.count_nonzero(self._ended))
        self.usage.count(self._lanes - resets, ends)
        self._live.stepped(decoded, rewards, parts, terminated, truncated, self._ended if ends else None)
        if resets:
            self._live.lanes_reset(ended_before)
        elif ends and self.description.autoreset_mode == "same_step":
            self._live.lanes_reset(self._ended)
        if recorder is not None and taken is not None:
            outcomes = lane_outcomes(rewards, terminated, truncated, parts)
            mode = self.description.autoreset_mode
            was_reset = ended_before if mode == "next_step" else np.zeros_like(ended_before)
            recorder.lanes_stepped(
                taken,
                self._each_lane(frozen(observations)),
                outcomes,
                infos,
                self._ended,
                was_reset,
                mode == "same_step",
            )
        if self._monitor is not None:
            self._record(self._monitor, rewards, ended_before, parts)
        reply = {
            "observations": self._encode_observations(observations),
            "rewards": rewards,
            "terminated": terminated,
            "truncated": truncated,
            "infos": self._told(infos),
        }
        if parts is not None:
            single = ["rewards", "terminated", "truncated"]
            reply |= several(parts, {PARTS.get(name, name): reply[name].tolist() for name in single})
        if types:
            self._note_types(reply, observations, infos, media_type)
        return encoded(reply, media_type)

    def _each_lane(self, observations: Any) -> Sequence[Any]:
        return lane_values(self._environment.observation_space, observations, self._lanes)

    def _note_types(self, reply: dict[str, Any], observations: Any, infos: Any, media_type: str) -> None:
        types: Types = {}
        packed = media_type == MSGPACK
        self._note_observations(observations, "/observations", types, packed)
        rewards = reply.get("rewards")
        if rewards is not None and rewards.dtype != np.float64:
            note(rewards, "/rewards", types, packed)
        components = reply.get("component_rewards")
        if components is not None:
            note(
                components if isinstance(components, np.ndarray) else object_array(components),
                "/component_rewards",
                types,
                packed,
            )
        if infos:
            note(as_object(infos), "/infos", types, packed)
            final = infos.get("final_obs") if isinstance(infos, dict) else None
            if is_of_lanes(final):
                # Each lane's final observation is encoded by its space, and the pointers into it must follow that.
                inside = [pointer for pointer in types if pointer.startswith("/infos/final_obs/")]
                for pointer in inside:
                    del types[pointer]
                for lane, observation in enumerate(final):
                    if observation is not None:
                        self._note_observation(observation, f"/infos/final_obs/{lane}", types, packed)
        if types:
            reply["types"] = types

    def _record(
        self,
        monitor: Monitor,
        rewards: np.ndarray[Any, Any],
        ended_before: np.ndarray[Any, Any],
        parts: list[Parts | None] | None,
    ) -> None:
        mode = self.description.autoreset_mode
        several_rewards = None
        if parts is not None:
            without = np.flatnonzero(np.isnan(rewards)).tolist()
            several_rewards = {lane: each.get("rewards") for lane in without if (each := parts[lane]) is not None}
        monitor.lanes_stepped(rewards, self._ended, ended_before if mode == "next_step" else None, several_rewards)
        if mode == "same_step" and self._ended.any():
            monitor.lanes_began(self._ended)

    @property
    def _metadata(self) -> Mapping[str, Any]:
        metadata: Mapping[str, Any] = self._environment.metadata
        return metadata

    def _frames(self, lanes: Sequence[int]) -> Sequence[Any]:
        if self.description.vectorization_mode == "sync":
            return [self._environment.unwrapped.envs[lane].render() for lane in lanes]
        if self.description.vectorization_mode == "async":
            frames = self._environment.unwrapped.call("render")
        else:
            frames = self._environment.render()
        return [None if frames is None else frames[lane] for lane in lanes]

    def _live_lanes(self, lanes: Sequence[int]) -> list[dict[str, Any]]:
        none = [None] * self._lanes
        taken = self._live.actions
        actions = none if taken is None else lane_values(self._environment.action_space, taken, self._lanes)
        observations = self._each_lane(self._observations) if self._has_reset else none
        encode_action = encoder(self._action_space)
        return [
            {
                "observation": None if observations[lane] is None else self._encode_observation(observations[lane]),
                "action": None if actions[lane] is None else encode_action(actions[lane]),
                **self._live.told(lane),
            }
            for lane in lanes
        ]

    def snapshot_create(self, limit: int, media_type: str = JSON) -> Reply:
        """Save the state of every lane; see `Served.snapshot_create`.

        Raises:
            InstanceKindError: the lanes run in child processes.
        """
        if self.description.vectorization_mode == "async":
            raise InstanceKindError(
                f"this instance is a batch of {self._lanes} processes (vectorization_mode 'async'), whose states cannot be "
                "saved: create it with vectorization_mode 'sync'",
                num_envs=self._lanes,
            )
        return super().snapshot_create(limit, media_type)

    def _observed(self, *, packed: bool) -> dict[str, Any]:
        types: Types = {}
        self._note_observations(self._observations, "/observations", types, packed)
        return {"observations": self._encode_observations(self._observations), **({"types": types} if types else {})}

    def _close(self) -> None:
        if not self.is_broken:
            self._environment.close()
            return
        # Gymnasium's own close waits for the reply of the lane that has gone, and raises before it ends the others.
        batch = self._environment.unwrapped
        batch.closed = True
        for process in batch.processes:
            process.kill()
            process.join()

    def _told(self, infos: Any) -> Any:
        final = infos.get("final_obs") if isinstance(infos, dict) else None
        if is_of_lanes(final):
            encode = self._encode_observation
            infos = {**infos, "final_obs": [None if each is None else encode(each) for each in final]}
        return as_object(infos)

    def _decoded(self, actions: Any) -> Any:
        try:
            decoded = self._decode_actions(actions)
        except ValueError as error:
            raise InvalidActionError(
                f"actions are to be one for each of the {self._lanes} lanes, of {self._action_space}: {error}"
            ) from None
        if not self._are_actions(decoded):
            spaces = self._lane_spaces()
            for lane, action in enumerate(iterate(self._environment.action_space, decoded)):
                if not self._is_action(action) and not takes(spaces[lane], action, self.description.action_check):
                    plain = action.tolist() if isinstance(action, np.ndarray | np.generic) else action
                    raise outside(plain, spaces[lane], f"lane {lane}")
        return decoded

    def _lane_spaces(self) -> Sequence[gymnasium.Space[Any]]:
        """Return the action space of each lane as it is now, which may be another than at the creation."""
        if self.description.vectorization_mode == ENTRY_POINT:
            return [self._action_space] * self._lanes
        with self._calling("action_space"):
            spaces: Sequence[Any] = self._environment.unwrapped.get_attr("action_space")
        return spaces

    @contextlib.contextmanager
    def _calling(self, operation: str, refused: type[GymHttpServerError] | None = None) -> Iterator[None]:
        if self.description.vectorization_mode != "async":
            with calling(operation, refused):
                yield
            return
        # Gymnasium ends the process of a lane that raises, and cannot continue with the others.
        try:
            with calling(operation):
                yield
        except EnvironmentFailure as error:
            self.is_broken = True
            cause = error.__cause__
            ended = isinstance(cause, EOFError | ConnectionError)
            text = "the process of a lane ended" if ended else f"a lane raised {type(cause).__name__}: {cause}"
            self.last_words = f"{text} during {operation}, which ends the batch"
            raise EnvironmentDiedError(self.last_words) from error


def _reals(rewards: Any) -> np.ndarray[Any, Any]:
    array = np.asarray(rewards)
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def _flags(ended: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.asarray(ended, np.bool_)


def _some(lanes: list[int], most: int = 10) -> str:
    text = ", ".join(map(str, lanes[:most]))
    return f"lanes {text}" if len(lanes) <= most else f"lanes {text} and {len(lanes) - most} more"
