"""`Pool`: live instances for generated requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..exchange import NotServed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...client.operations import Operations

LANES = 2
_CLOSING_OPERATIONS = ("closeEnv", "deleteEnv")


class Pool:
    """Live instances for the operations that need one, created on first use.

    Args:
        operations: creates the instances; raises `NotServed` for environments that are not served.
        env_ids: the environments of the instances.
    """

    def __init__(self, operations: Operations, env_ids: tuple[str, ...]) -> None:
        self._operations = operations
        self._snapshots: dict[str, str] = {}
        self._env_ids = env_ids
        self._ids: dict[str, list[str]] = {}
        self._failures: dict[str, Exception] = {}
        self._taken = 0

    def take(self, operation: dict[str, Any]) -> str:
        """Return the next instance for an operation; a new one for an operation that closes it.

        Raises:
            NotServed: no environment of the pool is served.
        """
        if operation["operationId"] in _CLOSING_OPERATIONS:
            return next(self._create())
        kind = "batches" if "batches" in operation["tags"] else "environments"
        if kind in self._failures:
            # Not repeated for each request: the instances of the first attempt are still open.
            raise self._failures[kind]
        if kind not in self._ids:
            try:
                self._ids[kind] = list(self._create(LANES if kind == "batches" else None))
            except Exception as error:
                self._failures[kind] = error
                raise
        self._taken += 1
        return self._ids[kind][self._taken % len(self._ids[kind])]

    def snapshot(self, instance_id: str, operation: dict[str, Any]) -> str:
        """Return a snapshot of an instance; a new one for an operation that deletes it.

        Raises:
            NotServed: the implementation keeps no snapshots.
        """
        if operation["operationId"] == "deleteSnapshot":
            return self._new_snapshot(instance_id)
        if instance_id not in self._snapshots:
            self._snapshots[instance_id] = self._new_snapshot(instance_id)
        return self._snapshots[instance_id]

    def _new_snapshot(self, instance_id: str) -> str:
        """Create a snapshot; delete the oldest ones if the instance is at its limit."""
        listed = self._operations.list_snapshots(instance_id)
        kept, limit = [snapshot["snapshot_id"] for snapshot in listed["snapshots"]], listed["limit"]
        if limit == 0:
            raise NotServed("no snapshots are kept there: the limit is 0")
        for snapshot_id in kept[: max(0, len(kept) + 1 - limit)]:
            self._operations.delete_snapshot(instance_id, snapshot_id)
            if self._snapshots.get(instance_id) == snapshot_id:
                del self._snapshots[instance_id]
        return self._operations.create_snapshot(instance_id)

    def _create(self, lanes: int | None = None) -> Iterator[str]:
        refused: list[NotServed] = []
        for env_id in self._env_ids:
            try:
                instance_id = self._operations.create_env(env_id, num_envs=lanes)["instance_id"]
            except NotServed as error:
                refused.append(error)
                continue
            if lanes is None:
                self._operations.reset_env(instance_id)
            else:
                self._operations.reset_batch(instance_id)
            yield instance_id
        if len(refused) == len(self._env_ids):
            raise NotServed(f"none of {', '.join(self._env_ids)}: {refused[0]}") from refused[0]
