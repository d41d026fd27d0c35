"""Operations of the tag `spaces`: descriptions, samples and membership."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import InvalidValueError
from ...support.deferred import np
from ..content.bodies import parse_json
from ..content.negotiation import form_of
from ..problems import HttpProblem
from ..responses import encoded_response, json_response, reply_response

if TYPE_CHECKING:
    from ...instances.directory import Instances
    from ..responses import Response


class SpaceHandlers:
    """Handlers of the tag `spaces`.

    Args:
        instances: the live instances.
    """

    def __init__(self, instances: Instances) -> None:
        self._instances = instances

    async def action_space(self, instance_id: str) -> Response:
        """Describe the action space."""
        return json_response({"info": self._instances.get(instance_id).description.action_space})

    async def observation_space(self, instance_id: str) -> Response:
        """Describe the observation space."""
        return json_response({"info": self._instances.get(instance_id).description.observation_space})

    async def sample_action(self, instance_id: str, accept: str | None = None) -> Response:
        """Return a random action."""
        return reply_response(await self._instances.get(instance_id).call("sample", form_of(accept)))

    async def contains_action_text(self, instance_id: str, x: str, accept: str | None = None) -> Response:
        """Return whether the action space contains a value, given as JSON in the path."""
        instance = self._instances.get(instance_id)
        try:
            action = parse_json(x.encode("utf-8", "surrogatepass"))
        except HttpProblem as error:
            why = error.detail.replace("the body", "it")
            raise InvalidValueError(
                f"x is to be an action as URL-encoded JSON, such as 1 or %5B0.5%5D; {why}"
            ) from None
        return reply_response(await instance.call("contains_action", {"action": action, **form_of(accept)}))

    async def contains_action(self, instance_id: str, body: dict[str, Any], accept: str | None = None) -> Response:
        """Return whether the action space contains a value."""
        arguments = {"action": body["action"], **form_of(accept)}
        return reply_response(await self._instances.get(instance_id).call("contains_action", arguments))

    async def contains_observation(self, instance_id: str, body: dict[str, Any], accept: str | None = None) -> Response:
        """Return whether the observation space contains a value, or its description has the members of the body."""
        instance = self._instances.get(instance_id)
        if "observation" in body:
            arguments = {"observation": body["observation"], **form_of(accept)}
            return reply_response(await instance.call("contains_observation", arguments))
        description = instance.description.observation_space
        member = all(key in description and _plain(body[key]) == description[key] for key in body)
        return encoded_response({"member": member}, accept)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
