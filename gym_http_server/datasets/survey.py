"""`Survey`: what is in a recording, found by reading it once before it is written in another format."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .forms import Form, Nothing, form_of, merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..results.trajectories import RecordedEpisode

COLUMNS: Final = ("observation", "action", "reward", "terminated", "truncated", "info")
_ROWS: Final = 256
_MAX_KNOWN: Final = 1000


@dataclass(slots=True)
class Survey:
    """What the episodes of a recording are.

    Attributes:
        episodes: number of complete episodes.
        incomplete: number of the others.
        steps: number of steps of all.
        forms: forms of the `COLUMNS`, and of `options`.
    """

    episodes: int = 0
    incomplete: int = 0
    steps: int = 0
    forms: dict[str, Form] = field(default_factory=lambda: dict.fromkeys((*COLUMNS, "options"), Nothing()))
    _known: set[Any] = field(default_factory=set)

    def add(self, episode: RecordedEpisode) -> None:
        """Take note of an episode."""
        self.episodes += episode.is_complete
        self.incomplete += not episode.is_complete
        self.steps += len(episode.actions)
        for name, values in (*_columns(episode).items(), ("options", [episode.options])):
            for value in values:
                kind = (name, _kind(value))
                if kind not in self._known:
                    self.forms[name] = merged(self.forms[name], form_of(value))
                    if kind[1] is not None and len(self._known) < _MAX_KNOWN:
                        self._known.add(kind)


def _kind(value: Any) -> Any:
    """Return what values of one form have in common; None where that is to be looked at closely."""
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape
    if isinstance(value, dict) and not value:
        return dict
    return type(value) if isinstance(value, bool | float | str | np.generic) or value is None else None


def rows_of(episode: RecordedEpisode) -> Iterator[dict[str, list[Any]]]:
    """Yield the columns of some rows at a time; the last row of an episode has an observation and an info alone."""
    rows = zip_longest(*_columns(episode).values())
    while chunk := list(islice(rows, _ROWS)):
        yield dict(zip(COLUMNS, map(list, zip(*chunk, strict=True)), strict=True))


def _columns(episode: RecordedEpisode) -> dict[str, Iterable[Any]]:
    values = (
        episode.observations,
        episode.actions,
        episode.rewards,
        episode.terminated,
        episode.truncated,
        episode.infos,
    )
    return {name: column or () for name, column in zip(COLUMNS, values, strict=True)}
