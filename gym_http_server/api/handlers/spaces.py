"""Operations of the tag `spaces`: descriptions, samples and membership."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import InvalidValueError
from ..call import json_reply
from ..content.bodies import parse_json
from ..problems import HttpProblem

if TYPE_CHECKING:
    from ...instances.directory import Instances
    from ...runtime.messages import Reply
    from ..call import Call


class SpaceHandlers:
    """Handlers of the tag `spaces`.

    Args:
        instances: the live instances.
    """

    def __init__(self, instances: Instances) -> None:
        self._instances = instances

    async def get_action_space(self, call: Call, instance_id: str) -> Reply:
        """Describe the action space."""
        return json_reply({"info": (await self._instances.get(instance_id).read_spaces()).action_space})

    async def get_observation_space(self, call: Call, instance_id: str) -> Reply:
        """Describe the observation space."""
        return json_reply({"info": (await self._instances.get(instance_id).read_spaces()).observation_space})


class SpacePlans:
    """Plans of the tag `spaces`."""

    def sample_action(self, call: Call) -> dict[str, Any]:
        """Return a random action."""
        return call.arguments()

    def sample_space(self, call: Call, body: dict[str, Any]) -> dict[str, Any]:
        """Return a random value of a space, or of a space inside it."""
        return call.arguments(space=body["space"], part=body.get("part", ""))

    def action_space_contains_value(self, call: Call, x: str) -> dict[str, Any]:
        """Return whether the action space contains a value, given as JSON in the path."""
        try:
            action = parse_json(x.encode("utf-8", "surrogatepass"))
        except HttpProblem as error:
            why = error.detail.replace("the body", "it")
            raise InvalidValueError(
                f"x is to be an action as URL-encoded JSON, such as 1 or %5B0.5%5D; {why}"
            ) from None
        return call.arguments(action=action)

    def action_space_contains(self, call: Call, body: dict[str, Any]) -> dict[str, Any]:
        """Return whether the action space contains a value."""
        return call.arguments(action=body["action"], part=body.get("part", ""))

    def observation_space_contains(self, call: Call, body: dict[str, Any]) -> dict[str, Any]:
        """Return whether the observation space contains a value, or its description has the members of the body."""
        if "observation" in body:
            return call.arguments(observation=body["observation"], part=body.get("part", ""))
        return call.arguments(description=body)
