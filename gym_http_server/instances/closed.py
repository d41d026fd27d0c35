"""The instances that were closed last, for people who look for one that is no more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .instance import Instance
    from .metadata import Metadata

MAX_CLOSED: Final = 200
"""Number of closed instances that are remembered."""


@dataclass(frozen=True, slots=True)
class ClosedInstance:
    """An instance that was closed.

    Attributes:
        instance_id: its id.
        env_id: its environment.
        num_envs: number of lanes; None for a single environment.
        metadata: name, labels, and the arguments that made it.
        steps: number of steps.
        episodes: number of episodes that ended.
        created_at: when it was made, in UTC.
        closed_at: when it was closed, in UTC.
        why: who or what closed it.
        loss: why it had been lost before; None if it had not.
    """

    instance_id: str
    env_id: str
    num_envs: int | None
    metadata: Metadata
    steps: int
    episodes: int
    created_at: datetime
    closed_at: datetime
    why: str
    loss: str | None


class ClosedInstances:
    """The latest `MAX_CLOSED` closed instances."""

    def __init__(self) -> None:
        self._closed: dict[str, ClosedInstance] = {}

    def add(self, instance: Instance, why: str) -> None:
        """Remember an instance."""
        made = instance.description
        self._closed[instance.instance_id] = ClosedInstance(
            instance.instance_id,
            made.env_id,
            made.num_envs,
            instance.metadata,
            instance.steps,
            instance.episodes,
            instance.created_at,
            datetime.now(UTC),
            why,
            instance.loss,
        )
        if len(self._closed) > MAX_CLOSED:
            del self._closed[next(iter(self._closed))]

    def find(self, instance_id: str) -> ClosedInstance | None:
        """Return a closed instance; None if none of that id is remembered."""
        return self._closed.get(instance_id)
