"""Operations of the tag `batches`: reset and step of many environments at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..content.negotiation import form_of
from ..idempotency import named
from ..responses import reply_response
from .episodes import seed_of

if TYPE_CHECKING:
    from ...instances.directory import Instances
    from ...runtime.idempotency import IdempotencyKey
    from ..responses import Response
    from .options import OptionsCheck


class BatchHandlers:
    """Handlers of the tag `batches`.

    Args:
        instances: the live instances.
        options: checks the options of a reset.
    """

    def __init__(self, instances: Instances, options: OptionsCheck) -> None:
        self._options = options
        self._instances = instances

    async def reset(
        self, instance_id: str, body: Any = None, accept: str | None = None, once: IdempotencyKey | None = None
    ) -> Response:
        """Start an episode in every lane."""
        asked = body if isinstance(body, dict) else {}
        await self._options.check(asked.get("options"))
        arguments = {name: asked.get(name) for name in ("options", "reset_mask")}
        arguments |= {name: seed_of(asked, name) for name in ("seed", "seeds")}
        arguments |= {**form_of(accept), **named(once)}
        if asked.get("types"):
            arguments["types"] = True
        return reply_response(await self._instances.get(instance_id).call("batch_reset", arguments))

    async def step(
        self, instance_id: str, body: dict[str, Any], accept: str | None = None, once: IdempotencyKey | None = None
    ) -> Response:
        """Take an action in every lane."""
        arguments = {"actions": body["actions"], **form_of(accept), **named(once)}
        if body.get("types"):
            arguments["types"] = True
        return reply_response(await self._instances.get(instance_id).call("batch_step", arguments))
