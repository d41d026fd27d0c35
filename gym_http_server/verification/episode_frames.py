"""`EpisodeFrames`: frames of recorded episodes, drawn again by a replay.

A daemon thread draws all frames of an episode from the first on, while clients wait for the one that they ask for. One episode
is drawn at a time, and the latest few are kept. What nobody asks for any more is given up.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from ..errors import CallTimeoutError, GymHttpServerError, RenderModeError, UnknownEpisodeError
from ..support.threads import DaemonThreads

if TYPE_CHECKING:
    from ..config import Settings
    from ..engines.base import Engine
    from ..interpreters.interpreters import Interpreters
    from .source import Source

logger = logging.getLogger(__name__)

MAX_EPISODES: Final = 8
"""Number of episodes whose frames are kept, or waited for."""
WAIT_SECONDS: Final = 30.0
"""Time that a request waits for its frame."""
ABANDONED_SECONDS: Final = 20.0
"""Time after the latest request, after which an episode is drawn no further."""


class DrawnEpisode:
    """The frames of an episode, as far as they are drawn.

    Attributes:
        frames: encoded frames and their media types, from that of the reset on.
        error: why there is no further frame; None while there may be.
        is_over: whether the episode had ended when it was drawn.
        asked_at: when a frame was asked for latest, on the monotonic clock.
    """

    def __init__(self) -> None:
        self.frames: list[tuple[bytes, str]] = []
        self.error: GymHttpServerError | None = None
        self.is_over = True
        self.asked_at = time.monotonic()

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody has asked for it of late."""
        return time.monotonic() - self.asked_at > ABANDONED_SECONDS

    def is_outdated(self, step: int) -> bool:
        """Return whether another drawing may have a frame that this one does not have."""
        if self.error is None:
            return False
        return not self.frames or (step >= len(self.frames) and not self.is_over)


class EpisodeFrames:
    """Frames of recorded episodes.

    Args:
        settings: the server's settings.
        engine: makes their environments again.
        interpreters: the interpreters besides the server's own Python.
    """

    def __init__(self, settings: Settings, engine: Engine, interpreters: Interpreters) -> None:
        self._maker_parts = settings, engine, interpreters
        self._threads = DaemonThreads(1, "episode-frames")
        self._drawn: OrderedDict[tuple[str, int], DrawnEpisode] = OrderedDict()
        self._lock = threading.Lock()

    async def frame(self, source: Source, number: int, step: int) -> tuple[bytes, str]:
        """Return a frame and its media type: that of the reset for step 0.

        Raises:
            UnknownEpisodeError: there is no such episode or step.
            RenderModeError: it cannot be drawn.
            CallTimeoutError: it is not drawn yet.
            GymHttpServerError: the environment cannot be made, or is lost.
        """
        episode = self._episode(source, number, step)
        end = time.monotonic() + WAIT_SECONDS
        while step >= len(episode.frames):
            if episode.error is not None:
                raise episode.error
            if time.monotonic() > end:
                raise CallTimeoutError(
                    f"frame {step} of episode {number} is not drawn after {WAIT_SECONDS:g} s: ask again"
                )
            episode.asked_at = time.monotonic()
            await asyncio.sleep(0.01)
        episode.asked_at = time.monotonic()
        return episode.frames[step]

    def stop(self) -> None:
        """Draw no further episode."""
        with self._lock:
            for episode in self._drawn.values():
                episode.asked_at = -ABANDONED_SECONDS
        self._threads.shutdown()

    def _episode(self, source: Source, number: int, step: int) -> DrawnEpisode:
        key = source.key, number
        loop = asyncio.get_running_loop()
        with self._lock:
            episode = self._drawn.get(key)
            if episode is None or episode.is_outdated(step):
                episode = self._drawn[key] = DrawnEpisode()
                self._threads.submit(self._draw, source, number, episode, loop)
            self._drawn.move_to_end(key)
            while len(self._drawn) > MAX_EPISODES:
                _, oldest = self._drawn.popitem(last=False)
                oldest.asked_at = -ABANDONED_SECONDS
        return episode

    def _draw(self, source: Source, number: int, episode: DrawnEpisode, loop: asyncio.AbstractEventLoop) -> None:
        # Not at the top: they import numpy, for which the start of a server does not wait.
        from .drawing import Viewer, draw
        from .stepper import EnvironmentMaker

        viewer = Viewer(episode.frames.append, lambda: episode.is_abandoned)
        try:
            if not episode.is_abandoned:
                episode.is_over = draw(source, number, EnvironmentMaker(*self._maker_parts, loop), viewer)
            if episode.is_abandoned:
                with self._lock:
                    self._drawn.pop((source.key, number), None)
                episode.error = RenderModeError("the frames were given up, because nobody asked for them: ask again")
            else:
                count = len(episode.frames)
                episode.error = UnknownEpisodeError(f"episode {number} has the frames 0 to {count - 1}", **source.facts)
        except GymHttpServerError as error:
            episode.error = error
        except Exception as error:
            logger.exception("episode %d of %s cannot be drawn", number, source.words)
            episode.error = GymHttpServerError(f"the server has a defect, see its log: {type(error).__name__}")
