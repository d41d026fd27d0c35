"""Operations of the tag `batches`: reset and step of many environments at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .episodes import seed_of

if TYPE_CHECKING:
    from ...instances.directory import Instances
    from ...runtime.messages import Reply
    from ..call import Call
    from .lookups import OptionsCheck


class BatchHandlers:
    """Handlers of the tag `batches`.

    Args:
        instances: the live instances.
        options: checks the options of a reset.
    """

    def __init__(self, instances: Instances, options: OptionsCheck) -> None:
        self._options = options
        self._instances = instances

    async def reset_batch(self, call: Call, instance_id: str, body: Any = None) -> Reply:
        """Start an episode in every lane."""
        asked = body if isinstance(body, dict) else {}
        await self._options.check(asked.get("options"))
        arguments = {name: asked.get(name) for name in ("options", "reset_mask")}
        arguments |= {name: seed_of(asked, name) for name in ("seed", "seeds")}
        arguments = call.arguments(**arguments)
        if asked.get("types"):
            arguments["types"] = True
        return await self._instances.get(instance_id).call("batch_reset", arguments)

    async def step_batch(self, call: Call, instance_id: str, body: dict[str, Any]) -> Reply:
        """Take an action in every lane."""
        arguments = call.arguments(actions=body["actions"])
        if body.get("types"):
            arguments["types"] = True
        return await self._instances.get(instance_id).call("batch_step", arguments)
