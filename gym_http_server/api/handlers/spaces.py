"""Operations of the tag `spaces`: descriptions, samples and membership."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import InvalidValueError
from ..json_body import parse_json
from ..problems import HttpProblem
from ..responses import json_response, reply_response

if TYPE_CHECKING:
    from connexion.lifecycle import ConnexionResponse

    from ...instances import Instances


class SpaceHandlers:
    """The handlers.

    Args:
        instances: the live instances.
    """

    def __init__(self, instances: Instances) -> None:
        self._instances = instances

    async def action_space(self, instance_id: str) -> ConnexionResponse:
        """Describe the action space."""
        return json_response({"info": self._instances.get(instance_id).description.action_space})

    async def observation_space(self, instance_id: str) -> ConnexionResponse:
        """Describe the observation space."""
        return json_response({"info": self._instances.get(instance_id).description.observation_space})

    async def sample_action(self, instance_id: str) -> ConnexionResponse:
        """Answer a random action."""
        return reply_response(await self._instances.get(instance_id).call("sample", {}))

    async def contains_action_text(self, instance_id: str, x: str) -> ConnexionResponse:
        """Answer whether the action space contains the value that the path holds as JSON."""
        instance = self._instances.get(instance_id)
        try:
            action = parse_json(x.encode("utf-8", "surrogatepass"))
        except HttpProblem as error:
            why = error.detail.replace("the body", "it")
            raise InvalidValueError(
                f"x is to be an action as URL-encoded JSON, such as 1 or %5B0.5%5D; {why}"
            ) from None
        return reply_response(await instance.call("contains_action", {"action": action}))

    async def contains_action(self, instance_id: str, body: dict[str, Any]) -> ConnexionResponse:
        """Answer whether the action space contains a value."""
        return reply_response(
            await self._instances.get(instance_id).call("contains_action", {"action": body["action"]})
        )

    async def contains_observation(self, instance_id: str, body: dict[str, Any]) -> ConnexionResponse:
        """Answer whether the observation space contains a value, or has the members of the body in its description."""
        instance = self._instances.get(instance_id)
        if "observation" in body:
            arguments = {"observation": body["observation"]}
            return reply_response(await instance.call("contains_observation", arguments))
        description = instance.description.observation_space
        return json_response({"member": all(key in description and description[key] == body[key] for key in body)})
