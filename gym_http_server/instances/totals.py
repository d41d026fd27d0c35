"""What became of the instances that are no more, so that nothing that was counted is forgotten with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..runtime.shared.traffic import Traffic
    from .instance import Instance


@dataclass(slots=True)
class Totals:
    """The counts, since the server started; each only ever grows.

    Attributes:
        traffic: how requests were answered that were for no instance, or for one that is closed.
        created: instances that were made, live ones included.
        closed: those that were closed, by whomever.
        lost: those of them that had died or been killed before.
        reaped: those of them that were closed because nobody had used them for `--idle-timeout`.
        expired: those of them that were closed because their lease had run out.
        steps: their environment steps.
        episodes: their episodes that ended.
    """

    traffic: Traffic
    created: int = 0
    closed: int = 0
    lost: int = 0
    reaped: int = 0
    expired: int = 0
    steps: int = 0
    episodes: int = 0

    def add(self, instance: Instance) -> None:
        """Add an instance that was closed."""
        self.closed += 1
        self.lost += instance.is_lost
        self.steps += instance.steps
        self.episodes += instance.episodes
        here, *elsewhere = instance.counted
        for each in elsewhere:
            self.traffic.add(each)
        # A request that waited for its turn is answered after the end.
        here.join(self.traffic)
