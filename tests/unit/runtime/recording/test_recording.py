"""Recordings on disk: Gym's format, complete after every episode, whatever happens to the process."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_http_server import load_results
from gym_http_server.errors import InvalidValueError, RecordingExistsError, RecordingFailedError
from gym_http_server.runtime.recording import writer
from gym_http_server.runtime.recording.replaced_file import ReplacedFile
from gym_http_server.runtime.recording.trajectories.file import IS_COMPLETE, heads, read_record
from gym_http_server.runtime.recording.trajectories.values import unpack_columns
from gym_http_server.runtime.recording.writer import TRAJECTORIES, RecordingWriter
from tests.support import old_gym
from tests.support.serving import threads

EPISODES = st.lists(st.tuples(st.floats(allow_nan=False), st.integers(1, 1 << 40)), max_size=12)


def make(directory: Path, *, force: bool = False, resume: bool = False) -> RecordingWriter:
    return RecordingWriter(directory, "CartPole-v1", "gymnasium 1.4.0", force=force, resume=resume)


def episodes(directory: Path) -> list[tuple[float, int]]:
    """Return the episodes of a directory, read as its format says: by way of its manifests, merged by time."""
    found = []
    for path in directory.glob("openaigym.manifest.*.manifest.json"):
        manifest = json.loads(path.read_text())
        assert manifest.keys() - {"trajectories"} == {"stats", "videos", "env_info"}
        assert manifest["env_info"] == {"gym_version": "gymnasium 1.4.0", "env_id": "CartPole-v1"}
        stats = json.loads((directory / manifest["stats"]).read_text())
        assert list(stats) == [
            "initial_reset_timestamp",
            "timestamps",
            "episode_lengths",
            "episode_rewards",
            "episode_types",
        ]
        assert set(stats["episode_types"]) <= {"t"}
        columns = [stats[name] for name in ("timestamps", "episode_rewards", "episode_lengths", "episode_types")]
        assert len({len(column) for column in columns}) == 1
        assert all(each >= stats["initial_reset_timestamp"] for each in stats["timestamps"])
        found += list(zip(*columns[:3], strict=True))
    return [(total, length) for _, total, length in sorted(found, key=lambda each: each[0])]


def complete_trajectories(path: Path) -> int:
    """Return the number of complete episodes in a file of trajectories, whose values are all read."""
    with path.open("rb") as file:
        found = 0
        for at, head in heads(file):
            columns = unpack_columns(read_record(file, at)[1]) if at else None
            if columns is not None and head.flags & IS_COMPLETE:
                assert columns["observations"] == [[found], *([found, step] for step in range(3))]
                found += 1
    return found


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@given(EPISODES, st.integers(1, 4), st.lists(st.integers(0, 12), max_size=2))
@settings(deadline=None)
def test_every_episode_is_on_disk_at_once_however_many_files_they_fill(
    added: list[tuple[float, int]], per_file: int, ends: list[int]
) -> None:
    """After each episode the directory holds all of them, also where recordings follow each other."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "EPISODES_PER_FILE", per_file)
        clock = itertools.count(1_000_000)
        patch.setattr(writer.time, "time", lambda: float(next(clock)))
        directory = Path(name)
        written = make(directory)
        written.begins()
        for count, (total, length) in enumerate(added):
            if count in ends:
                written.close()
                written = make(directory, resume=True)
                written.begins()
            written.add((total, length))
            assert episodes(directory) == added[: count + 1]
        written.close()
        assert episodes(directory) == added
        assert not [each for each in names(directory) if each.startswith("openaigym.partial")]


def test_a_file_that_is_full_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file has more episodes than there may be, and each has a manifest."""
    monkeypatch.setattr(writer, "EPISODES_PER_FILE", 3)
    written = make(tmp_path)
    written.begins()
    for count in range(7):
        written.add((float(count), 1))
    written.close()
    files = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("*.stats.json"))]
    assert [each["episode_rewards"] for each in files] == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [6.0]]
    assert len(list(tmp_path.glob("openaigym.manifest.*"))) == 3


def test_the_files_have_the_names_that_gym_gave_them(tmp_path: Path) -> None:
    """A recording is a manifest and a file of episodes, whose infix ends with the process id."""
    written = make(tmp_path)
    written.begins()
    written.add((1.0, 1))
    written.close()
    infix = f"0.{os.getpid()}"
    assert names(tmp_path) == [
        f"openaigym.episode_batch.{infix}.stats.json",
        f"openaigym.manifest.{infix}.manifest.json",
    ]
    assert written.video_base(27).name == f"openaigym.video.{infix}.video000027"


def test_a_second_recording_is_refused_and_says_how_it_can_be_had(tmp_path: Path) -> None:
    """A directory with a manifest takes another recording only with force or resume, and is left as it was."""
    make(tmp_path).close()
    before = names(tmp_path)
    with pytest.raises(RecordingExistsError, match=r"force.*resume"):
        make(tmp_path)
    assert names(tmp_path) == before


def test_force_deletes_the_files_of_recordings_and_no_other(tmp_path: Path) -> None:
    """Only what begins with `openaigym.` goes, and never what is behind a link or in a directory."""
    outside = tmp_path / "outside"
    directory = tmp_path / "recording"
    directory.mkdir()
    kept = ["openaigym", "openai.json", "notes.txt", "xopenaigym.manifest.json"]
    for name in [*kept, "openaigym.video.0.1.video000000.mp4", "openaigym.manifest.0.1.manifest.json"]:
        (directory / name).touch()
    (directory / "openaigym.directory").mkdir()
    outside.write_text("mine")
    (directory / "openaigym.link").symlink_to(outside)
    (directory / "openaigym.nowhere").symlink_to(tmp_path / "nowhere")
    make(directory, force=True).close()
    left = [name for name in names(directory) if not name.endswith((".stats.json", ".manifest.json")) or name in kept]
    assert left == sorted([*kept, "openaigym.directory"])
    assert outside.read_text() == "mine"


def test_two_recordings_in_one_directory_do_not_touch_each_other(tmp_path: Path) -> None:
    """Two that write at the same time have files of their own, though their process is the same."""
    first, second = make(tmp_path), make(tmp_path, resume=True)
    for index in range(5):
        for written in (first, second):
            written.begins()
            written.add((float(index), 1))
    assert len(episodes(tmp_path)) == 10
    assert len(list(tmp_path.glob("*.manifest.json"))) == 2


def test_what_somebody_deletes_is_written_again(tmp_path: Path) -> None:
    """A recording that another one deletes with force, or whose directory is removed, is there after its next episode."""
    directory = tmp_path / "a" / "b"
    written = make(directory)
    written.begins()
    written.add((1.0, 1))
    other = make(directory, force=True)
    other.close()
    written.add((2.0, 2))
    assert (1.0, 1) in episodes(directory)
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    written.add((3.0, 3))
    assert episodes(directory) == [(1.0, 1), (2.0, 2), (3.0, 3)]


def test_what_cannot_be_written_is_kept_and_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An episode that a full disk refuses is on disk as soon as there is room."""
    monkeypatch.setattr(writer, "EPISODES_PER_FILE", 2)
    written = make(tmp_path)
    written.begins()
    written.add((1.0, 1))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ReplacedFile, "replace", full)
        for index in range(2, 6):
            with pytest.raises(OSError, match="No space"):
                written.add((float(index), index))
        with pytest.raises(OSError, match="No space"):
            written.close()
        assert episodes(tmp_path) == [(1.0, 1)]
    written.add((6.0, 6))
    assert episodes(tmp_path) == [(float(index), index) for index in range(1, 7)]


def test_a_directory_that_cannot_be_is_a_mistake_that_is_named(tmp_path: Path) -> None:
    """A file, a name that is too long and a directory without permission are errors that say so."""
    (tmp_path / "file").touch()
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InvalidValueError, match="not a directory"):
            make(directory)
    with pytest.raises(InvalidValueError, match="too long"):
        make(tmp_path / ("x" * 300))
    with pytest.raises(RecordingFailedError, match="/proc/"):
        make(Path("/proc/1/recording"))


@pytest.mark.parametrize("has_links", [True, False])
def test_a_replaced_file_is_read_whole_at_any_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    """A reader sees one state of the file or the next, with hard links and on file systems that have none."""
    if not has_links:

        def refuse(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(Path, "hardlink_to", refuse)
    path = tmp_path / "file"
    path.touch()
    file = ReplacedFile(path, tmp_path / "spare")
    with path.open("rb") as before:
        for index in range(1, 50):
            data = b"%d" % index * index * 100
            file.replace(data)
            assert path.read_bytes() == data
        assert before.read() == b""
    file.close()
    assert names(tmp_path) == ["file"]


def test_whoever_reads_beside_a_writer_reads_whole_episodes(tmp_path: Path) -> None:
    """While episodes are added as fast as can be, each look at the directory finds all that were there before."""
    written = make(tmp_path)
    written.begins()
    stop = threading.Event()

    def write() -> None:
        for index in itertools.count():
            written.add((float(index), index + 1))
            if stop.is_set():
                return

    with threads(write):
        try:
            seen = 0
            while seen < 1500:
                returns = load_results(tmp_path)["episode_rewards"]
                assert returns == [float(index) for index in range(len(returns))]
                assert len(returns) >= seen
                seen = len(returns)
        finally:
            stop.set()


WRITER = """
import itertools, os, sys
from pathlib import Path
from gym_http_server.runtime.recording import writer
from gym_http_server.runtime.recording.trajectories.recorder import TrajectoryRecorder
writer.EPISODES_PER_FILE = 50
written = writer.RecordingWriter(Path(sys.argv[1]), "CartPole-v1", "gymnasium 1.4.0", force=False, resume=True)
steps = TrajectoryRecorder(written, {"env_id": "x"}, None, "full")
written.begins()
for index in itertools.count():
    steps.began(0, index, None, [index], {})
    for at in range(3):
        steps.stepped(0, at, [index, at], (float(at), at == 2, False), {}, ended=at == 2)
    written.add((float(index), index + 1))
    os.write(1, b".")
"""


def test_after_a_kill_at_any_moment_every_episode_is_there(tmp_path: Path) -> None:
    """What was said to be written is read after SIGKILL, and the directory loads and takes the next recording."""
    for _ in range(5):
        before = len(episodes(tmp_path))
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as process:
            said = 0
            while said < 120:
                part = process.stdout.read1()
                assert part, "it ended"
                said += len(part)
            process.kill()
            said += len(process.stdout.read())
        # One more may be written that was not said yet.
        assert said <= len(episodes(tmp_path)) - before <= said + 1
        assert said <= complete_trajectories(max(tmp_path.glob(f"{TRAJECTORIES}*"), key=os.path.getctime)) <= said + 2
    assert math.isfinite(sum(total for total, _ in episodes(tmp_path)))
    if old_gym.source() is not None:
        assert len(old_gym.load(tmp_path)["episode_rewards"]) == len(episodes(tmp_path))


@pytest.mark.full
@pytest.mark.skipif(
    old_gym.source() is None, reason=f"needs the source of gym 0.9.7 in ${old_gym.VARIABLE}, as CI has it"
)
def test_gym_0_9_7_reads_what_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own `load_results` returns the same episodes, of one recording, of several, and of none yet."""
    monkeypatch.setattr(writer, "EPISODES_PER_FILE", 3)
    written = make(tmp_path)
    assert old_gym.load(tmp_path)["episode_rewards"] == []
    for start in (0, 10):
        written.begins()
        for index in range(start, start + 10):
            written.add((index / 2, index + 1))
        written.close()
        written = make(tmp_path, resume=True)
    found = old_gym.load(tmp_path)
    assert found["env_info"] == {"gym_version": "gymnasium 1.4.0", "env_id": "CartPole-v1"}
    assert found["episode_rewards"] == [index / 2 for index in range(20)]
    assert found["episode_lengths"] == [index + 1 for index in range(20)]
    assert found["episode_types"] == ["t"] * 20
    assert found["timestamps"] == sorted(found["timestamps"])
