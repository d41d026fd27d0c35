"""`RecordedEpisode`: an episode of a recording, whose columns are read block by block when they are used."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from ...runtime.recording.trajectories.file import IS_COMPLETE, IS_LAST, IS_RESTORED
from ...runtime.recording.trajectories.values import DAMAGE
from .part import OBSERVED, STEPPED, damaged

if TYPE_CHECKING:
    from .part import EpisodeBlocks


@dataclass(frozen=True, slots=True)
class RecordedEpisode:
    """An episode of a recording. The sequences are read from the file when they are used; arrays are read-only.

    Attributes:
        number: its number in the recording, from 0.
        lane: the lane of a batch; 0 of a single environment.
        seed: the seed of its reset; None for none.
        options: the options of its reset.
        gap: why a replay of the episodes before it does not reach its first state, or does not repeat it; empty if it does.
        observations: one more than there are steps; None where only actions are kept.
        actions: of each step.
        rewards: what the environment returned.
        terminated, truncated: booleans, or what the environment returned for its agents.
        infos: one more than there are steps; None where only actions are kept.
        is_complete: it ended by itself; False if a reset, a restore, a close or a kill cut it short.
        was_restored: a restore of a snapshot cut it short.
        ended_at: where it ends in the recording: of two episodes the one with the smaller value ended first.
    """

    number: int
    lane: int
    seed: int | None
    options: dict[str, Any] | None
    gap: str
    observations: Sequence[Any] | None
    actions: Sequence[Any]
    rewards: Sequence[Any]
    terminated: Sequence[Any]
    truncated: Sequence[Any]
    infos: Sequence[Any] | None
    is_complete: bool
    was_restored: bool
    ended_at: tuple[int, int] = (0, 0)


def episode_of(number: int, part: int, blocks: EpisodeBlocks) -> RecordedEpisode:
    """Return the episode of blocks, from its number and that of its part.

    Raises:
        NoRecordingError: it is damaged.
    """
    columns = {name: RecordedColumn(blocks, name) for name in (*OBSERVED, *STEPPED)}
    first, last = blocks.block(0), blocks.block(len(blocks.heads) - 1)
    flags = blocks.heads[-1].flags
    try:
        seed, options, gap = first["start"]
        [last_gap] = last["end"] if flags & IS_LAST else [""]
        if not (isinstance(seed, int | None) and isinstance(options, dict | None)):
            raise TypeError("an episode has no start")
    except DAMAGE as error:
        raise damaged(blocks.where, error) from None
    return RecordedEpisode(
        number,
        blocks.heads[0].lane,
        seed,
        options,
        str(gap or last_gap),
        columns["observations"] if blocks.is_full else None,
        columns["actions"],
        columns["rewards"],
        columns["terminated"],
        columns["truncated"],
        columns["infos"] if blocks.is_full else None,
        bool(flags & IS_COMPLETE),
        bool(flags & IS_RESTORED),
        (part, blocks.ends_at),
    )


class RecordedColumn(Sequence[Any]):
    """The values of one column of an episode, read block by block.

    Args:
        blocks: the blocks of the episode.
        name: name of the column.
    """

    def __init__(self, blocks: EpisodeBlocks, name: str) -> None:
        self._blocks = blocks
        self._name = name
        self._more = int(name in OBSERVED)

    def __len__(self) -> int:
        return self._blocks.ends[-1] + self._more

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> list[Any]: ...
    def __getitem__(self, at: int | slice) -> Any:
        if isinstance(at, slice):
            return [self[each] for each in range(*at.indices(len(self)))]
        length = len(self)
        if not -length <= at < length:
            raise IndexError(at)
        at %= length
        ends = self._blocks.ends
        number = bisect_right(ends, at - self._more)
        # The value of the reset is in the first block.
        start = ends[number - 1] + self._more if number else 0
        return self._blocks.block(number)[self._name][at - start]

    def __iter__(self) -> Iterator[Any]:
        for number in range(len(self._blocks.heads)):
            yield from self._blocks.block(number)[self._name]

    def __repr__(self) -> str:
        return f"<{len(self)} recorded {self._name}>"
