"""The file of a recording's trajectories: records that are appended, each of a head, a checksum and compressed bytes.

The first record describes the environment (JSON), every other one is a block: some steps of an episode of one lane, as
`values.py` packs columns. Episodes of several lanes take turns. Whatever is killed, all records that were written stay,
and a reader leaves out the torn one at the end.

Compressed by zstd at level 1: a frame of Pong (100,800 bytes) takes 30 µs and 100 bytes in a block of six; lz4 takes as long
and 780 bytes, zlib 350 µs and 780. Differences of successive frames, compressed, gain nothing. An episode of 20 steps of CartPole
takes 60 to 90 µs and 600 bytes, each step before its end 3 µs.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

from .values import pack_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MAX_BLOCK_BYTES: Final = 1 << 28
"""Maximum size of a block before its compression."""
MAX_BLOCK_STEPS: Final = 1 << 16
MAX_WAITING_BYTES: Final = 1 << 26
"""Maximum size of the blocks that wait for space on the disk."""

ENVIRONMENT: Final = 0
STEPS: Final = 1
IS_FIRST, IS_LAST, IS_COMPLETE, IS_RESTORED = 1, 2, 4, 8

_MAX_JOINED_BYTES: Final = 1 << 16
"""Larger blocks are compressed buffer by buffer: the pages of a joined copy would be new, and take longer than its bytes."""
_MAGIC: Final = b"GhsT"
_CHECKSUM: Final = struct.Struct("<4sI")
_HEAD: Final = struct.Struct("<BBIQIII")
HEAD_BYTES: Final = _CHECKSUM.size + _HEAD.size


class TrajectoryFile:
    """Appends records to a file.

    Args:
        path: its path; there is no such file yet.
        environment: describes the environment, as JSON.

    Attributes:
        path: its path.
        size: its number of bytes.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, environment: bytes) -> None:
        import zstandard

        self.path = path
        self.size = 0
        # Level 1 with a small table: as fast for frames, and 2 µs instead of 7 for an episode of CartPole.
        parameters = zstandard.ZstdCompressionParameters(
            strategy=zstandard.STRATEGY_FAST, window_log=19, hash_log=12, chain_log=12, min_match=7, target_length=1
        )
        self._compressor = zstandard.ZstdCompressor(compression_params=parameters)
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._opening = self._record(ENVIRONMENT, 0, 0, 0, 0, [environment], len(environment))
        self._descriptor: int | None = self._opened()

    def add(self, flags: int, lane: int, episode: int, steps: int, columns: Mapping[str, list[Any]]) -> bool:
        """Add a block, and write it after all that could not be written before.

        Returns:
            False if it is dropped, because it is too large, or too much waits for the disk.

        Raises:
            OSError: it cannot be written; the next call, or `flush`, tries again.
        """
        buffers = pack_columns(columns)
        size = sum([memoryview(buffer).nbytes for buffer in buffers])
        if size > MAX_BLOCK_BYTES:
            return False
        record = self._record(STEPS, flags, lane, episode, steps, buffers, size)
        if self._waiting_bytes + len(record) > MAX_WAITING_BYTES:
            with contextlib.suppress(OSError):
                self.flush()
            if self._waiting_bytes + len(record) > MAX_WAITING_BYTES:
                return False
        self._waiting.append(record)
        self._waiting_bytes += len(record)
        self.flush()
        return True

    def flush(self) -> None:
        """Write what waits.

        Raises:
            OSError: it cannot be written.
        """
        while self._waiting:
            self._write(self._waiting[0])
            self._waiting_bytes -= len(self._waiting.popleft())

    def close(self) -> None:
        """Close the file without writing. Does nothing the second time."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _record(
        self, kind: int, flags: int, lane: int, episode: int, steps: int, buffers: list[Any], size: int
    ) -> bytes:
        if size < _MAX_JOINED_BYTES:
            stored = self._compressor.compress(b"".join(buffers))
        else:
            stream = self._compressor.compressobj(size=size)
            stored = b"".join([*map(stream.compress, buffers), stream.flush()])
        data = _HEAD.pack(kind, flags, lane, episode, steps, size, len(stored)) + stored
        return _CHECKSUM.pack(_MAGIC, zlib.crc32(data)) + data

    def _write(self, record: bytes) -> None:
        if self._descriptor is None or not self.path.exists():
            # The directory was deleted: what comes now is kept in another file.
            self.close()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = self._opened()
        self._append(self._descriptor, record)

    def _opened(self) -> int:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
        descriptor = os.open(self.path, flags, 0o666)
        self.size = 0
        try:
            self._append(descriptor, self._opening)
        except OSError:
            os.close(descriptor)
            self.path.unlink(missing_ok=True)
            raise
        return descriptor

    def _append(self, descriptor: int, record: bytes) -> None:
        # At its place, which may hold a part of it since the last attempt.
        os.lseek(descriptor, self.size, os.SEEK_SET)
        view = memoryview(record)
        while view:
            view = view[os.write(descriptor, view) :]
        self.size += len(record)


class BlockHead(NamedTuple):
    """What stands before the compressed bytes of a record.

    Attributes:
        kind: `ENVIRONMENT` or `STEPS`.
        flags: of a block: whether it `IS_FIRST` and `IS_LAST` of its episode, and how that ended.
        lane: the lane.
        episode: number of the episode in the file.
        steps: number of steps.
        raw_bytes: number of bytes before the compression.
        stored_bytes: number of bytes after it.
    """

    kind: int
    flags: int
    lane: int
    episode: int
    steps: int
    raw_bytes: int
    stored_bytes: int


def heads(file: BinaryIO) -> Iterator[tuple[int, BlockHead]]:
    """Yield the position and the head of every whole record of a file, from its beginning.

    A record is whole if all its bytes are there; `read_block` checks them.
    """
    end = file.seek(0, os.SEEK_END)
    at = 0
    while at + HEAD_BYTES <= end:
        file.seek(at)
        is_begun = file.read(len(_MAGIC)) == _MAGIC
        head = read_head(file, at)
        if not is_begun or at + HEAD_BYTES + head.stored_bytes > end:
            return
        yield at, head
        at += HEAD_BYTES + head.stored_bytes


def read_head(file: BinaryIO, at: int) -> BlockHead:
    """Return the head of the record at a position, unchecked."""
    file.seek(at + _CHECKSUM.size)
    return BlockHead(*_HEAD.unpack(file.read(_HEAD.size)))


def read_record(file: BinaryIO, at: int) -> tuple[BlockHead, bytes]:
    """Return the head and the uncompressed bytes of a record.

    Raises:
        ValueError: it is damaged, or too large.
    """
    import zstandard

    file.seek(at)
    data = file.read(HEAD_BYTES)
    if len(data) < HEAD_BYTES:
        raise ValueError(f"the head of the block at byte {at} is cut short")
    head = BlockHead(*_HEAD.unpack_from(data, _CHECKSUM.size))
    if max(head.raw_bytes, head.stored_bytes) > MAX_BLOCK_BYTES or head.steps > MAX_BLOCK_STEPS:
        raise ValueError("a block is larger than any that a monitor writes")
    stored = file.read(head.stored_bytes)
    magic, checksum = _CHECKSUM.unpack_from(data)
    if magic != _MAGIC or checksum != zlib.crc32(stored, zlib.crc32(data[_CHECKSUM.size :])):
        raise ValueError(f"the checksum of the block at byte {at} is wrong")
    try:
        # Checked before: the decompressor allocates what the bytes say.
        if zstandard.frame_content_size(stored) != head.raw_bytes:
            raise ValueError("a block has another size than its head says")
        return head, zstandard.ZstdDecompressor().decompress(stored, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ValueError(f"a block cannot be decompressed: {error}") from None
