"""Partial files: the next recording in a directory removes those that a kill left, and no others."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gym_http_server.runtime.recording import partial_files
from gym_http_server.runtime.recording.writer import RecordingWriter

KILLED = """
import os, signal, sys
from pathlib import Path
from gym_http_server.runtime.recording.writer import RecordingWriter
recording = RecordingWriter(Path(sys.argv[1]), "CartPole-v1", "gymnasium 1.4.0", force=False, resume=True)
for _ in range(3):
    recording.add((1.0, 1))
os.kill(os.getpid(), signal.SIGKILL)
"""


def recording(directory: Path) -> RecordingWriter:
    return RecordingWriter(directory, "CartPole-v1", "gymnasium 1.4.0", force=False, resume=True)


def partial(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir() if path.name.startswith("openaigym.partial.")}


def killed(directory: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, directory], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL


def test_what_a_kill_left_is_removed_by_the_next_recording(tmp_path: Path) -> None:
    """Its own partial files are all that is there, and none once it is closed; what was recorded stays."""
    killed(tmp_path)
    left, whole = partial(tmp_path), len(list(tmp_path.glob("openaigym.episode_batch.*")))
    assert len(left) >= 4
    following = recording(tmp_path)
    assert not left & partial(tmp_path)
    following.close()
    assert partial(tmp_path) == set()
    assert len(list(tmp_path.glob("openaigym.episode_batch.*"))) == whole + 1


def test_a_live_recording_keeps_its_partial_files(tmp_path: Path) -> None:
    """Also where both are of one process; the one that a kill left is removed beside it."""
    live = recording(tmp_path)
    live.add((1.0, 1))
    its = partial(tmp_path)
    killed(tmp_path)
    other = recording(tmp_path)
    assert its <= partial(tmp_path)
    other.close()
    assert partial(tmp_path) == its
    live.add((2.0, 2))
    live.close()
    assert partial(tmp_path) == set()


@pytest.mark.parametrize("alive", [True, False])
def test_without_a_lock_the_process_id_tells(tmp_path: Path, alive: bool) -> None:
    """An earlier version left no lock; files that are no recording's stay."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    pid = os.getpid() if alive else process.pid
    name = f"openaigym.partial.episode_batch.0.{pid}.stats.json.3"
    (tmp_path / name).write_text("")
    (tmp_path / "openaigym.partial.notes").write_text("")
    partial_files.remove_left(tmp_path)
    assert partial(tmp_path) == ({name} if alive else set()) | {"openaigym.partial.notes"}
