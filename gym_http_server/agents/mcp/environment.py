"""What the environment of an instance is, in words and as structured content."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..schemas import schema_of
from ..words import Names, space_in_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .session import Session


class PlayedEnvironment:
    """What an environment is, from the replies of getEnv and getControls.

    Attributes:
        action_space: the contract's description of its actions.
        observation_space: the same of its observations.
        names: what it tells of both.
    """

    def __init__(self, details: Mapping[str, Any], controls: Mapping[str, Any]) -> None:
        self._details = details
        self._controls = controls
        self._take(details["action_space"], details["observation_space"])

    def adopt(self, reply: Mapping[str, Any]) -> bool:
        """Take over the spaces that a reply tells of; return whether the action space is another one."""
        before = self.action_space
        if "action_space" in reply and "observation_space" in reply:
            self._take(reply["action_space"], reply["observation_space"])
        return self.action_space != before

    def _take(self, action_space: Mapping[str, Any], observation_space: Mapping[str, Any]) -> None:
        self.action_space, self.observation_space = action_space, observation_space
        self.names = Names.of(self._controls, action_space, observation_space)

    @property
    def max_episode_steps(self) -> int | None:
        """Steps after which an episode is cut off; None if that is not known."""
        steps: int | None = (self._details.get("specification") or {}).get("max_episode_steps")
        return steps

    @property
    def documentation(self) -> str:
        """The docstring of its class; empty where it has none."""
        return str(self._controls.get("documentation") or "")

    def told(self) -> dict[str, Any]:
        """Return the structured content that describes it."""
        return {
            "env_id": self._details["env_id"],
            "library": self._details["library"],
            "render_mode": self._details["render_mode"],
            "max_episode_steps": self.max_episode_steps,
            "reward_threshold": (self._details.get("specification") or {}).get("reward_threshold"),
            "action_space": self.told_action_space(),
            "observation_space": {
                "description": space_in_words(self.observation_space, self.names.observation),
                "schema": schema_of(self.observation_space, names=self.names.observation),
            },
            "action_names": list(self.names.meanings),
        }

    def told_action_space(self) -> dict[str, Any]:
        """Return the structured content that describes its actions."""
        return {
            "description": space_in_words(self.action_space, self.names.action, self.names.meanings),
            "schema": schema_of(self.action_space, self.names.meanings, self.names.action),
        }

    def in_words(self) -> str:
        """Return what it is, in a few lines."""
        told = self.told()
        limit = "" if self.max_episode_steps is None else f", at most {self.max_episode_steps} steps"
        mode = told["render_mode"]
        kind = "texts" if mode == "ansi" else "images"
        frames = "none" if mode is None else f"{kind}, by render or with frame in reset and step"
        return (
            f"Actions: {told['action_space']['description']}.\n"
            f"JSON Schema of an action: {json.dumps(told['action_space']['schema'])}\n"
            f"Observations: {told['observation_space']['description']}.\n"
            f"Episodes: until the environment ends them{limit}. Frames: {frames}."
        )


async def environment_of(session: Session, instance_id: str) -> PlayedEnvironment:
    """Return what an instance's environment is."""
    details = await session.call("getEnv", instance_id=instance_id)
    return PlayedEnvironment(details, await session.call("getControls", instance_id=instance_id))
