"""`OpenenvEpisode`: what a step and a reset of OpenEnv ask of an instance, and what is told of the reply. It waits for nothing.

The server has it, and the environment's process where that serves the WebSocket.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

import orjson

from .frames import observed
from .messages import action_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_SEED: Final = 2**53 - 1
"""Maximum seed that is a number in the contract; a larger one is text."""

RESET_MEMBERS: Final = ("seed", "options")
"""Members of a reset that reach the environment; OpenEnv drops those that an environment does not take."""

_SPACE_MEMBERS: Final = ("name", "keys", "start", "n")
"""Members of a description that are read here; those of an image are long."""

_TYPES: Final = {"episode_id": (str,), "seed": (int, str), "step_count": (int,), "total": (int, float)}


class OpenenvEpisode:
    """The episode that an instance is in.

    Args:
        action_space: the description of the action space.
        observation_space: that of the observation space.
        meanings: what each value of a Discrete action space means.

    Attributes:
        action_space: as given.
        episode_id: the id that the client gave the episode; None without one.
        seed: the seed of the episode; None without one.
        step_count: steps taken in it; None before the first episode.
        total: the sum of its rewards; None where they are no numbers.
        encoded: the latest observation in OpenEnv's form, as JSON; empty before the first episode.
        series: how the ids begin that the environment's process gives to episodes; empty while it gives none.
    """

    def __init__(
        self, action_space: Mapping[str, Any], observation_space: Mapping[str, Any], meanings: Sequence[str] = ()
    ) -> None:
        self.action_space = action_space
        self._observation_space = observation_space
        self._meanings = meanings
        self.episode_id: str | None = None
        self.seed: Any = None
        self.step_count: int | None = None
        self.total: Any = None
        self.encoded = b""
        self.series = ""

    def step_body(self, data: Any) -> dict[str, Any]:
        """Return the body of stepEnv for an action as a client sent it.

        Raises:
            InvalidActionError: it is a text that means nothing here.
        """
        return {"action": action_of(self.action_space, data, self._meanings)}

    def stepped(self, reply: bytes, further: Mapping[str, Any] | None = None) -> bytes:
        """Note a reply of stepEnv; return it in OpenEnv's form, with further members of the metadata."""
        self.step_count = (self.step_count or 0) + 1
        self.encoded, reward = observed(self._observation_space, reply, further)
        is_number = isinstance(reward, int | float) and self.total is not None
        self.total = self.total + reward if is_number else None
        return self.encoded

    @staticmethod
    def reset_body(data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of resetEnv for a reset as a client sent it."""
        body = {name: data[name] for name in RESET_MEMBERS if data.get(name) is not None}
        seed = body.get("seed")
        if type(seed) is int and seed > MAX_SEED:
            body["wide_seed"] = str(body.pop("seed"))
        return body

    def began(self, data: Mapping[str, Any]) -> None:
        """Note a reset that is done."""
        self.episode_id, self.seed = data.get("episode_id"), self.reset_body(data).get("seed")
        self.step_count, self.total = 0, 0.0

    def observed(self, reply: bytes, further: Mapping[str, Any] | None = None) -> bytes:
        """Note the reply to that reset; return it in OpenEnv's form, with further members of the metadata."""
        self.encoded, _ = observed(self._observation_space, reply, further)
        return self.encoded

    def has_id(self, episode_id: str) -> bool:
        """Return whether this is the id of the episode, or may be because the environment's process gives the ids."""
        return episode_id == self.episode_id or bool(self.series and episode_id.startswith(self.series))

    def state(self) -> dict[str, Any]:
        """Return the state in OpenEnv's form."""
        return {"episode_id": self.episode_id, "step_count": self.step_count or 0}

    @property
    def latest(self) -> dict[str, Any]:
        """The latest observation in OpenEnv's form; empty before the first episode."""
        told: dict[str, Any] = orjson.loads(self.encoded) if self.encoded else {}
        return told

    # Between the server and the environment's process

    def to_wire(self) -> dict[str, Any]:
        """Return what the environment's process has to know, as plain values."""
        self.series = f"{uuid.uuid4()}-"
        return {
            "series": self.series,
            "spaces": [_brief(self.action_space), _brief(self._observation_space)],
            "meanings": list(self._meanings),
            "so_far": {name: getattr(self, name) for name in _TYPES},
        }

    @classmethod
    def from_wire(cls, told: Mapping[str, Any]) -> OpenenvEpisode:
        """Return the episode in the environment's process, without its latest observation."""
        action_space, observation_space = told["spaces"]
        episode = cls(action_space, observation_space, told["meanings"])
        episode.series = told["series"]
        for name, value in told["so_far"].items():
            setattr(episode, name, value)
        return episode

    def note(self) -> bytes:
        """Return what has become of it in the environment's process."""
        return orjson.dumps({name: getattr(self, name) for name in _TYPES}) + b"\n" + self.encoded

    def take(self, note: bytes) -> None:
        """Go on from a note of the environment's process, where third-party code runs.

        Raises:
            ValueError: it has another form.
        """
        head, _, encoded = note.partition(b"\n")
        told = orjson.loads(head)
        if not isinstance(told, dict) or told.keys() != _TYPES.keys():
            raise ValueError("a note on an episode has other members")
        if any(value is not None and not isinstance(value, _TYPES[name]) for name, value in told.items()):
            raise ValueError("a note on an episode has values of other types")
        if encoded:
            latest = orjson.loads(encoded)
            if not (isinstance(latest, dict) and isinstance(latest.get("metadata"), dict) and "observation" in latest):
                raise ValueError("a note on an episode has an observation in another form")
            self.encoded = encoded
        for name, value in told.items():
            setattr(self, name, value)
        self.series = ""


def _brief(space: Mapping[str, Any]) -> dict[str, Any]:
    return {name: space[name] for name in _SPACE_MEMBERS if name in space}
