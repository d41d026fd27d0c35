"""Operations of the tag `episodes`: reset, step and render."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..negotiation import acceptable
from ..responses import reply_response

if TYPE_CHECKING:
    from connexion.lifecycle import ConnexionResponse

    from ...instances import Instances

FRAME_TYPES = ("image/png", "image/jpeg", "text/plain")


class EpisodeHandlers:
    """The handlers.

    Args:
        instances: the live instances.
    """

    def __init__(self, instances: Instances) -> None:
        self._instances = instances

    async def reset(self, instance_id: str, body: Any = None) -> ConnexionResponse:
        """Start an episode. Old clients send null, "", [] or nothing: only an object says anything."""
        asked = body if isinstance(body, dict) else {}
        arguments = {"seed": asked.get("seed"), "options": asked.get("options")}
        return reply_response(await self._instances.get(instance_id).call("reset", arguments))

    async def step(self, instance_id: str, body: dict[str, Any]) -> ConnexionResponse:
        """Take one action."""
        return reply_response(await self._instances.get(instance_id).call("step", {"action": body["action"]}))

    async def render(self, instance_id: str, accept: str | None = None) -> ConnexionResponse:
        """Answer the current frame."""
        arguments = {"media_types": acceptable(accept, FRAME_TYPES)}
        return reply_response(await self._instances.get(instance_id).call("render", arguments))
