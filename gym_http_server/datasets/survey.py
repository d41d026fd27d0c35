"""`Survey`: what is in a recording, found by reading it once before it is written in another format."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any, Final

from .forms import Form, Nothing, form_of, merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..results.trajectories import RecordedEpisode

COLUMNS: Final = ("observation", "action", "reward", "terminated", "truncated", "info")
_ROWS: Final = 256


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

    def add(self, episode: RecordedEpisode) -> None:
        """Take note of an episode."""
        self.episodes += episode.is_complete
        self.incomplete += not episode.is_complete
        self.steps += len(episode.actions)
        for name, values in (*_columns(episode).items(), ("options", [episode.options])):
            form = self.forms[name]
            for value in values:
                form = merged(form, form_of(value))
            self.forms[name] = form


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
