"""`Spool`: episodes of a recording of actions, made again and kept in a temporary file."""

from __future__ import annotations

import dataclasses
import os
import pickle
import tempfile
from typing import TYPE_CHECKING, Self

from ..errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..results.trajectories import RecordedEpisode
    from .replay import EpisodeVerdict


class Spool:
    """Repeated episodes, to be read more than once; a context manager.

    Args:
        repeated: episodes with the observations and infos of their repetition, and what became of that.

    Raises:
        ExportError: an episode cannot be repeated, or comes out different.
    """

    def __init__(self, repeated: Iterable[tuple[RecordedEpisode, EpisodeVerdict]]) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 -- closed by __exit__
        try:
            for episode, verdict in repeated:
                _refuse_others(verdict)
                read = dataclasses.replace(
                    episode,
                    actions=list(episode.actions),
                    rewards=list(episode.rewards),
                    terminated=list(episode.terminated),
                    truncated=list(episode.truncated),
                )
                pickle.dump(read, self._file)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[RecordedEpisode]:
        end = self._file.seek(0, os.SEEK_END)
        at = 0
        while at < end:
            self._file.seek(at)
            episode = pickle.load(self._file)  # noqa: S301 -- this process wrote it, into a file without a name
            at = self._file.tell()
            yield episode


def _refuse_others(verdict: EpisodeVerdict) -> None:
    if verdict.result != "equal":
        raise ExportError(
            f"the recording has actions alone, and episode {verdict.number} cannot be made again: {verdict}"
        )
