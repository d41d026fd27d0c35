"""What an instance serves: the base class of an environment and a batch, with the calls that both have.

A call takes plain values and arrays and returns an encoded `Reply`: encoding happens beside the environment, and the server
never looks inside an observation.
"""

from __future__ import annotations

import abc
import logging
from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import (
    EnvironmentDiedError,
    GymHttpServerError,
    InstanceKindError,
    InvalidActionError,
    InvalidValueError,
    NotCopyableError,
    ResetNeededError,
)
from ..idempotency import ONCE, ReplyCache
from ..making.construct import render_modes
from ..messages import JSON, MSGPACK, Description, Reply
from ..operations import CALLS, HELD, Kind
from ..shared.usage import Usage
from ..sharing.holds import HOLD, Holds
from ..sharing.summary import summarised
from ..snapshots.snapshots import Snapshots
from ..values.rendered_frame import encode_frame, filmable, goes_packed, packable
from .recording_calls import RecordingCalls
from .space_calls import SpaceCalls, calling, encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import gymnasium

    from ..messages import CreateRequest
    from ..sharing.live import LiveEpisode, LiveLanes

logger = logging.getLogger(__name__)


class Served(SpaceCalls, RecordingCalls):
    """One live environment, or a batch of them.

    Attributes:
        KIND: the kind of instance.
        STATE: names of the attributes that a snapshot saves beside the environment.
        description: description of the instance.
        is_broken: no further call can be served.
        last_words: the reason, if it is broken.
        usage: its counters.
    """

    KIND: ClassVar[Kind]
    STATE: ClassVar[tuple[str, ...]]
    _calls: ClassVar[Mapping[str, Callable[..., Reply]]]

    is_broken = False
    last_words = ""
    _stays = ""
    """Why the environment's state cannot be read here; empty if it can."""
    _holds: Holds | None = None
    """Who holds the instance; None if nobody does."""
    _live: LiveEpisode | LiveLanes

    def __init_subclass__(cls) -> None:
        """Collect the methods that the table of operations names for this kind."""
        cls._calls = {call: getattr(cls, call) for call, each in CALLS.items() if each.kind in (cls.KIND, None)}

    def __init__(
        self,
        description: Description,
        action_space: gymnasium.Space[Any],
        observation_space: gymnasium.Space[Any],
        request: CreateRequest,
        usage: Usage | None,
        *,
        owns_process: bool,
    ) -> None:
        self.description = description
        self.usage = usage or Usage()
        self._action_space, self._observation_space = action_space, observation_space
        self._reply_cache = ReplyCache()
        self._snapshots = Snapshots(owns_process=owns_process)
        self._request = request
        self._seed = None if request.seed is None else int(request.seed)
        self._action_space.seed(self._seed)

    def call(self, operation: str, arguments: Mapping[str, Any]) -> Reply:
        """Run a call of the table of operations and return its reply.

        Args:
            operation: the call.
            arguments: its arguments; with the members of an `IdempotencyKey` under `ONCE` it runs only once, with the token
                of a hold under `HOLD` it is the holder's.

        Raises:
            UsageError, ConflictError: the call is refused.
            KeyReusedError: the key is that of another call.
            InstanceKindError: the call is for the other kind of instance.
            EnvironmentRaisedError: the environment raised an exception.
        """
        serve = self._calls.get(operation)
        if serve is None:
            lanes = self.description.num_envs
            what = "a single environment" if lanes is None else f"a batch of {lanes}"
            raise InstanceKindError(f"this instance is {what}: {CALLS[operation].instead}", num_envs=lanes)
        if ONCE in arguments:
            others = dict(arguments)
            return self._reply_cache.of(others.pop(ONCE), lambda: self._serve(operation, serve, others))
        return self._serve(operation, serve, arguments)

    def _serve(self, operation: str, serve: Callable[..., Reply], arguments: Mapping[str, Any]) -> Reply:
        if self._holds is not None or HOLD in arguments:
            arguments = self._admitted(operation, arguments)
        self.usage.begin(operation)
        try:
            return serve(self, **arguments)
        except EnvironmentDiedError as error:
            self.is_broken, self.last_words = True, error.detail
            raise
        finally:
            self.usage.end()

    def _admitted(self, operation: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arguments without the token of a hold, if the call is not refused."""
        others = dict(arguments)
        token = others.pop(HOLD, None)
        holds = self._holds or Holds()
        if operation in HELD:
            holds.admit(token)
        self._holds = holds if holds else None
        return others

    def hold(
        self, token: str | None, mode: str | None = None, name: str | None = None, seconds: float | None = None
    ) -> Reply:
        """Begin a hold, or renew that of a token; reply `{"token", "mode", "name", "seconds", "until", "announced"}`.

        The arguments are those of `Holds.hold`.

        Raises:
            HoldEndedError: there is no hold to renew.
            InstanceHeldError: somebody else has the exclusive hold.
        """
        holds = self._holds or Holds()
        token = holds.hold(token, mode, name, seconds)
        self._holds = holds
        self.usage.count_leap()
        return encoded({"token": token, **(holds.state(token) or {}), "announced": holds.state()}, JSON)

    def release(self, token: str | None, force: bool = False) -> Reply:
        """End the hold of a token, or with `force` all; reply `{"released", "announced"}`."""
        holds = self._holds or Holds()
        is_released = holds.release(token, force=force)
        self._holds = holds if holds else None
        self.usage.count_leap()
        return encoded({"released": is_released, "announced": holds.state()}, JSON)

    def claim(self) -> Reply:
        """Reply `{}`, and reserve the idempotency key of a closing, which no other call may have."""
        return encoded({}, JSON)

    def render(self, media_types: Sequence[str], lane: int | None = None) -> Reply:
        """Reply the current frame of a lane, in the first of the media types that the render mode allows.

        MessagePack holds `{"frame"}`, or `{"frames"}` of all lanes of a batch if `lane` is None.

        Args:
            media_types: the client's media types, the best first.
            lane: the lane; None for the first one.

        Raises:
            RenderModeError: the render mode gives no frame.
            RenderFormatError: the frame has none of the media types.
            ResetNeededError: the first reset is missing.
            InvalidValueError: the lane does not exist.
        """
        mode = filmable(self.description.render_mode, render_modes(self._environment))
        if not self._has_reset:
            raise ResetNeededError("render before the first reset: call reset first")
        lanes = self._asked_lanes(lane)
        with calling("render"):
            if lane is None and self.description.num_envs is not None and goes_packed(mode, media_types):
                frames = [packable(frame, mode) for frame in self._frames(lanes)]
                return encoded({"frames": frames}, MSGPACK)
            [frame] = self._frames(lanes[:1])
            return Reply(*encode_frame(frame, mode, media_types))

    def live(
        self, lane: int | None = None, max_elements: int | None = None, after_episode: int = 0, media_type: str = JSON
    ) -> Reply:
        """Reply what viewers see: the contract's `LiveState`.

        Args:
            lane: the lane of a batch; None for all.
            max_elements: maximum number of elements of an array; larger ones are summarised.
            after_episode: number of the episode after which episodes are told.
            media_type: the media type of the reply.

        Raises:
            InvalidValueError: the lane does not exist.
        """
        lanes = self._asked_lanes(lane)
        with calling("live"):
            told = self._live_lanes(lanes)
        if max_elements is not None:
            for each in told:
                each.update({name: summarised(each[name], max_elements) for name in ("observation", "action")})
        usage = self.usage
        reply = {
            "version": usage.version,
            "steps": usage.steps,
            "episodes": usage.episodes,
            "lanes": [{"lane": number, **each} for number, each in zip(lanes, told, strict=True)],
            "latest_episodes": self._live.episodes.after(after_episode),
            "hold": None if self._holds is None else self._holds.announced,
        }
        return encoded(reply, media_type)

    def _asked_lanes(self, lane: int | None) -> Sequence[int]:
        count = self.description.num_envs or 1
        if lane is None:
            return range(count)
        if lane >= count:
            lanes = "only lane 0" if count == 1 else f"the lanes 0 to {count - 1}"
            raise InvalidValueError(f"there is no lane {lane}: this instance has {lanes}")
        return (lane,)

    def snapshot_create(self, limit: int, media_type: str = JSON) -> Reply:
        """Save the state; reply `{"snapshot_id"}`.

        Args:
            limit: maximum number of snapshots.
            media_type: the media type of the reply.

        Raises:
            ResetNeededError: the first reset is missing.
            TooManySnapshotsError: the limit is reached.
            NotCopyableError: the environment cannot be copied.
        """
        if self._stays:
            raise NotCopyableError(f"a snapshot cannot be taken: {self._stays}")
        if not self._has_reset:
            raise ResetNeededError("snapshot before the first reset: call reset first")
        with calling("snapshot"):
            snapshot_id = self._snapshots.create(
                {name: getattr(self, name) for name in self.STATE},
                self._environment,
                (self._action_space, self._observation_space),
                render=self._frame_to_keep,
                steps=self.usage.steps,
                limit=limit,
            )
        # The same frame as after restoring: a wrapper may draw another one each time.
        self._keep_frame(self._snapshots.get(snapshot_id).frame)
        return encoded({"snapshot_id": snapshot_id}, media_type)

    def snapshot_list(self, limit: int) -> Reply:
        """Reply `{"snapshots", "limit"}`, the oldest first."""
        return encoded({"snapshots": self._snapshots.descriptions(), "limit": limit}, JSON)

    def snapshot_restore(self, snapshot_id: str, media_type: str = JSON) -> Reply:
        """Restore a snapshot; reply its latest observation, and `types` where there are any (see `value_types`).

        Raises:
            UnknownSnapshotError: the snapshot does not exist.
            NotCopyableError: the state cannot be restored; it is unchanged.
        """
        snapshot = self._snapshots.get(snapshot_id)
        snapshot.saved.put_back()
        for name, value in snapshot.own.items():
            setattr(self, name, value)
        self.usage.count_leap()
        self._follow_spaces()
        if self._monitor is not None:
            self._monitor.interrupt()
        self._keep_frame(snapshot.frame)
        return encoded(self._observed(packed=media_type == MSGPACK), media_type)

    def snapshot_delete(self, snapshot_id: str, media_type: str = JSON) -> Reply:
        """Delete a snapshot; reply `{}`.

        Raises:
            UnknownSnapshotError: the snapshot does not exist.
        """
        self._snapshots.delete(snapshot_id)
        return encoded({}, media_type)

    def close(self) -> None:
        """Close the environment. Exceptions are logged: no client waits for them."""
        try:
            self._close_monitor()
        except GymHttpServerError as error:
            logger.warning("what was recorded of %s is lost: %s", self.description.env_id, error)
        self._snapshots.clear()
        try:
            self._close()
        except Exception:
            logger.exception("closing %s failed", self.description.env_id)

    @property
    def _live_state(self) -> Any:
        return self._live.state

    @_live_state.setter
    def _live_state(self, saved: Any) -> None:
        self._live.state = saved

    @abc.abstractmethod
    def _live_lanes(self, lanes: Sequence[int]) -> list[dict[str, Any]]:
        """Return the members of the contract's `LiveLane` of some lanes but for their number."""

    @abc.abstractmethod
    def _observed(self, *, packed: bool) -> dict[str, Any]:
        """Return the members of a reply that hold the latest observation and its types."""

    def _frame_to_keep(self) -> Any:
        """Return the frame to save in a snapshot; None if the environment draws it again."""
        return None

    def _keep_frame(self, frame: Any) -> None:
        """Render this frame until the next step or reset; None to render the environment."""

    @abc.abstractmethod
    def _close(self) -> None:
        """Close the environment of the library."""


def outside(action: Any, space: gymnasium.Space[Any], reason: str | None) -> InvalidActionError:
    """Return the error for an action outside its space."""
    because = f" ({reason})" if reason else ""
    return InvalidActionError(f"action {_short(action)} is not in the action space {_short(space)}{because}")


def as_object(info: Any) -> Any:
    """Return an `info` as a dict."""
    if isinstance(info, dict):
        return info
    return {} if info is None else {"info": info}


def _short(value: Any, limit: int = 200) -> str:
    # Cut first: each item takes at least one character.
    text = repr(value[: limit + 1] if isinstance(value, list | str | bytes) else value)
    return text if len(text) <= limit else f"{text[:limit]}…"
