"""`OpenenvPlayer`: one environment of a client of OpenEnv, and the episode that it is in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..words import episode_in_words, reward_in_words, value_in_words
from .environments import Facts
from .messages import action_of, observed

if TYPE_CHECKING:
    from ..sessions import AgentSession

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
        latest: the latest observation in OpenEnv's form; empty before the first episode.
        is_attached: whether a WebSocket plays it.
        is_closing: whether it ends with its WebSocket.
    """

    def __init__(self, session: AgentSession, instance_id: str, facts: Facts) -> None:
        self.session = session
        self.facts = facts
        self.instance_id = instance_id
        self.episode_id: str | None = None
        self.step_count: int | None = None
        self.latest: dict[str, Any] = {}
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
        body = {name: data[name] for name in RESET_MEMBERS if data.get(name) is not None}
        reply = await self.session.call("resetEnv", body, instance_id=self.instance_id)
        self.episode_id, self.step_count, self._total = data.get("episode_id"), 0, 0.0
        self.latest = observed(self.facts.observation_space, reply)
        return self.latest

    async def step(self, data: Any) -> dict[str, Any]:
        """Take an action as a client sent it; return the observation in OpenEnv's form."""
        action = action_of(self.facts.action_space, data, self.facts.names.meanings)
        reply = await self.session.call("stepEnv", {"action": action}, instance_id=self.instance_id)
        self.step_count = (self.step_count or 0) + 1
        self.latest = observed(self.facts.observation_space, reply)
        reward = self.latest["reward"]
        is_number = isinstance(reward, int | float) and self._total is not None
        self._total = self._total + reward if is_number else None
        return self.latest

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
