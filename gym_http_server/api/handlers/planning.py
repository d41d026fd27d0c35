"""Plans of the tag `planning`: the calls of the tabular model and of snapshots of the state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...config import Settings
    from ..call import Call


class PlanningPlans:
    """Plans of the tag `planning`.

    Args:
        settings: the server's settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._limit = settings.max_snapshots

    def get_transitions(self, call: Call) -> dict[str, Any]:
        """Return the tabular model."""
        return {}

    def create_snapshot(self, call: Call) -> dict[str, Any]:
        """Save the state."""
        return call.arguments(limit=self._limit)

    def list_snapshots(self, call: Call) -> dict[str, Any]:
        """List the snapshots."""
        return {"limit": self._limit}

    def restore_snapshot(self, call: Call, snapshot_id: str) -> dict[str, Any]:
        """Restore a snapshot."""
        return call.arguments(snapshot_id=snapshot_id)

    def delete_snapshot(self, call: Call, snapshot_id: str) -> dict[str, Any]:
        """Delete a snapshot."""
        return call.arguments(snapshot_id=snapshot_id)
