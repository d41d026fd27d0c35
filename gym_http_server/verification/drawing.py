"""`draw`: repeats a recorded episode and keeps its frames."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple

from ..datasets.comparison import difference
from ..errors import NoRecordingError, NoTrajectoriesError, RenderModeError, UploadTargetError
from .episode_page import found

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..results.evaluation import Evaluation
    from ..results.scoreboard import Results
    from ..results.trajectories import RecordedEpisode, Trajectories
    from .stepper import EnvironmentMaker, ServedStepper

MAX_REPLAYED_STEPS: Final = 20_000
"""Steps of an episode and of those before it, from the last seed on, that are repeated to draw it."""
MAX_EPISODE_BYTES: Final = 1 << 25


class Viewer(NamedTuple):
    """Who wants the frames of an episode.

    Attributes:
        show: takes each frame, encoded, and its media type.
        has_left: returns whether no further frame is wanted.
    """

    show: Callable[[tuple[bytes, str]], None]
    has_left: Callable[[], bool]


def draw(results: Results, evaluation_id: str, number: int, maker: EnvironmentMaker, viewer: Viewer) -> None:
    """Repeat an episode, and those before it from the last seed on; show its frames.

    Raises:
        UnknownEvaluationError: there is no such evaluation or episode.
        RenderModeError: the environment gives no frame, or there are too many.
        NoTrajectoriesError: the episode cannot be repeated, or comes out otherwise.
        GymHttpServerError: the target cannot be reached, or the environment cannot be made or is lost.
    """
    evaluation = results.get(evaluation_id)
    with results.open_trajectories(evaluation) as recorded:
        try:
            episodes = _since_seed(recorded, found(recorded, evaluation, number))
            _check(evaluation, recorded, episodes)
            with contextlib.closing(maker.make(evaluation)) as stepper:
                if stepper.description.render_mode is None:
                    raise RenderModeError(f"{evaluation.env_id} has no render mode that gives frames")
                for episode in episodes[:-1]:
                    _repeat(stepper, episode, viewer)
                _repeat(stepper, episodes[-1], viewer, is_drawn=True)
        except NoRecordingError as error:
            raise UploadTargetError(error.detail) from None


def _since_seed(recorded: Trajectories, last: RecordedEpisode) -> list[RecordedEpisode]:
    """Return an episode after those of its lane before it, from the last one with a seed on."""
    episodes: list[RecordedEpisode] = []
    for episode in recorded:
        if episode.lane == last.lane:
            if episode.seed is not None:
                episodes.clear()
            episodes.append(episode)
        if episode.number == last.number:
            break
    return episodes


def _check(evaluation: Evaluation, recorded: Trajectories, episodes: list[RecordedEpisode]) -> None:
    trajectories = evaluation.trajectories
    if trajectories is None or trajectories.environment is None or trajectories.problem is not None:
        problem = None if trajectories is None else trajectories.problem
        raise NoTrajectoriesError(f"evaluation {evaluation.evaluation_id!r} cannot be drawn again: {problem}")
    if recorded.env_id != evaluation.env_id:
        raise NoTrajectoriesError(
            f"the trajectories are of {recorded.env_id}, and the evaluation is of {evaluation.env_id}"
        )
    gap = next((episode.gap for episode in episodes if episode.gap), "")
    if gap or episodes[0].seed is None:
        raise NoTrajectoriesError(f"the episode cannot be drawn again: {gap or 'no seed is recorded'}")
    steps = sum(len(episode.actions) for episode in episodes)
    if steps > MAX_REPLAYED_STEPS:
        raise RenderModeError(
            f"to draw this episode {steps} steps since the last seed are to be repeated, and the limit is {MAX_REPLAYED_STEPS}: "
            "record videos, or reset with a seed"
        )


def _repeat(stepper: ServedStepper, episode: RecordedEpisode, viewer: Viewer, *, is_drawn: bool = False) -> None:
    observation, _ = stepper.reset(seed=episode.seed, options=episode.options)
    size = 0
    for step in range(len(episode.actions) + 1):
        if viewer.has_left():
            return
        if step > 0:
            observation, *_ = stepper.step(episode.actions[step - 1])
        if not is_drawn:
            continue
        if episode.observations is not None and (found := difference(episode.observations[step], observation)):
            raise NoTrajectoriesError(
                f"the replay differs from the recording in step {step}, so no frame is shown: {found}"
            )
        frame = stepper.render()
        size += len(frame[0])
        if size > MAX_EPISODE_BYTES:
            raise RenderModeError(
                f"the frames of this episode have more than {MAX_EPISODE_BYTES} bytes: {step} are drawn"
            )
        viewer.show(frame)
