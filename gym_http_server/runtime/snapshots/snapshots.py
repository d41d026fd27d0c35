"""The snapshots of one instance: whole states of it, by their ids."""

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
        steps: how many steps the instance had taken.
        own: what the instance itself holds beside its environment, by name.
        saved: the content of all that can be reached from both.
        frame: the frame of that moment, where it cannot be drawn from that; or None.
    """

    created_at: datetime
    steps: int
    own: dict[str, Any]
    saved: Saved
    frame: Any


class Snapshots:
    """All of one instance.

    Args:
        owns_process: this process is the environment's own, and so are the random generators of the process.
    """

    def __init__(self, *, owns_process: bool) -> None:
        self._owns_process = owns_process
        self._kinds = Visitors()
        self._kinds_beside = Visitors()
        self._kept: dict[str, Snapshot] = {}
        self._made = 0

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
        """Save a state; return the id of the snapshot, 8 hex digits. The state itself stays as it is.

        Args:
            own: what the instance holds beside its environment, by name.
            environment: the environment.
            spaces: spaces whose random generators are part of the state.
            render: returns the current frame.
            steps: how many steps the instance has taken.
            limit: how many snapshots there may be.

        Raises:
            TooManySnapshotsError: there are as many.
            NotCopyableError: something in the state cannot be copied.
        """
        if len(self._kept) >= limit:
            raise TooManySnapshotsError.of(limit)
        latest = next(reversed(self._kept.values()), None)
        walk = Walk(self._kinds, {} if latest is None else latest.saved.large)
        if not self._owns_process:
            walk.pass_over(PROCESS_WIDE)
        try:
            walk.go((*own.values(), environment, *spaces))
        except NotWalkableError as error:
            raise NotCopyableError(f"the environment cannot be copied: {self._place(environment)}{error}") from None
        if self._owns_process:
            walk.go_through_code(self._kinds_beside)
        saved = walk.finish()
        frame = None
        if saved.needs_frame:
            try:
                frame = render()
            finally:
                saved.undo_drawing()
        self._made += 1
        snapshot_id = f"{self._made:08x}"
        self._kept[snapshot_id] = Snapshot(datetime.now(UTC), steps, own, saved, frame)
        return snapshot_id

    def get(self, snapshot_id: str) -> Snapshot:
        """Return a snapshot.

        Raises:
            UnknownSnapshotError: there is none of that id.
        """
        try:
            return self._kept[snapshot_id]
        except KeyError:
            raise UnknownSnapshotError.of(snapshot_id) from None

    def delete(self, snapshot_id: str) -> None:
        """Forget a snapshot.

        Raises:
            UnknownSnapshotError: there is none of that id.
        """
        self.get(snapshot_id)
        del self._kept[snapshot_id]

    def clear(self) -> None:
        """Forget all of them."""
        self._kept.clear()

    def told(self) -> list[dict[str, Any]]:
        """Return what there is to tell of each, the oldest first: the members of the contract's `Snapshot`."""
        return [
            {
                "snapshot_id": snapshot_id,
                "created_at": each.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "steps": each.steps,
            }
            for snapshot_id, each in self._kept.items()
        ]

    def _place(self, environment: Any) -> str:
        """Return where in an environment that is which cannot be copied, as the beginning of a sentence."""
        layers = [environment]
        while (inner := getattr(layers[-1], "env", None)) is not None and len(layers) < 100:
            layers.append(inner)
        for layer in reversed(layers):
            for name, value in list(vars(layer).items()):
                walk = Walk(self._kinds, {})
                walk.pass_over(layers)
                try:
                    walk.go((value,))
                except NotWalkableError:
                    return f"{type(layer).__name__}.{name}: "
        return ""
