"""Operations of the tag `recordings`: list, read and download recordings that lie on the server's machine.

`TrajectoryReplies` answers for those of evaluations, too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from ...errors import FileSystemTimeoutError
from ...runtime.messages import JSON, Reply
from ...runtime.values.encoding import ENCODERS
from ...support.threads import DaemonThreads
from ...verification.source import Source
from ..call import StreamedReply, json_reply
from ..content.headers import form_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from ...errors import GymHttpServerError
    from ...results.scoreboard import Results
    from ...verification.episode_frames import EpisodeFrames
    from ...verification.verifier import Replays
    from ..call import Call

P = ParamSpec("P")
T = TypeVar("T")

MAX_THREADS: Final = 16
MAX_WRITERS: Final = 2
"""Number of datasets that are written at the same time."""
READ_SECONDS: Final = 60.0
"""Time limit for reading evaluations and recordings."""
WRITE_SECONDS: Final = 600.0
"""Time limit for writing a dataset."""


class TrajectoryReplies:
    """Replies that are made in threads, because files and remote targets may not answer.

    Args:
        frames: draws episodes again.
        name: prefix of the threads' names.
        late: returns the error for files that were not read within so many seconds.
    """

    def __init__(self, frames: EpisodeFrames, name: str, late: Callable[[float], GymHttpServerError]) -> None:
        self._frames = frames
        self._late = late
        self._threads = DaemonThreads(MAX_THREADS, name)
        self._writers = DaemonThreads(MAX_WRITERS, f"{name}-datasets")

    async def within(self, seconds: float, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a call returns in a thread.

        Raises:
            GymHttpServerError: it raised it, or it is late.
        """
        return await self._within_of(self._threads, seconds, call, *args, **kwargs)

    async def episode(
        self, call: Call, find: Callable[[], Source], number: int, part: tuple[int, int], *, values: bool
    ) -> Reply:
        """Return states of an episode: in `part` the first and how many."""

        def page() -> Reply:
            # Not at the top: it imports numpy, for which the start of a server does not wait.
            from ...verification.episode_page import episode_page

            states = episode_page(find(), number, *part, with_values=values)
            media_type = form_of(call.accept).get("media_type", JSON)
            return Reply(ENCODERS[media_type](states), media_type)

        return await self.within(READ_SECONDS, page)

    async def frame(self, find: Callable[[], Source], number: int, step: int) -> Reply:
        """Return a frame of an episode."""
        return Reply(*await self._frames.frame(await self.within(READ_SECONDS, find), number, step))

    async def dataset(self, find: Callable[[], Source], name: str) -> StreamedReply:
        """Send trajectories as a dataset in Parquet, in an archive of that name."""

        def written() -> Iterator[bytes]:
            # Not at the top: it imports numpy, for which the start of a server does not wait.
            from ...verification.dataset import parquet_archive

            return parquet_archive(find())

        return self._streamed(await self._within_of(self._writers, WRITE_SECONDS, written), name)

    async def attached(self, archive: Callable[[], Iterator[bytes]], name: str) -> StreamedReply:
        """Send the parts of an archive of that name."""
        return self._streamed(await self.within(READ_SECONDS, archive), name)

    def _streamed(self, parts: Iterator[bytes], name: str) -> StreamedReply:
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return StreamedReply(self._sent(parts), "application/zip", headers)

    async def _sent(self, parts: Iterator[bytes]) -> AsyncIterator[bytes]:
        # A thread is needed while a part is read, not while the client takes it.
        while part := await self.within(READ_SECONDS, next, parts, b""):
            yield part

    async def _within_of(
        self, threads: DaemonThreads, seconds: float, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        try:
            return await threads.within(seconds, call, *args, **kwargs)
        except TimeoutError:
            raise self._late(seconds) from None


class RecordingHandlers:
    """Handlers of the tag `recordings`.

    Args:
        results: knows the roots and their recordings.
        replays: draws episodes again.
    """

    def __init__(self, results: Results, replays: Replays) -> None:
        self._roots, self._recordings = results.roots, results.recordings
        self._replies = TrajectoryReplies(
            replays.frames, "recordings", lambda seconds: FileSystemTimeoutError.of("a recording", seconds)
        )

    async def list_recordings(self, call: Call, page: int = 1, page_size: int = 50) -> Reply:
        """List a page of the recordings."""

        def listed() -> dict[str, Any]:
            found, is_complete = self._recordings.search()
            shown = found[(page - 1) * page_size : page * page_size]
            recordings = [self._recordings.describe(*each).to_json() for each in shown]
            paging = {"total": len(found), "page": page, "page_size": page_size, "is_complete": is_complete}
            return {**paging, "recordings": recordings}

        return json_reply(await self._replies.within(READ_SECONDS, listed))

    async def get_recording(self, call: Call, directory: str) -> Reply:
        """Describe a recording."""

        def told() -> dict[str, Any]:
            return self._recordings.details(self._roots.resolve(directory))

        return json_reply(await self._replies.within(READ_SECONDS, told))

    async def get_recorded_episode(
        self, call: Call, directory: str, episode: int, start: int = 0, count: int = 100, values: bool = True
    ) -> Reply:
        """Return some states of an episode."""
        return await self._replies.episode(call, self._source(directory), episode, (start, count), values=values)

    async def get_recorded_frame(self, call: Call, directory: str, episode: int, step: int) -> Reply:
        """Return a frame of an episode."""
        return await self._replies.frame(self._source(directory), episode, step)

    async def download_recording(self, call: Call, directory: str) -> StreamedReply:
        """Send the files of a recording, made into an archive while they are sent."""
        archive = lambda: self._recordings.archive(self._roots.resolve(directory))  # noqa: E731 -- runs in a thread
        return await self._replies.attached(archive, f"{_file_name(directory)}.zip")

    async def download_recorded_dataset(self, call: Call, directory: str) -> StreamedReply:
        """Send the trajectories of a recording as a dataset in Parquet."""
        return await self._replies.dataset(self._source(directory), f"{_file_name(directory)}-parquet.zip")

    def _source(self, directory: str) -> Callable[[], Source]:
        return lambda: Source.of_recording(self._recordings, self._roots.resolve(directory))


def _file_name(directory: str) -> str:
    """Return the last part of a path as it can stand in a quoted string of a header."""
    return re.sub(r"[^A-Za-z0-9.-]", "_", re.split(r"[/\\]", directory.rstrip("/\\"))[-1]) or "recording"
