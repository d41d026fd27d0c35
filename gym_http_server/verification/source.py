"""`Source`: recorded trajectories to show, those of an evaluation or those of a recording on this machine."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import NoRecordingError, UnknownEpisodeError, UploadTargetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ..results.evaluation import Evaluation
    from ..results.recordings import Recordings
    from ..results.scoreboard import Results
    from ..results.trajectories import RecordedEpisode, Trajectories


@dataclass(frozen=True, slots=True)
class Source:
    """Recorded trajectories.

    Attributes:
        key: tells them from all others.
        words: what they belong to, in errors.
        evaluation: the evaluation, whose word about them counts; None for a recording on this machine.
        facts: members of the problem details of an error about them.
        open: opens them.
    """

    key: str
    words: str
    evaluation: Evaluation | None
    facts: dict[str, Any]
    open: Callable[[], Trajectories]

    @classmethod
    def of_evaluation(cls, results: Results, evaluation_id: str) -> Source:
        """Return the trajectories of an evaluation.

        Raises:
            UnknownEvaluationError: there is no such evaluation.
            UploadTargetError: the target cannot be reached.
        """
        evaluation = results.get(evaluation_id)
        facts = {"evaluation_id": evaluation_id}
        opened = lambda: results.open_trajectories(evaluation)  # noqa: E731 -- as short as the other
        return cls(evaluation_id, f"evaluation {evaluation_id!r}", evaluation, facts, opened)

    @classmethod
    def of_recording(cls, recordings: Recordings, directory: Path) -> Source:
        """Return the trajectories in a directory.

        Raises:
            NoRecordingError: there are none.
            ForbiddenDirectoryError: a file of them is a link to one outside the roots.
        """
        key = f"{directory} {recordings.fingerprint(directory)}"
        words, facts = f"the recording in {str(directory)!r}", {"directory": str(directory)}
        return cls(key, words, None, facts, lambda: recordings.open_trajectories(directory))

    @contextlib.contextmanager
    def opened(self) -> Iterator[Trajectories]:
        """Open them.

        Raises:
            NoTrajectoriesError: the evaluation has none.
            NoRecordingError: those on this machine are damaged.
            UploadTargetError: those of an evaluation are damaged, or the target cannot be reached.
        """
        with self.open() as recorded:
            try:
                yield recorded
            except NoRecordingError as error:
                if self.evaluation is None:
                    raise
                raise UploadTargetError(error.detail) from None

    def episode(self, recorded: Trajectories, number: int) -> RecordedEpisode:
        """Return an episode of them.

        Raises:
            UnknownEpisodeError: there is none of that number.
        """
        episode = recorded.episode(number)
        if episode is None:
            raise UnknownEpisodeError(f"{self.words} has no episode {number}: they are counted from 0", **self.facts)
        return episode
