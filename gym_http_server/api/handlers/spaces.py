"""Operations of the tag `spaces`: descriptions, samples and membership."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import InvalidValueError
from ...support.deferred import np
from ..call import encoded_reply, json_reply
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
        return json_reply({"info": self._instances.get(instance_id).description.action_space})

    async def get_observation_space(self, call: Call, instance_id: str) -> Reply:
        """Describe the observation space."""
        return json_reply({"info": self._instances.get(instance_id).description.observation_space})

    async def sample_action(self, call: Call, instance_id: str) -> Reply:
        """Return a random action."""
        return await self._instances.get(instance_id).call("sample", call.arguments())

    async def action_space_contains_value(self, call: Call, instance_id: str, x: str) -> Reply:
        """Return whether the action space contains a value, given as JSON in the path."""
        instance = self._instances.get(instance_id)
        try:
            action = parse_json(x.encode("utf-8", "surrogatepass"))
        except HttpProblem as error:
            why = error.detail.replace("the body", "it")
            raise InvalidValueError(
                f"x is to be an action as URL-encoded JSON, such as 1 or %5B0.5%5D; {why}"
            ) from None
        return await instance.call("contains_action", call.arguments(action=action))

    async def action_space_contains(self, call: Call, instance_id: str, body: dict[str, Any]) -> Reply:
        """Return whether the action space contains a value."""
        arguments = call.arguments(action=body["action"])
        return await self._instances.get(instance_id).call("contains_action", arguments)

    async def observation_space_contains(self, call: Call, instance_id: str, body: dict[str, Any]) -> Reply:
        """Return whether the observation space contains a value, or its description has the members of the body."""
        instance = self._instances.get(instance_id)
        if "observation" in body:
            arguments = call.arguments(observation=body["observation"])
            return await instance.call("contains_observation", arguments)
        description = instance.description.observation_space
        member = all(key in description and _plain(body[key]) == description[key] for key in body)
        return encoded_reply({"member": member}, call.accept)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
