"""`draw`: repeats a recorded episode and keeps its frames."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple

from ..datasets.comparison import difference
from ..errors import NoTrajectoriesError, RenderModeError
from ..results.evaluated_trajectories import environment_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..results.trajectories import RecordedEpisode, Trajectories
    from .source import Source
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


def draw(source: Source, number: int, maker: EnvironmentMaker, viewer: Viewer) -> bool:
    """Repeat an episode, and those before it from the last seed on; show its frames. Return whether it is over.

    Raises:
        UnknownEpisodeError: there is no such episode.
        RenderModeError: the environment gives no frame, or there are too many.
        NoTrajectoriesError: the episode cannot be repeated, or comes out otherwise.
        GymHttpServerError: as `Source.opened`, or the environment cannot be made or is lost.
    """
    with source.opened() as recorded:
        episodes = _since_seed(recorded, source.episode(recorded, number))
        _check_claim(source, recorded)
        _check(episodes)
        made = maker.make(recorded.env_id, recorded.library, environment_of(recorded))
        with contextlib.closing(made) as stepper:
            if stepper.description.render_mode is None:
                raise RenderModeError(f"{recorded.env_id} has no render mode that gives frames")
            for episode in episodes[:-1]:
                _repeat(stepper, episode, viewer)
            _repeat(stepper, episodes[-1], viewer, is_drawn=True)
        return episodes[-1].is_complete


def _since_seed(recorded: Trajectories, last: RecordedEpisode) -> list[RecordedEpisode]:
    """Return the episodes of its lane up to the `last` one, from the latest with a seed on."""
    episodes: list[RecordedEpisode] = []
    for episode in recorded:
        if episode.lane == last.lane:
            if episode.seed is not None:
                episodes.clear()
            episodes.append(episode)
        if episode.number == last.number:
            break
    return episodes


def _check_claim(source: Source, recorded: Trajectories) -> None:
    """Check that the trajectories are of the environment that their evaluation names."""
    evaluation = source.evaluation
    if evaluation is None:
        return
    trajectories = evaluation.trajectories
    if trajectories is None or trajectories.environment is None or trajectories.problem is not None:
        problem = None if trajectories is None else trajectories.problem
        raise NoTrajectoriesError(f"{source.words} cannot be drawn again: {problem}")
    claimed = {"env_id": evaluation.env_id, "library": evaluation.library, **trajectories.environment}
    found = {"env_id": recorded.env_id, "library": recorded.library, **environment_of(recorded)}
    for name, value in found.items():
        if claimed.get(name) != value:
            raise NoTrajectoriesError(
                f"the trajectories are of another environment than the evaluation: {name} is {value!r} there, and "
                f"{claimed.get(name)!r} in the evaluation"
            )


def _check(episodes: list[RecordedEpisode]) -> None:
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
