"""A single environment: decode the arguments of a call, call the environment, encode the reply."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import (
    GymHttpServerError,
    InvalidValueError,
    NoTransitionModelError,
    RenderModeError,
    ReplyTooLargeError,
    ResetNeededError,
)
from ..guests.making import make_guest
from ..making.construct import render_modes
from ..making.declared import declared
from ..making.library import make
from ..making.own_spaces import SPACE_NAMES, given_spaces, own_space
from ..messages import JSON, MSGPACK, CreateRequest, Description, Reply
from ..recording.trajectories.recorder import drawn_seed, repeatable
from ..recording.trajectories.values import frozen
from ..sharing.controls import controls
from ..sharing.live import LiveEpisode
from ..values.action_check import takes
from ..values.codec import checker, decoder, encoder
from ..values.encoding import ENCODERS
from ..values.outcomes import FLAGS, NUMBERS, reduced
from ..values.rendered_frame import filmable, packable
from ..values.spaces import describe
from ..values.value_types import note, note_outcome, note_parts, note_single, observation_note
from .base import Served, as_object, outside
from .rollout import RolloutCalls
from .space_calls import calling, encoded
from .transitions import transition_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import gymnasium

    from ..shared.usage import Usage
    from ..values.outcomes import Parts
    from ..values.value_types import Types


class Environment(RolloutCalls, Served):
    """One live environment.

    Args:
        request: the request to make it.
        owns_process: this process serves only this environment.
        usage: its counters in shared memory; None for private memory.

    Raises:
        UsageError: the request is invalid.
    """

    KIND = "environment"
    STATE = ("_observation", "_under_way", "_has_reset", "_seed", "_live_state")
    _live: LiveEpisode

    def __init__(self, request: CreateRequest, *, owns_process: bool = True, usage: Usage | None = None) -> None:
        made = make(request) if request.interpreter is None else make_guest(request)
        self._environment = made.environment
        self._prepare_action = made.prepare_action
        self._given_spaces = given_spaces(made.environment)
        description = Description(
            made.env_id,
            made.library,
            made.render_mode,
            describe(made.action_space),
            describe(made.observation_space),
            made.notice,
            autoreset_mode="next_step" if request.autoreset else None,
            wrappers=request.wrappers,
            declared=declared(made.environment, made.env_id, request),
            action_check=request.action_check,
        )
        super().__init__(
            description, made.action_space, made.observation_space, request, usage, owns_process=owns_process
        )
        self._compile(made.action_space, made.observation_space)
        self._stays = getattr(made.environment.unwrapped, "stays", "")
        self._is_seeded = False  # no reset had a seed yet
        self._autoreset = request.autoreset
        self._call_timeout = request.call_timeout
        self._observation: Any = None
        self._under_way = False
        self._kept_frame: tuple[int, Any] | None = None
        self._live = LiveEpisode()

    def _compile(self, action_space: gymnasium.Space[Any], observation_space: gymnasium.Space[Any]) -> None:
        self._action_space, self._observation_space = action_space, observation_space
        self._decode_action = decoder(action_space)
        self._is_action = checker(action_space)
        self._encode_observation = encoder(observation_space)
        self._note_observation = observation_note(observation_space)

    def _follow_spaces(self) -> bool:
        given, before = given_spaces(self._environment), self._given_spaces
        if given[0] is before[0] and given[1] is before[1]:
            return False
        with contextlib.suppress(Exception):
            if given == before:
                return False  # a property that makes its space anew
        env_id, own = self.description.env_id, (self._action_space, self._observation_space)
        action_space, observation_space = (
            mine if new is old else own_space(new, name, env_id)
            for new, old, mine, name in zip(given, before, own, SPACE_NAMES, strict=True)
        )
        if action_space is not own[0] and getattr(action_space, "_np_random", None) is None:
            # The seed of the creation makes the samples repeatable.
            action_space.seed(int(own[0].np_random.integers(2**31)))
        self._compile(action_space, observation_space)
        self.usage.count_spaces()
        self.description = replace(
            self.description,
            action_space=describe(action_space),
            observation_space=describe(observation_space),
        )
        self._given_spaces = given
        return True

    def _with_spaces(self, reply: dict[str, Any]) -> dict[str, Any]:
        """Return a reply with the spaces, if they have ever changed."""
        if self.usage.space_changes:
            reply["action_space"] = self.description.action_space
            reply["observation_space"] = self.description.observation_space
        return reply

    def reset(
        self,
        seed: int | str | None = None,
        options: dict[str, Any] | None = None,
        media_type: str = JSON,
        types: bool = False,
    ) -> Reply:
        """Start an episode; reply `{"observation", "info"}`, and the spaces if they have ever changed.

        Args:
            seed: the seed, as a string of decimal digits if it does not fit in 64 bits; None for the seed of the creation
                with the first reset, and for none later.
            options: the options of the environment's reset.
            media_type: the media type of the reply.
            types: reply `types` as well (see `value_types`).
        """
        observation, info = self._reset(None if seed is None else int(seed), options)
        reply = {"observation": self._encode_observation(observation), "info": as_object(info)}
        if types:
            self._note_types(reply, {}, observation, media_type)
        return encoded(self._with_spaces(reply), media_type)

    def step(
        self,
        action: Any,
        media_type: str = JSON,
        render: bool = False,
        limit: int | None = None,
        types: bool = False,
    ) -> Reply:
        """Take one action; reply `{"observation", "reward", "done", "terminated", "truncated", "info"}`, and `outcomes.Parts`.

        With autoreset, the call after the end of an episode resets the environment instead: the reward is 0.

        Args:
            action: the action, encoded.
            media_type: the media type of the reply.
            render: reply `frame` as well, usually uint8 of shape (height, width, 3), or a text. It is None, and `frame_error`
                says why, if there is none or the reply would exceed `limit`.
            limit: maximum size of a reply with a frame, in bytes.
            types: reply `types` as well (see `value_types`).
        """
        decoded = self._decoded(action)
        noted: Types | None = {} if types else None
        parts: Parts | None = None
        reward: float | None
        if not self._has_reset:
            raise ResetNeededError("step before the first reset: call reset first")
        was_reset = self._autoreset and not self._under_way
        if was_reset:
            observation, info = self._reset(None, None)
            reward, terminated, truncated = 0.0, False, False
        else:
            observation, reward, terminated, truncated, info, parts = self._step(decoded, noted)
        done = terminated or truncated
        reply = {
            "observation": self._encode_observation(observation),
            "reward": reward,
            "done": done,
            "terminated": terminated,
            "truncated": truncated,
            "info": as_object(info),
        }
        if parts:
            reply |= parts
            if noted is not None:
                note_parts(parts, noted, packed=media_type == MSGPACK)
        if noted is not None:
            self._note_types(reply, noted, observation, media_type)
        if was_reset:
            self._with_spaces(reply)
        if render:
            return self._with_frame(reply, media_type, limit)
        return Reply(ENCODERS[media_type](reply), media_type)

    def _note_types(self, reply: dict[str, Any], types: Types, observation: Any, media_type: str) -> None:
        self._note_observation(observation, "/observation", types, media_type == MSGPACK)
        if reply["info"]:
            note(reply["info"], "/info", types, media_type == MSGPACK)
        if types:
            reply["types"] = types

    def _with_frame(self, reply: dict[str, Any], media_type: str, limit: int | None) -> Reply:
        whole = encoded(reply | self._shown(), media_type)
        if limit is None or len(whole.body) <= limit:
            return whole
        # The step was taken: the client needs its observation.
        error = f"with its frame {ReplyTooLargeError.of(len(whole.body), limit)}"
        return encoded({**reply, "frame": None, "frame_error": error}, media_type)

    def _shown(self) -> dict[str, Any]:
        """Return `frame` of a step's reply, or why there is none: the step was taken all the same."""
        try:
            mode = filmable(self.description.render_mode, render_modes(self._environment))
            with calling("render"):
                frame = packable(self._frame(), mode)
                if frame is None:
                    raise RenderModeError(f"render mode {mode!r} gave no frame")
                return {"frame": frame}
        except GymHttpServerError as error:
            return {"frame": None, "frame_error": error.detail}

    def transitions(self) -> Reply:
        """Reply the tabular model (see `transitions.transition_model`).

        Raises:
            NoTransitionModelError: the environment has no tabular model.
        """
        if self._stays:
            raise NoTransitionModelError(f"there is no tabular model: {self._stays}")
        with calling("transitions"):
            return encoded(transition_model(self._environment), JSON)

    def controls(self) -> Reply:
        """Reply `{"keys", "meanings"}` (see `controls.controls`)."""
        with calling("controls"):
            return encoded(controls(self._environment, self._part("action")), JSON)

    @property
    def _metadata(self) -> Mapping[str, Any]:
        metadata: Mapping[str, Any] = self._environment.metadata
        return metadata

    def _frames(self, lanes: Sequence[int]) -> Sequence[Any]:  # noqa: ARG002 -- lane 0
        return (self._frame(),)

    def _frame(self) -> Any:
        # Always called: a wrapper may draw random numbers here, and later steps depend on them.
        frame = self._environment.render()
        if self._kept_frame is not None and self._kept_frame[0] == self.usage.steps:
            return self._kept_frame[1]
        return frame

    def _observed(self, *, packed: bool) -> dict[str, Any]:
        types: Types = {}
        self._note_observation(self._observation, "/observation", types, packed)
        reply = {"observation": self._encode_observation(self._observation), **({"types": types} if types else {})}
        return self._with_spaces(reply)

    def _live_lanes(self, lanes: Sequence[int]) -> list[dict[str, Any]]:  # noqa: ARG002 -- lane 0
        told = self._live.told()
        if told["action"] is not None:
            told["action"] = encoder(self._action_space)(told["action"])
        return [{"observation": self._encode_observation(self._observation) if self._has_reset else None, **told}]

    def _frame_to_keep(self) -> Any:
        return None if self.description.render_mode in (None, "human") else self._frame()

    def _keep_frame(self, frame: Any) -> None:
        self._kept_frame = None if frame is None else (self.usage.steps, frame)

    def _close(self) -> None:
        self._environment.close()

    def _reset(self, seed: int | None, options: dict[str, Any] | None) -> tuple[Any, Any]:
        recorder = self._trajectories
        seed = self._seed if seed is None else seed
        if seed is None and recorder is not None and not self._is_seeded:
            seed = drawn_seed()
        with calling("reset", None if options is None else InvalidValueError), repeatable(recorder):
            observation, info = self._environment.reset(seed=seed, options=options)
        self._is_seeded |= seed is not None
        self._seed = None
        self._kept_frame = None
        self._has_reset = self._under_way = True
        self._observation = observation
        self._live.began()
        self.usage.count_leap()
        self._follow_spaces()
        if self._monitor is not None:
            self._monitor.began()
        if recorder is not None:
            recorder.began(0, seed, options, observation, info)
        return observation, info

    def _decoded(self, action: Any, where: str = "", *, is_again: bool = False) -> Any:
        try:
            decoded = self._decode_action(action)
            if self._is_action(decoded):
                return decoded
        except ValueError as error:
            if not is_again and self._follow_spaces():
                return self._decoded(action, where, is_again=True)
            raise outside(action, self._action_space, f"{where}{error}") from None
        if not is_again and self._follow_spaces():  # once: an environment may have another space each time
            return self._decoded(action, where, is_again=True)
        if takes(self._action_space, decoded, self.description.action_check):
            return decoded
        raise outside(action, self._action_space, where.removesuffix(": ") or None)

    def _step(self, action: Any, types: Types | None = None) -> tuple[Any, float | None, bool, bool, Any, Parts | None]:
        recorder = self._trajectories
        taken = None if recorder is None else frozen(action)
        chosen = action
        if self._prepare_action is not None:
            action = self._prepare_action(action)
        parts: Parts | None = None
        reward: float | None
        try:
            observation, reward, terminated, truncated, info = self._environment.step(action)
            outcome = reward, terminated, truncated
            if type(reward) in NUMBERS and type(terminated) in FLAGS and type(truncated) in FLAGS:
                if types is not None:
                    if type(reward) is not float:
                        note_outcome(reward, "/reward", types)
                    if type(terminated) is not bool:
                        note_outcome(terminated, "/terminated", types)
                    if type(truncated) is not bool:
                        note_outcome(truncated, "/truncated", types)
                reward, terminated, truncated = float(reward), bool(terminated), bool(truncated)
            else:
                reward, terminated, truncated, parts = reduced(*outcome)
                if types is not None:
                    note_single(outcome, parts, types)
        except (Exception, SystemExit):
            self._kept_frame = None
            if recorder is not None:
                recorder.failed()
            # Only on failure: entering the context manager takes as long as the rest of this method.
            with calling("step"):
                raise
        self._observation = observation
        ended = terminated or truncated
        self._under_way = not ended
        self.usage.count(1, int(ended))
        self._live.stepped(chosen, reward, parts, terminated, truncated)
        if recorder is not None:
            recorder.stepped(0, taken, observation, outcome, info, ended=ended)
        if self._monitor is not None:
            self._monitor.stepped(reward, parts, ended=ended)
        return observation, reward, terminated, truncated, info, parts
