"""`OpenenvPlayer`: one environment of a client of OpenEnv, and the episode that it is in."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import orjson

from ...api.problems import HttpProblem
from ...errors import GymHttpServerError
from ..words import episode_in_words, reward_in_words, value_in_words
from .environments import Facts
from .episode import OpenenvEpisode

if TYPE_CHECKING:
    from ..sessions import AgentSession


class OpenenvPlayer:
    """Plays an instance of a session.

    Args:
        session: owns the instance, and nothing else.
        instance_id: the instance.
        facts: what is known of its environment.

    Attributes:
        session, instance_id, facts: as given.
        episode: the episode that the instance is in.
        is_attached: whether a WebSocket plays it.
        is_closing: whether it ends with its WebSocket.
    """

    def __init__(self, session: AgentSession, instance_id: str, facts: Facts) -> None:
        self.session = session
        self.facts = facts
        self.instance_id = instance_id
        self.episode = OpenenvEpisode(facts.action_space, facts.observation_space, facts.names.meanings)
        self.is_attached = self.is_closing = False

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
        return self.episode.latest

    async def reset_encoded(self, data: dict[str, Any], received: int = 0, *, with_frame: bool = False) -> bytes:
        """The same as JSON, for a message of `received` bytes; with the frame in the metadata where that is asked for."""
        episode, body = self.episode, self.episode.reset_body(data)
        reply = await self.session.reply("resetEnv", body, instance_id=self.instance_id, received=received)
        episode.began(data)
        return episode.observed(reply.body, await self._frame() if with_frame else None)

    async def step(self, data: Any) -> dict[str, Any]:
        """Take an action as a client sent it; return the observation in OpenEnv's form."""
        await self.step_encoded(data)
        return self.episode.latest

    async def step_encoded(self, data: Any, received: int = 0, *, with_frame: bool = False) -> bytes:
        """The same as JSON; see `reset_encoded`."""
        body = self.episode.step_body(data)
        reply = await self.session.reply("stepEnv", body, instance_id=self.instance_id, received=received)
        return self.episode.stepped(reply.body, await self._frame() if with_frame else None)

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

    def resumed(self) -> bytes:
        """Return the latest observation for a client that has come back to it."""
        latest = self.episode.latest
        latest["metadata"] = {**latest["metadata"], "resumed": True, "step_count": self.episode.step_count}
        return orjson.dumps(latest)

    def words(self) -> str:
        """Return the latest observation and how the episode goes, in words."""
        latest = self.episode.latest
        value, metadata = latest["observation"], latest["metadata"]
        space = self.facts.observation_space
        own = value if space["name"] == "Dict" else value.get("observation")
        if space["name"] == "Dict" and "metadata" not in space["keys"]:
            own = {name: part for name, part in value.items() if name != "metadata"}
        parts = [value_in_words(space, own, self.facts.names.observation)]
        if "terminated" in metadata:
            parts.append(reward_in_words(latest["reward"]))
        parts.append(
            episode_in_words(
                self.episode.step_count or 0,
                self.facts.max_steps,
                terminated=metadata.get("terminated", False),
                truncated=metadata.get("truncated", False),
                total=self.episode.total,
            )
        )
        return "; ".join(parts)
