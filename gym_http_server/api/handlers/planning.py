"""Operations of the tag `planning`: the tabular model, and snapshots of the state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..call import encoded_reply

if TYPE_CHECKING:
    from ...config import Settings
    from ...instances.directory import Instances
    from ...runtime.messages import Reply
    from ..call import Call


class PlanningHandlers:
    """Handlers of the tag `planning`.

    Args:
        settings: the server's settings.
        instances: the live instances.
    """

    def __init__(self, settings: Settings, instances: Instances) -> None:
        self._limit = settings.max_snapshots
        self._instances = instances

    async def get_transitions(self, call: Call, instance_id: str) -> Reply:
        """Return the tabular model."""
        return await self._instances.get(instance_id).call("transitions", {})

    async def create_snapshot(self, call: Call, instance_id: str) -> Reply:
        """Save the state."""
        arguments = call.arguments(limit=self._limit)
        return await self._instances.get(instance_id).call("snapshot_create", arguments)

    async def list_snapshots(self, call: Call, instance_id: str) -> Reply:
        """List the snapshots."""
        return await self._instances.get(instance_id).call("snapshot_list", {"limit": self._limit})

    async def restore_snapshot(self, call: Call, instance_id: str, snapshot_id: str) -> Reply:
        """Restore a snapshot."""
        arguments = call.arguments(snapshot_id=snapshot_id)
        return await self._instances.get(instance_id).call("snapshot_restore", arguments)

    async def delete_snapshot(self, call: Call, instance_id: str, snapshot_id: str) -> Reply:
        """Delete a snapshot."""
        await self._instances.get(instance_id).call("snapshot_delete", {"snapshot_id": snapshot_id})
        return encoded_reply({}, call.accept)
