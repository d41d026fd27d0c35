"""The calls about an instance's recording."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import RenderModeError
from ..making.construct import render_modes
from ..messages import JSON, Description, Reply
from ..recording.monitor import NO_MONITOR, Camera, Monitor, schedule
from ..recording.trajectories.recorder import TrajectoryRecorder, described, what_is_kept
from ..recording.writer import RecordingWriter
from ..values.rendered_frame import filmable
from .space_calls import encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..messages import CreateRequest


class RecordingCalls(abc.ABC):
    """A mixin: starts, closes and describes the recording of an instance.

    Attributes:
        description: description of the instance.
    """

    description: Description
    _has_reset = False
    _monitor: Monitor | None = None
    _trajectories: TrajectoryRecorder | None = None
    _recorded: Mapping[str, Any] = NO_MONITOR
    _environment: Any
    _request: CreateRequest

    def monitor_start(
        self,
        directory: str,
        force: bool = False,
        resume: bool = False,
        video_callable: Any = False,
        trajectories: Any = False,
    ) -> Reply:
        """Start a recording with the next reset, after closing the current one; reply `{}`.

        Args:
            directory: absolute path of the recording.
            force: delete an earlier recording there.
            resume: continue an earlier recording.
            video_callable: the episodes that are filmed (see `monitor.schedule`).
            trajectories: what is kept of each episode's steps (see `trajectories.what_is_kept`).

        Raises:
            InvalidValueError: `video_callable`, `trajectories` or `directory` is invalid.
            RenderModeError: the render mode gives no frame to film.
            MissingDependencyError: the video encoder is not installed.
            RecordingExistsError: the directory holds a recording, and neither `force` nor `resume` is given.
            RecordingFailedError: the directory cannot be written to.
        """
        is_filmed = schedule(video_callable)
        kept = what_is_kept(trajectories)
        camera = None if is_filmed is None else self._camera(is_filmed)
        made = self.description
        recording = RecordingWriter(Path(directory), made.env_id, made.library, force=force, resume=resume)
        lanes = made.num_envs or 1
        environment = described(self._request, made)
        recorder = None if kept is None else TrajectoryRecorder(recording, environment, made.num_envs, kept)
        if self._monitor is not None and force and recording.directory == self._monitor.directory:
            self._monitor.discard()
            self._monitor = self._trajectories = None
        self._close_monitor()
        self._trajectories = recorder
        self._monitor = Monitor(recording, lanes, camera, recorder)
        return encoded({}, JSON)

    def monitor_close(self) -> Reply:
        """Stop the recording, if there is one; reply `{}`.

        Raises:
            RecordingFailedError: its last part cannot be written; the next call tries again.
        """
        self._close_monitor()
        return encoded({}, JSON)

    def monitor(self) -> Reply:
        """Reply the state of the latest recording."""
        return encoded(self._recorded if self._monitor is None else self._monitor.state(), JSON)

    def _close_monitor(self) -> None:
        if self._monitor is not None:
            self._monitor.close()
            self._recorded = self._monitor.state()
            self._monitor = self._trajectories = None

    def _camera(self, is_filmed: Callable[[int], bool]) -> Camera:
        mode = filmable(self.description.render_mode, render_modes(self._environment))
        from ..recording import video

        video.require(mode)
        if self._has_reset:
            try:
                frames = self._frames((0,))
            except (Exception, SystemExit) as error:
                raise RenderModeError(
                    f"the environment cannot be filmed: render raised {type(error).__name__}: {error}"
                ) from error
            if frames[0] is None:
                raise RenderModeError(f"the environment cannot be filmed: render mode {mode!r} gives no frame")
        rate = video.frames_per_second(self._metadata)
        return Camera(self._frames, lambda base, episode_id: video.open_video(base, mode, rate, episode_id), is_filmed)

    @property
    @abc.abstractmethod
    def _metadata(self) -> Mapping[str, Any]:
        """The environment's `metadata`."""

    @abc.abstractmethod
    def _frames(self, lanes: Sequence[int]) -> Sequence[Any]:
        """Return the result of `render()` for each lane; a single environment has lane 0."""
