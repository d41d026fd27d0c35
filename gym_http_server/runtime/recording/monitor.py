"""`Monitor`: records the return and length of each episode of an instance, and videos of some episodes.

Not recorded: an episode that was under way when the monitor started, that a reset cut short, or that a snapshot was restored
into. If the disk is full, steps go on: what cannot be written is kept and tried again with the next episode.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...errors import InvalidValueError, RecordingFailedError
from .component_returns import ComponentReturns
from .trajectories.recorder import NO_TRAJECTORIES
from .writer import failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from ..values.outcomes import Parts
    from .trajectories.recorder import TrajectoryRecorder
    from .video_file import Video
    from .writer import RecordingWriter

    Flags = np.ndarray[Any, np.dtype[np.bool_]]

logger = logging.getLogger(__name__)

CAPPED_CUBIC: Final = "capped_cubic"


def schedule(video_callable: Any) -> Callable[[int], bool] | None:
    """Return the function that decides whether an episode, counted from 0, is filmed; None to film none.

    Args:
        video_callable: False or None for none, an integer N for every Nth, True or `capped_cubic` for 0, 1, 8, 27, … up to
            1000 and then each 1000th (gym's `capped_cubic_video_schedule`).

    Raises:
        InvalidValueError: another value.
    """
    if video_callable is True or video_callable == CAPPED_CUBIC:
        return _is_capped_cubic
    if video_callable is None or (isinstance(video_callable, int) and video_callable == 0):
        return None
    if isinstance(video_callable, int) and video_callable > 0:
        return lambda episode_id: episode_id % video_callable == 0
    raise InvalidValueError(
        f"video_callable is {video_callable!r}: give false, an integer N for every Nth episode, or true or "
        f"{CAPPED_CUBIC!r} for the episodes 0, 1, 8, 27, … up to 1000 and then each 1000th"
    )


def _is_capped_cubic(episode_id: int) -> bool:
    if episode_id >= 1000:
        return episode_id % 1000 == 0
    root: int = round(episode_id ** (1 / 3))
    return root**3 == episode_id


@dataclass(frozen=True, slots=True)
class Camera:
    """The functions that film episodes.

    Attributes:
        render: returns the current frames of lanes.
        open_video: returns a new video, given its path without suffix and the number of the episode.
        is_filmed: whether an episode is filmed.
    """

    render: Callable[[Sequence[int]], Sequence[Any]]
    open_video: Callable[[Path, int], Video]
    is_filmed: Callable[[int], bool]


class Monitor:
    """Records the episodes of all lanes of an instance; a single environment has one lane.

    Args:
        recording: the files.
        lanes: number of lanes.
        camera: films episodes; None for no videos.
        trajectories: records trajectories; None for none.

    Attributes:
        trajectories: the same.
    """

    def __init__(
        self,
        recording: RecordingWriter,
        lanes: int,
        camera: Camera | None,
        trajectories: TrajectoryRecorder | None = None,
    ) -> None:
        self.trajectories = trajectories
        self._recording = recording
        self._camera = camera
        self._is_on = True
        # The current episode of each lane.
        self._returns = np.zeros(lanes)
        self._lengths = np.zeros(lanes, np.int64)
        self._is_recorded = np.zeros(lanes, np.bool_)
        # The same for a single environment: an operation on an array takes as long as the rest of a step.
        self._return, self._length, self._is_recorded_alone = 0.0, 0, False
        self._components = ComponentReturns()
        # Totals of all lanes.
        self._begun = 0
        self._episodes, self._total_length = 0, 0
        self._episodes_with_return, self._total_return = 0, 0.0
        self._last: tuple[float | None, int] | None = None
        # Videos by lane, names of complete ones, and the latest errors.
        self._videos: dict[int, Video] = {}
        self._complete_videos: list[str] = []
        self._error: str | None = None
        self._video_error: str | None = None

    @property
    def directory(self) -> Path:
        """Directory of the recording."""
        return self._recording.directory

    def began(self) -> None:
        """Record that an episode began, in a single environment."""
        self._return, self._length, self._is_recorded_alone = 0.0, 0, True
        self._begin((0,))

    def stepped(self, reward: float | None, parts: Parts | None, *, ended: bool) -> None:
        """Record a step of a single environment, whose reward is a number, among the parts of the outcome, or None."""
        if not self._is_recorded_alone:
            return
        if reward is None:
            self._components.add(0, None if parts is None else parts.get("rewards"))
        else:
            self._return += reward
        self._length += 1
        if self._videos:
            self._film((0,))
        if ended:
            self._is_recorded_alone = False
            self._complete(((0, self._return, self._length),))

    def lanes_began(self, lanes: Flags) -> None:
        """Record that episodes began in some lanes of a batch."""
        self._returns[lanes] = 0.0
        self._lengths[lanes] = 0
        self._is_recorded[lanes] = True
        self._begin(np.flatnonzero(lanes).tolist())

    def lanes_stepped(
        self, rewards: np.ndarray[Any, Any], ended: Flags, reset: Flags | None, several: Mapping[int, Any] | None
    ) -> None:
        """Record a step of all lanes of a batch.

        Args:
            rewards: of shape (lanes,).
            ended: lanes in which an episode ended.
            reset: lanes in which the step was an automatic reset; None for none.
            several: rewards that are no single number, by lane; None for none.
        """
        stepped = self._is_recorded if reset is None else self._is_recorded & ~reset
        if several is not None:
            rewards = rewards.copy()
            rewards[list(several)] = 0.0
            for lane, reward in several.items():
                if stepped[lane]:
                    self._components.add(lane, reward)
        self._returns[stepped] += rewards[stepped]
        self._lengths[stepped] += 1
        if self._videos:
            self._film([lane for lane in self._videos if reset is None or not reset[lane]])
        complete = stepped & ended
        if complete.any():
            self._is_recorded[complete] = False
            lanes = np.flatnonzero(complete).tolist()
            self._complete([(lane, float(self._returns[lane]), int(self._lengths[lane])) for lane in lanes])
        if reset is not None and reset.any():
            self.lanes_began(reset)

    def interrupt(self) -> None:
        """Drop the current episodes and their videos; each lane is recorded again from its next episode on."""
        if self.trajectories is not None:
            self.trajectories.restored()
        self._is_recorded_alone = False
        self._is_recorded[:] = False
        for video in self._videos.values():
            video.discard()
        self._videos.clear()

    def close(self) -> None:
        """Finish all videos and files. Does nothing the second time.

        Raises:
            RecordingFailedError: the files cannot be written; the next call tries again.
        """
        if not self._is_on:
            return
        for lane in list(self._videos):
            self._finish_video(lane)
        try:
            self._recording.close()
            if self.trajectories is not None:
                self.trajectories.close()
        except OSError as error:
            self._error = str(failed(self._recording.directory, error))
            raise RecordingFailedError(self._error) from None
        self._is_on = False
        self._error = None

    def discard(self) -> None:
        """Stop recording without writing, because the recording was deleted."""
        for video in self._videos.values():
            video.discard()
        self._recording.discard()
        if self.trajectories is not None:
            self.trajectories.discard()
        self._is_on = False

    def state(self) -> dict[str, Any]:
        """Return the members of the contract's `MonitorState`."""
        last_return, last_length = self._last or (None, None)
        return {
            "enabled": self._is_on,
            "directory": str(self._recording.directory),
            "episodes": self._episodes,
            "last_return": last_return,
            "mean_return": self._total_return / self._episodes_with_return if self._episodes_with_return else None,
            "last_length": last_length,
            "mean_length": self._total_length / self._episodes if self._episodes else None,
            "videos": self._complete_videos,
            "error": self._error or self._video_error,
            **(NO_TRAJECTORIES if self.trajectories is None else self.trajectories.state()),
            **self._components.state(),
        }

    def _begin(self, lanes: Sequence[int]) -> None:
        self._recording.begins()
        self._components.begin(lanes)
        opened = []
        for lane in lanes:
            episode_id, self._begun = self._begun, self._begun + 1
            if lane in self._videos:
                self._finish_video(lane)
            if self._camera is not None and self._camera.is_filmed(episode_id):
                self._videos[lane] = self._camera.open_video(self._recording.video_base(episode_id), episode_id)
                opened.append(lane)
        self._film(opened)

    def _film(self, lanes: Sequence[int]) -> None:
        """Add a frame to the videos of some lanes."""
        if not lanes or self._camera is None:
            return
        try:
            frames = self._camera.render(lanes)
            for lane, frame in zip(lanes, frames, strict=True):
                self._videos[lane].add(frame)
        except Exception as error:  # noqa: BLE001 -- the environment's render() may raise anything
            # The client asked for a step: the episode goes on without a video.
            self._give_up([self._videos.pop(lane) for lane in lanes], error)

    def _give_up(self, videos: Iterable[Video], error: Exception) -> None:
        self._video_error = f"a video was given up: {type(error).__name__}: {error}"
        logger.warning("%s", self._video_error)
        for video in videos:
            video.discard()

    def _complete(self, episodes: Sequence[tuple[int, float, int]]) -> None:
        """Record the episodes that ended in a step, given lane, sum of the single rewards, and length of each."""
        complete = [self._components.end(*episode) for episode in episodes]
        for total, length, _ in complete:
            self._episodes += 1
            self._total_length += length
            self._last = total, length
            if total is not None:
                self._episodes_with_return += 1
                self._total_return += total
        try:
            self._recording.add(*complete)
            self._error = None
        except OSError as error:
            self._error = str(failed(self._recording.directory, error))
            logger.warning("%s: it is kept, and tried again with the next episode", self._error)
        for lane, _, _ in episodes:
            if lane in self._videos:
                self._finish_video(lane)

    def _finish_video(self, lane: int) -> None:
        video = self._videos.pop(lane)
        try:
            is_filmed = video.close()
        except Exception as error:  # noqa: BLE001 -- the encoder may raise anything
            self._give_up((video,), error)
            return
        if is_filmed:
            self._complete_videos.append(video.path.name)
            try:
                self._recording.add_video(video.path, video.meta_path)
            except OSError as error:
                self._error = str(failed(self._recording.directory, error))
                logger.warning("%s: it is tried again with the next episode", self._error)


NO_MONITOR: Final[dict[str, Any]] = {
    "enabled": False,
    "directory": None,
    "episodes": 0,
    "last_return": None,
    "mean_return": None,
    "last_length": None,
    "mean_length": None,
    "videos": [],
    "error": None,
    **NO_TRAJECTORIES,
}
"""`Monitor.state()` of an instance that never had a monitor."""
