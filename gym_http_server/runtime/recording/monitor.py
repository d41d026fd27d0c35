"""The monitor of an instance: it records the return and length of each episode, and videos of some.

It sits beside the environment and is told of each reset and step; an episode that was under way when it began is not
recorded, nor one that a reset cuts short or that a snapshot is restored into. What it cannot write it keeps, and tries again with the next episode: a full disk
is no reason to lose a step that was taken.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...errors import InvalidValueError, RecordingFailedError
from .writer import failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from .video_file import Video
    from .writer import RecordingWriter

    Flags = np.ndarray[Any, np.dtype[np.bool_]]

logger = logging.getLogger(__name__)

CAPPED_CUBIC: Final = "capped_cubic"


def schedule(video_callable: Any) -> Callable[[int], bool] | None:
    """Return the function that tells of which episodes, counted from 0, a video is recorded; None for none.

    Args:
        video_callable: False or None for none, an integer N for every Nth, True or `capped_cubic` for 0, 1, 8, 27, … up to
            1000 and then each 1000th (gym's `capped_cubic_video_schedule`).

    Raises:
        InvalidValueError: it is something else.
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


class Camera:
    """Films episodes.

    Args:
        render: returns the current frames of some lanes.
        open_video: begins a video of an episode, at a path without extension.
        is_filmed: tells of which episodes.
    """

    def __init__(
        self,
        render: Callable[[Sequence[int]], Sequence[Any]],
        open_video: Callable[[Path, int], Video],
        is_filmed: Callable[[int], bool],
    ) -> None:
        self.render = render
        self.open_video = open_video
        self.is_filmed = is_filmed


class Monitor:
    """Records the episodes of all lanes of an instance; a single environment has one lane.

    Args:
        recording: where to write.
        lanes: how many lanes there are.
        camera: what films; None for no videos.
    """

    def __init__(self, recording: RecordingWriter, lanes: int, camera: Camera | None) -> None:
        self._recording = recording
        self._camera = camera
        self._returns = np.zeros(lanes)
        self._lengths = np.zeros(lanes, np.int64)
        self._is_recorded = np.zeros(lanes, np.bool_)
        # The same of a lane that is alone, because an array takes as long as all the rest of a step.
        self._return, self._length, self._is_recorded_alone = 0.0, 0, False
        self._begun = 0
        self._episodes, self._total_return, self._total_length = 0, 0.0, 0
        self._last: tuple[float, int] | None = None
        self._videos: dict[int, Video] = {}
        self._complete_videos: list[str] = []
        self._error: str | None = None
        self._video_error: str | None = None
        self._is_on = True

    @property
    def directory(self) -> Path:
        """Where it records."""
        return self._recording.directory

    def began(self) -> None:
        """Note that an episode has begun in the only lane."""
        self._return, self._length, self._is_recorded_alone = 0.0, 0, True
        self._begin((0,))

    def stepped(self, reward: float, *, ended: bool) -> None:
        """Note a step of the only lane."""
        if not self._is_recorded_alone:
            return
        self._return += reward
        self._length += 1
        if self._videos:
            self._film((0,))
        if ended:
            self._is_recorded_alone = False
            self._complete(((0, self._return, self._length),))

    def lanes_began(self, lanes: Flags) -> None:
        """Note that episodes have begun in some lanes."""
        self._returns[lanes] = 0.0
        self._lengths[lanes] = 0
        self._is_recorded[lanes] = True
        self._begin(np.flatnonzero(lanes).tolist())

    def lanes_stepped(self, rewards: np.ndarray[Any, Any], ended: Flags, reset: Flags | None) -> None:
        """Note a step of all lanes.

        Args:
            rewards: of shape (lanes,).
            ended: in which lanes an episode ended.
            reset: in which lanes an episode has begun instead, by an automatic reset; None for none.
        """
        stepped = self._is_recorded if reset is None else self._is_recorded & ~reset
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
        """Drop the episodes under way and their videos; each lane is recorded again from its next episode on."""
        self._is_recorded_alone = False
        self._is_recorded[:] = False
        for video in self._videos.values():
            video.discard()
        self._videos.clear()

    def close(self) -> None:
        """Finish every video and write all there is. Does nothing the second time.

        Raises:
            RecordingFailedError: it cannot be written; the next call tries again.
        """
        if not self._is_on:
            return
        for lane in list(self._videos):
            self._finish_video(lane)
        try:
            self._recording.close()
        except OSError as error:
            self._error = str(failed(self._recording.directory, error))
            raise RecordingFailedError(self._error) from None
        self._is_on = False
        self._error = None

    def discard(self) -> None:
        """Stop recording, and write no more: what was recorded is deleted."""
        for video in self._videos.values():
            video.discard()
        self._recording.discard()
        self._is_on = False

    def state(self) -> dict[str, Any]:
        """Return what has been recorded: the members of the contract's `MonitorState`."""
        last_return, last_length = self._last or (None, None)
        return {
            "enabled": self._is_on,
            "directory": str(self._recording.directory),
            "episodes": self._episodes,
            "last_return": last_return,
            "mean_return": self._total_return / self._episodes if self._episodes else None,
            "last_length": last_length,
            "mean_length": self._total_length / self._episodes if self._episodes else None,
            "videos": self._complete_videos,
            "error": self._error or self._video_error,
        }

    def _begin(self, lanes: Iterable[int]) -> None:
        self._recording.begins()
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
        """Take a frame of some lanes, all of which are filmed."""
        if not lanes or self._camera is None:
            return
        try:
            frames = self._camera.render(lanes)
            for lane, frame in zip(lanes, frames, strict=True):
                self._videos[lane].add(frame)
        except Exception as error:  # noqa: BLE001 -- whatever the environment's rendering raises
            # An episode goes on without its video: the client asked for a step.
            self._give_up_videos(lanes, error)

    def _give_up_videos(self, lanes: Sequence[int], error: Exception) -> None:
        self._video_error = f"a video was given up: {type(error).__name__}: {error}"
        logger.warning("%s", self._video_error)
        for lane in lanes:
            self._videos.pop(lane).discard()

    def _complete(self, episodes: Sequence[tuple[int, float, int]]) -> None:
        """Record episodes that ended with one step: lane, return and length of each."""
        for _, total, length in episodes:
            self._episodes += 1
            self._total_return += total
            self._total_length += length
            self._last = total, length
        try:
            self._recording.add(*((total, length) for _, total, length in episodes))
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
        except Exception as error:  # noqa: BLE001 -- whatever the encoder raises
            video.discard()
            self._video_error = f"a video was given up: {type(error).__name__}: {error}"
            logger.warning("%s", self._video_error)
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
}
"""The state of an instance that has had no monitor."""
