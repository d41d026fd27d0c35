"""Files of trajectories: torn, changed, planted, on a full disk, and of episodes longer than the memory for one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import gymnasium
import msgpack
import numpy as np
import pytest
import zstandard
from gymnasium.spaces import Discrete
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_http_server.errors import NoRecordingError, RecordingFailedError
from gym_http_server.results.trajectories import open_trajectories
from gym_http_server.runtime.recording.replaced_file import ReplacedFile
from gym_http_server.runtime.recording.trajectories import file as trajectory_file
from gym_http_server.runtime.recording.trajectories import recorder
from gym_http_server.runtime.recording.trajectories.values import DAMAGE, pack_columns, unpack_columns
from tests.support.sample_spaces import same

from .test_trajectories import agree, log, make, read, whole


def record(directory: Path, episodes: int = 3, **kwargs: Any) -> Path:
    """Record episodes of three steps, and return the file."""
    served = make(seed=0)
    served.monitor_start(str(directory), trajectories=True, **kwargs)
    for _ in range(episodes):
        served.reset()
        for _ in range(3):
            served.step(1)
    served.close()
    return max(directory.glob("openaigym.trajectories.*"), key=lambda path: path.stat().st_mtime_ns)


def test_a_torn_tail_is_left_out_and_told(tmp_path: Path) -> None:
    """Wherever the file ends, the episodes before are there, and a note tells of bytes that are left out."""
    path = record(tmp_path, 2)
    data = path.read_bytes()
    with path.open("rb") as file:
        ends = [*[at for at, _ in trajectory_file.heads(file)][1:], len(data)]
    for size in range(ends[0], len(data), 2):
        path.write_bytes(data[:size])
        with open_trajectories(tmp_path) as recorded:
            assert len(list(recorded)) == sum(end <= size for end in ends[1:])
            assert len(recorded.notes) == (size not in ends)


def test_a_file_that_was_changed_is_damaged_and_nothing_else(tmp_path: Path) -> None:
    """Whichever byte is another, the file is read as what it was, without its end, or is damaged."""
    path = record(tmp_path, 2)
    whole_ones, data = [repr(each) for each in read(tmp_path)], path.read_bytes()
    for at in range(0, len(data), 2):
        path.write_bytes(data[:at] + bytes((data[at] ^ 0x41,)) + data[at + 1 :])
        try:
            with open_trajectories(tmp_path) as recorded:
                found = [repr(whole(each)) for each in recorded]
                assert found == whole_ones[: len(found)]
                assert len(recorded.notes) == 1
        except NoRecordingError as error:
            assert "damaged" in str(error)  # noqa: PT017 -- either is right


def planted(
    path: Path, raw: bytes, raw_bytes: int | None = None, steps: int = 3, flags: int = 7, episode: int = 99
) -> None:
    """Add a block with a right checksum to a file."""
    stored = zstandard.ZstdCompressor(write_content_size=raw_bytes is None).compress(raw)
    head = struct.pack("<BBIQIII", 1, flags, 0, episode, steps, raw_bytes or len(raw), len(stored))
    record = struct.pack("<4sI", b"GhsT", zlib.crc32(head + stored)) + head + stored
    path.write_bytes(path.read_bytes() + record)


INDEXES = st.recursive(
    st.none()
    | st.integers(-1, 1 << 40)
    | st.sampled_from(["array", "values", "<f8", "|u1", "<U9", "dict", "tuple", "scalar"]),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(["observations", "infos", "actions", "rewards", "terminated", "truncated", "start", "end"]),
        st.tuples(st.integers(0, 1 << 33), st.lists(INDEXES, max_size=3)),
    ),
    st.binary(max_size=40),
)
@settings(deadline=None, max_examples=60)
def test_columns_that_somebody_planted_are_refused(index: dict[str, Any], data: bytes) -> None:
    """Columns of any form are read or refused, within the memory that their bytes take."""
    head = msgpack.packb(index)
    with contextlib.suppress(*DAMAGE):
        unpack_columns(len(head).to_bytes(4, "little") + head + data)


def test_a_planted_file_is_damaged(tmp_path: Path) -> None:
    """Bombs, columns of other lengths, foreign starts, and names of files elsewhere: an error that tells what is wrong."""
    path = record(tmp_path, 2)
    data = path.read_bytes()
    good = {
        "observations": [0] * 4,
        "infos": [{}] * 4,
        **{name: [0] * 3 for name in ("actions", "rewards", "terminated", "truncated")},
        "start": [None, None, ""],
        "end": [""],
    }
    for planting, text in (
        ({"raw_bytes": 1 << 40 >> 9}, "larger than any"),
        ({"raw_bytes": 1 << 20}, "another size"),
        ({"steps": 2}, "has 4 values"),
        ({"columns": {"start": ["x", None, ""]}}, "no start"),
        ({"columns": {"start": [1, [], ""]}}, "no start"),
        ({"columns": {"end": []}}, "unpack"),
        ({"columns": {"rewards": [1]}}, "has 1 values"),
    ):
        columns = {**good, **planting.pop("columns", {})}
        path.write_bytes(data)
        planted(path, b"".join(pack_columns(columns)), **planting)
        planted(path, b"".join(pack_columns(good)), episode=100)  # a damaged end would be left out
        with pytest.raises(NoRecordingError, match=text), open_trajectories(tmp_path) as recorded:
            list(map(whole, recorded))
    path.write_bytes(data)
    planted(path, b"".join(pack_columns({**good, "observations": [0] * 3, "infos": [{}] * 3})), flags=6)
    with open_trajectories(tmp_path) as recorded:
        assert len(list(recorded)) == 2
        assert "beginning" in recorded.notes[0]
    [manifest] = tmp_path.glob("openaigym.manifest.*")
    told = json.loads(manifest.read_text())
    for name in ("../" + path.name, "/etc/passwd", 7, None, "openaigym.trajectories./../../x"):
        manifest.write_text(json.dumps({**told, "trajectories": name}))
        with pytest.raises(NoRecordingError):
            open_trajectories(tmp_path)
    manifest.write_text("[]")
    with pytest.raises(NoRecordingError, match="no manifest"):
        open_trajectories(tmp_path)


def test_what_a_full_disk_refuses_is_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps go on, the state tells the error, a close says what it could not write, and then everything is there."""
    served = make(seed=0)
    served.monitor_start(str(tmp_path), trajectories=True)
    room = [300]
    write = os.write

    def nearly_full(descriptor: int, data: Any) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        taken = min(room[0], len(data))
        room[0] -= taken
        return write(descriptor, data[:taken])

    with monkeypatch.context() as patch:
        patch.setattr(trajectory_file.os, "write", nearly_full)
        patch.setattr(ReplacedFile, "replace", lambda *_: None)
        for _ in range(4):
            served.reset()
            for _ in range(3):
                served.step(1)
        assert "No space" in served._monitor.state()["error"]
        with open_trajectories(tmp_path) as recorded:
            assert len(list(recorded)) + len(recorded.notes) <= 2
        with pytest.raises(RecordingFailedError, match="No space"):
            served.monitor_close()
        room[0] = 1 << 30
        served.monitor_close()
    assert served._recorded["error"] is None
    assert [agree(*pair) for pair in zip(read(tmp_path), log(served), strict=True)] == [True] * 4


def test_memory_stays_bounded_while_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit episodes are dropped whole, the error says so, and what is recorded later tells of the gap."""
    served = make(seed=0)
    served.monitor_start(str(tmp_path), trajectories=True)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def play(episodes: int) -> None:
        for _ in range(episodes):
            served.reset()
            for _ in range(3):
                served.step(1)

    monkeypatch.setattr(trajectory_file, "MAX_WAITING_BYTES", 2000)
    with monkeypatch.context() as patch:
        patch.setattr(trajectory_file.os, "write", full)
        play(20)
        assert served._trajectories._file._waiting_bytes <= 2000
        assert recorder.LOST in served._monitor.state()["error"]
    play(2)
    assert served._monitor.state()["error"] is None
    served.close()
    episodes = read(tmp_path)
    assert 4 <= len(episodes) < 20
    assert [each.gap for each in episodes] == [""] * (len(episodes) - 2) + [recorder.LOST] * 2


def test_a_long_episode_is_written_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While an episode runs, no more than a block is kept, and a kill loses no more; it is read by position and in order."""
    monkeypatch.setattr(recorder, "BLOCK_BYTES", 1 << 20)
    monkeypatch.setattr(recorder, "BLOCK_STEPS", 10)
    served = make(seed=0)
    served._environment.unwrapped.length = 95
    served.monitor_start(str(tmp_path), trajectories=True)
    served.reset()
    for step in range(94):
        served.step(1)
        assert len(served._trajectories._current[0].actions) < 10
        if step % 10 == 9:
            [episode] = read(tmp_path)
            assert (len(episode.actions), episode.is_complete) == (step + 1, False)
    served.step(1)
    served.close()
    [stepped] = log(served)
    with open_trajectories(tmp_path) as recorded:
        [episode] = recorded
        for name, at in (("observations", 2), ("actions", 3), ("rewards", 4), ("infos", 5)):
            column = getattr(episode, name)
            assert same([column[each] for each in range(len(column))], stepped[at])
            assert same(column[-1], stepped[at][-1])
            assert same(column[7:33:5], stepped[at][7:33:5])
            with pytest.raises(IndexError):
                column[len(column)]


def test_large_frames_are_written_by_their_size(tmp_path: Path) -> None:
    """An environment that writes its frames into one array has each of them recorded, a few to a block."""
    served = make(seed=0)
    environment = served._environment.unwrapped
    environment.observation_space, environment.length = gymnasium.spaces.Box(0, 255, (210, 160, 3), np.uint8), 20
    environment.returned = np.zeros(1)
    served.monitor_start(str(tmp_path), trajectories=True)
    served.reset()
    for _ in range(20):
        served.step(1)
    served.close()
    [episode] = read(tmp_path)
    assert agree(episode, log(served)[0])
    with max(tmp_path.glob("openaigym.traj*")).open("rb") as file:
        heads = [head for _, head in trajectory_file.heads(file)]
    assert len(heads) > 3
    assert max(head.raw_bytes for head in heads) < recorder.BLOCK_BYTES * 1.3


def test_parts_are_read_in_the_order_of_their_recordings(tmp_path: Path) -> None:
    """Recordings beside each other are one, whatever of them is kept; those of several environments are refused."""
    record(tmp_path, 2)
    record(tmp_path, 1, resume=True)
    episodes = read(tmp_path)
    assert [(each.number, each.seed) for each in episodes] == [(0, 0), (1, None), (2, 0)]
    with open_trajectories(tmp_path) as recorded:
        assert recorded.spaces() == (Discrete(3), Discrete(3))
        assert (recorded.kept, recorded.num_envs, recorded.kwargs, recorded.wrappers) == ("full", None, {}, [])
        assert recorded.library.startswith("gymnasium ")
    served = make(kwargs={"length": 5})
    served.monitor_start(str(tmp_path), resume=True, trajectories=True)
    served.close()
    with pytest.raises(NoRecordingError, match="several environments"):
        open_trajectories(tmp_path)


def test_a_deleted_directory_is_made_again(tmp_path: Path) -> None:
    """Whoever deletes the directory of a running monitor loses what was there, and nothing that comes later."""
    served = make(seed=0)
    directory = tmp_path / "a"
    served.monitor_start(str(directory), trajectories=True)
    for _ in range(2):
        served.reset()
        for _ in range(3):
            served.step(1)
        assert [each.is_complete for each in read(directory)] == [True]
        shutil.rmtree(directory)
    served.close()
