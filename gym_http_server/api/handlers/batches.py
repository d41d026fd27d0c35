"""Plans of the tag `batches`: the calls of reset and step of many environments at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .episodes import seed_of

if TYPE_CHECKING:
    from ..call import Call


class BatchPlans:
    """Plans of the tag `batches`."""

    def reset_batch(self, call: Call, body: Any = None) -> dict[str, Any]:
        """Start an episode in every lane."""
        asked = body if isinstance(body, dict) else {}
        arguments = {name: asked.get(name) for name in ("options", "reset_mask")}
        arguments |= {name: seed_of(asked, name) for name in ("seed", "seeds")}
        arguments = call.arguments(**arguments)
        if asked.get("types"):
            arguments["types"] = True
        return arguments

    def step_batch(self, call: Call, body: dict[str, Any]) -> dict[str, Any]:
        """Take an action in every lane."""
        arguments = call.arguments(actions=body["actions"])
        if body.get("types"):
            arguments["types"] = True
        return arguments
