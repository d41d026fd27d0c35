"""`Snapshots`: the saved states of an instance, by id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ...errors import NotCopyableError, TooManySnapshotsError, UnknownSnapshotError
from .saved import NotWalkableError
from .visitors import Visitors
from .walk import PROCESS_WIDE, Walk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .saved import Saved


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of an instance at one moment.

    Attributes:
        created_at: that moment, in UTC.
        steps: number of steps that the instance had taken.
        own: attributes of the instance itself, by name.
        saved: the contents of all objects reachable from `own` and the environment.
        frame: the frame of that moment if it cannot be rendered from the contents, or None.
    """

    created_at: datetime
    steps: int
    own: dict[str, Any]
    saved: Saved
    frame: Any


class Snapshots:
    """The snapshots of an instance.

    Args:
        owns_process: no other environment runs in this process, so that its global state belongs to the environment.
    """

    def __init__(self, *, owns_process: bool) -> None:
        self._owns_process = owns_process
        self._visitors = Visitors()
        self._code_visitors = Visitors()
        self._snapshots: dict[str, Snapshot] = {}
        self._count = 0

    def create(
        self,
        own: dict[str, Any],
        environment: Any,
        spaces: Sequence[Any],
        *,
        render: Callable[[], Any],
        steps: int,
        limit: int,
    ) -> str:
        """Save the state, without changing it; return the id of the snapshot, 8 hex digits.

        Args:
            own: attributes of the instance itself, by name.
            environment: the environment.
            spaces: spaces whose random generators are part of the state.
            render: returns the current frame.
            steps: number of steps that the instance has taken.
            limit: maximum number of snapshots.

        Raises:
            TooManySnapshotsError: the limit is reached.
            NotCopyableError: a part of the state cannot be copied.
        """
        if len(self._snapshots) >= limit:
            raise TooManySnapshotsError.of(limit)
        latest = next(reversed(self._snapshots.values()), None)
        walk = Walk(self._visitors, {} if latest is None else latest.saved.large)
        if not self._owns_process:
            walk.pass_over(PROCESS_WIDE)
        try:
            walk.go((*own.values(), environment, *spaces))
        except NotWalkableError as error:
            raise NotCopyableError(f"the environment cannot be copied: {self._place(environment)}{error}") from None
        if self._owns_process:
            walk.go_through_code(self._code_visitors)
        saved = walk.finish()
        frame = None
        if saved.needs_frame:
            try:
                frame = render()
            finally:
                saved.undo_drawing()
        self._count += 1
        snapshot_id = f"{self._count:08x}"
        self._snapshots[snapshot_id] = Snapshot(datetime.now(UTC), steps, own, saved, frame)
        return snapshot_id

    def get(self, snapshot_id: str) -> Snapshot:
        """Return a snapshot.

        Raises:
            UnknownSnapshotError: there is no snapshot with this id.
        """
        try:
            return self._snapshots[snapshot_id]
        except KeyError:
            raise UnknownSnapshotError.of(snapshot_id) from None

    def delete(self, snapshot_id: str) -> None:
        """Delete a snapshot.

        Raises:
            UnknownSnapshotError: there is no snapshot with this id.
        """
        self.get(snapshot_id)
        del self._snapshots[snapshot_id]

    def clear(self) -> None:
        """Delete all snapshots."""
        self._snapshots.clear()

    def descriptions(self) -> list[dict[str, Any]]:
        """Return the members of the contract's `Snapshot` for each, the oldest first."""
        return [
            {
                "snapshot_id": snapshot_id,
                "created_at": snapshot.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "steps": snapshot.steps,
            }
            for snapshot_id, snapshot in self._snapshots.items()
        ]

    def _place(self, environment: Any) -> str:
        """Return the attribute that cannot be copied, for an error text: `Class.name: `, or an empty text."""
        layers = [environment]
        while (inner := getattr(layers[-1], "env", None)) is not None and len(layers) < 100:
            layers.append(inner)
        for layer in reversed(layers):
            for name, value in list(vars(layer).items()):
                walk = Walk(self._visitors, {})
                walk.pass_over(layers)
                try:
                    walk.go((value,))
                except NotWalkableError:
                    return f"{type(layer).__name__}.{name}: "
        return ""
