"""From a server to a dataset: episodes are recorded over HTTP, exported, loaded and repeated by the commands."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import minari
import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

from gym_http_server.cli import main
from gym_http_server.client import Client, RemoteEnv
from gym_http_server.results.trajectories import open_trajectories
from gym_http_server.verification.dataset import parquet_archive
from gym_http_server.verification.source import Source

from ..support.serving import Server
from ..support.stepping import alter


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server("--results-root", str(tmp_path_factory.getbasetemp()), "--api-key", "s3cret") as server:
        yield server


@pytest.fixture(scope="module")
def recordings(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two complete episodes and the beginning of a third, by what is kept."""
    made = {}
    for kept in (True, "actions"):
        made[str(kept)] = directory = tmp_path_factory.mktemp("recordings") / str(kept)
        with Client(server.url, "s3cret") as client, RemoteEnv(server.url, "CartPole-v1", api_key="s3cret") as env:
            client.start_monitor(env.instance_id, str(directory), trajectories=kept)
            for episode in range(3):
                env.reset(seed=None if episode else 4)
                is_over, step = False, 0
                while not is_over and (episode < 2 or step < 3):
                    *_, is_over, _, _ = env.step(step % 2)
                    step += 1
    return made


def run(server: Server | None, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Return status, stdout and stderr of a command, beside a server unless it is None."""
    beside = () if server is None else ("--url", server.url, "--api-key", "s3cret")
    with pytest.raises(SystemExit) as exited:
        main([*map(str, arguments), *beside])
    return int(exited.value.code or 0), *capsys.readouterr()


def test_a_recording_is_exported_to_minari_and_loaded(
    recordings: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By default into Minari's own directory under the recording's name; what is left out is said."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    status, out, err = run(None, capsys, "export", recordings["True"], "--to", "minari")
    assert status == 0
    assert "minari.load_dataset('True-v0')" in out
    assert "left out: 1 episodes that did not end" in err
    data_set = minari.load_dataset("True-v0")
    assert data_set.env_spec.id == "CartPole-v1"
    with open_trajectories(recordings["True"]) as trajectories:
        for episode, loaded in zip(trajectories, data_set.iterate_episodes(), strict=False):
            assert np.stack(list(episode.observations or ())).tobytes() == loaded.observations.tobytes()
            assert np.array(list(episode.rewards)).tobytes() == loaded.rewards.tobytes()
    status, _, err = run(None, capsys, "export", recordings["True"], "--to", "minari")
    assert (status, "exists already" in err) == (1, True)
    assert run(None, capsys, "export", recordings["True"], "--to", "minari", "--force")[0] == 0
    assert [each.name for each in tmp_path.iterdir()] == ["True-v0"]


def test_a_recording_of_actions_is_repeated_before_it_is_exported(
    server: Server, recordings: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its dataset is that of a recording of everything, and one that comes out different is refused."""
    for kept, directory in recordings.items():
        assert run(server, capsys, "export", directory, "--to", "parquet", "--output", tmp_path / kept)[0] == 0
    tables = [pq.read_table(tmp_path / kept / "steps.parquet") for kept in recordings]
    assert tables[0].equals(tables[1])
    assert tables[0].num_rows == sum(pq.read_table(tmp_path / "True" / "episodes.parquet")["steps"].to_pylist()) + 3
    alter(recordings["actions"], lambda columns: columns["rewards"].__setitem__(0, 0.5))
    status, _, err = run(server, capsys, "export", recordings["actions"], "--to", "parquet", "--output", tmp_path / "x")
    assert (status, (tmp_path / "x").exists()) == (1, False)
    assert "episode 0 cannot be made again: different from step 1 on" in err
    alter(recordings["actions"], lambda columns: columns["rewards"].__setitem__(0, 1.0))
    unreachable = ("--url", "http://127.0.0.1:9")
    status, _, err = run(None, capsys, "export", recordings["actions"], "--to", "parquet", *unreachable)
    assert (status, len(err.splitlines()), "cannot be made again" in err) == (1, 1, True)


@pytest.mark.parametrize("kept", ["True", "actions"])
def test_a_recording_is_repeated(
    kept: str, server: Server, recordings: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every episode comes out equal, on a server that runs; nothing is left there."""
    status, out, _ = run(server, capsys, "replay", recordings[kept])
    assert (status, out.splitlines()[-1]) == (0, "3 equal, 0 different, 0 impossible")
    with Client(server.url, "s3cret") as client:
        assert client.list_envs() == {}


def test_a_server_of_its_own_repeats_a_recording(recordings: dict[str, Path]) -> None:
    """Without a URL; it is ended with the command, whose settings it has."""
    command = [sys.executable, "-m", "gym_http_server", "--call-timeout", "60", "replay", "--quiet"]
    done = subprocess.run([*command, str(recordings["True"])], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "3 equal, 0 different, 0 impossible\n"), done.stderr


def changed(columns: dict[str, list[Any]]) -> None:
    value = columns["observations"][1].copy()
    value.view(np.uint8)[0] ^= 1
    columns["observations"][1] = value


def test_a_dataset_that_nobody_takes_keeps_no_file_open(recordings: dict[str, Path]) -> None:
    """Its files are closed with its archive, whether a part of that was read or none."""
    directory = recordings["True"]
    source = Source(str(directory), "the recording", None, {}, lambda: open_trajectories(directory))
    for count in (0, 1):
        parts = parquet_archive(source)
        assert len(list(itertools.islice(parts, count))) == count
        descriptors = psutil.Process().num_fds()
        del parts
        # Of metadata, steps and episodes.
        assert psutil.Process().num_fds() == descriptors - 3


def test_one_changed_bit_is_found(
    server: Server, recordings: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 1, and the episode, the step and the value are named."""
    copy_of(recordings["True"], tmp_path)
    alter(tmp_path, changed)
    status, out, _ = run(server, capsys, "replay", tmp_path, "--quiet")
    assert status == 1
    assert "episode 0: different from step 1 on" in out
    assert "observation[0]: " in out
    assert "(1 of 4 numbers differ)" in out


def copy_of(source: Path, target: Path) -> None:
    for each in source.iterdir():
        (target / each.name).write_bytes(each.read_bytes())


@pytest.mark.parametrize("case", ["no recording", "no such environment", "no server", "no seed"])
def test_what_cannot_be_repeated_ends_with_2(
    case: str, server: Server, recordings: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reason is one line."""
    arguments: tuple[str, ...] = ()
    if case != "no recording":
        copy_of(recordings["True"], tmp_path)
    if case == "no seed":
        alter(tmp_path, lambda columns: columns.get("start", [0]).__setitem__(0, None))
        alter(tmp_path, lambda columns: columns.get("start", [0, 0, 0]).__setitem__(2, "there was no seed"))
    if case == "no such environment":
        alter(tmp_path, lambda _: None, environment=lambda told: {**told, "env_id": "NoSuch-v0"})
    if case == "no server":
        arguments = ("--url", "http://127.0.0.1:9")
    status, out, err = run(None if arguments else server, capsys, "replay", tmp_path, *arguments)
    assert status == 2
    expected = {
        "no recording": "there are no trajectories",
        "no such environment": "NoSuch-v0",
        "no server": "127.0.0.1:9",
        "no seed": "there was no seed",
    }
    assert expected[case] in out + err, (out, err)
    assert len(err.splitlines()) == (case != "no seed"), err


def test_a_missing_package_is_named(
    recordings: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the pip command that installs it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    status, _, err = run(None, capsys, "export", recordings["True"], "--to", "minari")
    assert status == 1
    assert "minari, h5py" in err
    assert "pip install 'minari[hdf5]>=0.5.4'" in err


def test_a_recording_without_an_episode_says_so(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is nothing to repeat or to export."""
    with Client(server.url, "s3cret") as client, RemoteEnv(server.url, "CartPole-v1", api_key="s3cret") as env:
        client.start_monitor(env.instance_id, str(tmp_path), trajectories=True)
    status, _, err = run(server, capsys, "replay", tmp_path)
    assert (status, "there is no episode" in err) == (2, True)
    status, _, err = run(server, capsys, "export", tmp_path, "--to", "lerobot", "--output", tmp_path / "set")
    assert (status, "no episode in" in err) == (1, True)
