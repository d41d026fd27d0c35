"""`OpenenvPlayer`: one environment of a client of OpenEnv, and the episode that it is in."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import orjson

from ...api.problems import HttpProblem
from ...errors import GymHttpServerError
from ..words import episode_in_words, reward_in_words, value_in_words
from .environments import Facts
from .frames import observed
from .messages import action_of

if TYPE_CHECKING:
    from ..sessions import AgentSession

MAX_SEED: Final = 2**53 - 1
"""Maximum seed that is a number in the contract; a larger one is text."""

RESET_MEMBERS = ("seed", "options")
"""Members of a reset that reach the environment; OpenEnv drops those that an environment does not take."""


class OpenenvPlayer:
    """Plays an instance of a session.

    Args:
        session: owns the instance, and nothing else.
        instance_id: the instance.
        facts: what is known of its environment.

    Attributes:
        session, instance_id, facts: as given.
        episode_id: the id that the client gave the episode; None without one.
        step_count: steps taken in it; None before the first episode.
        seed: the seed of the episode; None without one.
        encoded: the latest observation in OpenEnv's form, as JSON; empty before the first episode.
        is_attached: whether a WebSocket plays it.
        is_closing: whether it ends with its WebSocket.
    """

    def __init__(self, session: AgentSession, instance_id: str, facts: Facts) -> None:
        self.session = session
        self.facts = facts
        self.instance_id = instance_id
        self.episode_id: str | None = None
        self.seed: Any = None
        self.step_count: int | None = None
        self.encoded = b""
        self.is_attached = self.is_closing = False
        self._total: Any = None

    @classmethod
    async def make(cls, session: AgentSession, body: dict[str, Any]) -> OpenenvPlayer:
        """Make an instance by a body of createEnv.

        Raises:
            GymHttpServerError: it cannot be made.
            HttpProblem: the same.
        """
        made = await session.create(body)
        return cls(session, made["instance_id"], await Facts.of(session, made["instance_id"]))

    async def reset(self, data: dict[str, Any]) -> dict[str, Any]:
        """Begin an episode; return its first observation in OpenEnv's form."""
        await self.reset_encoded(data)
        return self.latest

    async def reset_encoded(self, data: dict[str, Any], received: int = 0, *, with_frame: bool = False) -> bytes:
        """The same as JSON, for a message of `received` bytes; with the frame in the metadata where that is asked for."""
        body = {name: data[name] for name in RESET_MEMBERS if data.get(name) is not None}
        seed = body.get("seed")
        if type(seed) is int and seed > MAX_SEED:
            body["wide_seed"] = str(body.pop("seed"))
        reply = await self.session.reply("resetEnv", body, instance_id=self.instance_id, received=received)
        self.episode_id, self.seed, self.step_count, self._total = data.get("episode_id"), seed, 0, 0.0
        further = await self._frame() if with_frame else None
        self.encoded, _ = observed(self.facts.observation_space, reply.body, further)
        return self.encoded

    async def step(self, data: Any) -> dict[str, Any]:
        """Take an action as a client sent it; return the observation in OpenEnv's form."""
        await self.step_encoded(data)
        return self.latest

    async def step_encoded(self, data: Any, received: int = 0, *, with_frame: bool = False) -> bytes:
        """The same as JSON; see `reset_encoded`."""
        facts = self.facts
        body = {"action": action_of(facts.action_space, data, facts.names.meanings)}
        reply = await self.session.reply("stepEnv", body, instance_id=self.instance_id, received=received)
        self.step_count = (self.step_count or 0) + 1
        further = await self._frame() if with_frame else None
        self.encoded, reward = observed(facts.observation_space, reply.body, further)
        is_number = isinstance(reward, int | float) and self._total is not None
        self._total = self._total + reward if is_number else None
        return self.encoded

    async def _frame(self) -> dict[str, Any]:
        """Return the members of the metadata that have the frame. The step is taken, so an error is told there, too."""
        try:
            frame = await self.session.reply("renderEnv", instance_id=self.instance_id, accept="image/png, text/plain")
        except (GymHttpServerError, HttpProblem) as error:
            return {"image": None, "image_error": error.detail}
        if frame.media_type != "image/png":
            return {"image": {"type": "text", "text": frame.body.decode()}}
        data = base64.b64encode(frame.body).decode()
        return {"image": {"type": "image", "data": data, "mimeType": frame.media_type}}

    @property
    def latest(self) -> dict[str, Any]:
        """The latest observation in OpenEnv's form; empty before the first episode."""
        told: dict[str, Any] = orjson.loads(self.encoded) if self.encoded else {}
        return told

    def resumed(self) -> bytes:
        """Return the latest observation for a client that has come back to it."""
        latest = self.latest
        latest["metadata"] = {**latest["metadata"], "resumed": True, "step_count": self.step_count}
        return orjson.dumps(latest)

    def state(self) -> dict[str, Any]:
        """Return the state of the episode."""
        return {"episode_id": self.episode_id, "step_count": self.step_count or 0}

    def words(self) -> str:
        """Return the latest observation and how the episode goes, in words."""
        value, metadata = self.latest["observation"], self.latest["metadata"]
        space = self.facts.observation_space
        own = value if space["name"] == "Dict" else value.get("observation")
        if space["name"] == "Dict" and "metadata" not in space["keys"]:
            own = {name: part for name, part in value.items() if name != "metadata"}
        parts = [value_in_words(space, own, self.facts.names.observation)]
        if "terminated" in metadata:
            parts.append(reward_in_words(self.latest["reward"]))
        parts.append(
            episode_in_words(
                self.step_count or 0,
                self.facts.max_steps,
                terminated=metadata.get("terminated", False),
                truncated=metadata.get("truncated", False),
                total=self._total,
            )
        )
        return "; ".join(parts)
