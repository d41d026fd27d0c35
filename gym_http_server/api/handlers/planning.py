"""Operations of the tag `planning`: the tabular model, and snapshots of the state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..content.negotiation import form_of
from ..idempotency import named
from ..responses import encoded_response, reply_response

if TYPE_CHECKING:
    from ...config import Settings
    from ...instances.directory import Instances
    from ...runtime.idempotency import IdempotencyKey
    from ..responses import Response


class PlanningHandlers:
    """Handlers of the tag `planning`.

    Args:
        settings: the server's settings.
        instances: the live instances.
    """

    def __init__(self, settings: Settings, instances: Instances) -> None:
        self._limit = settings.max_snapshots
        self._instances = instances

    async def transitions(self, instance_id: str) -> Response:
        """Return the tabular model."""
        return reply_response(await self._instances.get(instance_id).call("transitions", {}))

    async def create(self, instance_id: str, accept: str | None = None, once: IdempotencyKey | None = None) -> Response:
        """Save the state."""
        arguments = {"limit": self._limit, **form_of(accept), **named(once)}
        return reply_response(await self._instances.get(instance_id).call("snapshot_create", arguments))

    async def list(self, instance_id: str) -> Response:
        """List the snapshots."""
        return reply_response(await self._instances.get(instance_id).call("snapshot_list", {"limit": self._limit}))

    async def restore(self, instance_id: str, snapshot_id: str, accept: str | None = None) -> Response:
        """Restore a snapshot."""
        arguments = {"snapshot_id": snapshot_id, **form_of(accept)}
        return reply_response(await self._instances.get(instance_id).call("snapshot_restore", arguments))

    async def delete(self, instance_id: str, snapshot_id: str, accept: str | None = None) -> Response:
        """Delete a snapshot."""
        await self._instances.get(instance_id).call("snapshot_delete", {"snapshot_id": snapshot_id})
        return encoded_response({}, accept)
