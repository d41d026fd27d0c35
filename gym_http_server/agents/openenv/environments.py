"""The environments of OpenEnv's clients: what is made for the name in a path, and what is known of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ...config import named_environment
from ..sessions import AgentSession
from ..words import Names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...config import Settings
    from ..operations import InProcessOperations

MAX_KNOWN: Final = 256
"""Most environments whose facts are kept."""


class Facts(NamedTuple):
    """What is known of an environment once it was made.

    Attributes:
        library: library and version, such as `gymnasium 1.4.0`.
        render_mode: its render mode; None without one.
        action_space: the description of its action space.
        observation_space: that of its observation space.
        max_steps: steps after which an episode is truncated; None if that is not known.
        documentation: the docstring of its class; empty without one.
        names: the names of the parts of its spaces.
    """

    library: str
    render_mode: str | None
    action_space: Mapping[str, Any]
    observation_space: Mapping[str, Any]
    max_steps: int | None
    documentation: str
    names: Names

    @classmethod
    async def of(cls, session: AgentSession, instance_id: str) -> Facts:
        """Return the facts of an instance."""
        told = await session.call("getEnv", instance_id=instance_id)
        controls = await session.call("getControls", instance_id=instance_id)
        spaces = told["action_space"], told["observation_space"]
        return cls(
            told["library"],
            told["render_mode"],
            *spaces,
            (told.get("specification") or {}).get("max_episode_steps"),
            controls.get("documentation", ""),
            Names.of(controls, *spaces),
        )


class OpenenvEnvironments:
    """What is made for each name.

    Args:
        settings: of which `openenv` is used.
        operations: executes operations.
    """

    def __init__(self, settings: Settings, operations: InProcessOperations) -> None:
        self._named = dict(map(named_environment, settings.openenv))
        self._operations = operations
        self._facts: dict[str, asyncio.Task[Facts]] = {}

    def body(self, name: str) -> dict[str, Any]:
        """Return the body of createEnv for a name: that of `--openenv`, or else the id of an environment."""
        return dict(self._named.get(name) or {"env_id": name})

    async def facts(self, name: str, client: str | None) -> Facts:
        """Return what is known of an environment; it is made and closed once.

        Raises:
            GymHttpServerError: it cannot be made.
            HttpProblem: the same.
        """
        task = self._facts.get(name)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = asyncio.get_running_loop().create_task(self._ask(name, client))
            self._facts[name] = task
            while len(self._facts) > MAX_KNOWN:
                del self._facts[next(iter(self._facts))]
        return await asyncio.shield(task)

    async def _ask(self, name: str, client: str | None) -> Facts:
        session = AgentSession(self._operations, client)
        try:
            made = await session.create(self.body(name))
            return await Facts.of(session, made["instance_id"])
        finally:
            await session.end("its environment is described")
