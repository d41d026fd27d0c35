"""A session of one environment: `/mcp/<env_id>`, whose tools have the schema of that environment's actions.

The environment is made when the session begins, and by `reset` where it has ended, so a model has nothing to find and to make.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl

from ...errors import UnknownInstanceError
from .catalog import catalog
from .player import Player, described

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .catalog import Tool
    from .environment import PlayedEnvironment
    from .outcome import Outcome
    from .rules import Rules
    from .session import Session

_LEFT_OUT = ("list_environments", "create", "close")
_OPTIONS = ("render_mode", "max_episode_steps")


class PinnedPlayer(Player):
    """The tools of a session of one environment.

    Args:
        session: owns the instance.
        rules: what the session may do.
        body: the body of createEnv.
    """

    _HOW_TO_BEGIN: ClassVar = "reset makes one"
    _HOW_TO_GO_ON: ClassVar = "reset makes another"

    def __init__(self, session: Session, rules: Rules, body: Mapping[str, Any]) -> None:
        super().__init__(session, rules, _without_choice(catalog(rules)))
        self._body = body
        self._environment: PlayedEnvironment | None = None

    async def begin(self) -> None:
        """Make the environment, whose actions the tools then have.

        Raises:
            GymHttpServerError, HttpProblem: it cannot be made.
        """
        environment = self._environment = (await self._make(self._body)).environment
        about = f"{environment.told()['env_id']}. {environment.in_words()}"
        self.instructions = (
            f"An environment to act in: {about}\nStart an episode with reset, and take actions with step until it ends; the aim is a "
            "high sum of rewards. describe_environment tells more."
        )
        self.tools = {name: _with_actions(tool, environment) for name, tool in self.tools.items()}

    async def _reset(self, given: Mapping[str, Any]) -> Outcome:
        self._budget.check()
        if not self._instances:
            await self._make(self._body)
        return await super()._reset(given)

    async def _describe_environment(self, given: Mapping[str, Any]) -> Outcome:  # noqa: ARG002 -- there is one
        if self._environment is None:
            raise UnknownInstanceError("the session has not begun")
        return described(self._environment)


async def player_for(session: Session, rules: Rules, pinned: str = "") -> Player:
    """Return the player of a new session.

    Args:
        session: owns the instances.
        rules: what the session may do.
        pinned: the only environment, as it stands behind `/mcp/`: `ENV_ID`, or `ENV_ID?NAME=VALUE&…` with kwargs, or with
            `render_mode` and `max_episode_steps`, in the encoding of a URL; values are JSON or text. Empty for any environment.

    Raises:
        GymHttpServerError, HttpProblem: the environment cannot be made.
    """
    if not pinned:
        return Player(session, rules)
    env_id, _, query = pinned.partition("?")
    given: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        try:
            given[name] = json.loads(text)
        except ValueError:
            given[name] = text
    options = {name: given.pop(name) for name in _OPTIONS if name in given}
    player = PinnedPlayer(session, rules, {"env_id": env_id, **({"kwargs": given} if given else {}), **options})
    await player.begin()
    return player


def _without_choice(tools: Iterable[Tool]) -> list[Tool]:
    """Return the tools of a session that has one instance."""
    return [
        tool.without(("instance_id", "env_id", "library", "kwargs")) for tool in tools if tool.name not in _LEFT_OUT
    ]


def _with_actions(tool: Tool, environment: PlayedEnvironment) -> Tool:
    """Return a tool whose actions have the environment's schema."""
    if tool.name != "step":
        return tool
    action = environment.told_action_space()
    properties = dict(tool.takes["properties"])
    properties["action"] = {"description": f"{action['description']}.", **action["schema"]}
    properties["actions"] = {**properties["actions"], "items": action["schema"]}
    return tool._replace(takes={**tool.takes, "properties": properties})
