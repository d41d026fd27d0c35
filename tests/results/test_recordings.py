"""Recordings that lie on the server's machine: listed, stepped through, drawn and downloaded without an upload."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow.parquet
import pytest

from gym_http_server.results import recordings
from gym_http_server.results.recordings import Recordings
from gym_http_server.results.roots import Roots

from ..conftest import start
from ..support import recordings as written
from ..support.serving import Server
from .test_verification import record, upload


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def serving(root: Path) -> Iterator[Server]:
    """A server with a recording of each kind."""
    with start("handover", "--results-root", str(root), "--upload-to", str(root / "kept")) as server:
        record(server, "full", render_mode="rgb_array")
        record(server, "runs/actions", "FrozenLake-v1", render_mode="ansi", trajectories="actions")
        record(server, "none", trajectories=False)
        yield server


def at(operation: str, directory: str, **query: Any) -> str:
    more = "".join(f"&{name}={value}" for name, value in query.items())
    return f"/v1/recordings/{operation}?directory={quote(directory, safe='')}{more}"


def test_what_monitors_have_written_is_listed_with_the_newest_first(serving: Server, root: Path) -> None:
    """With what is kept of each; hidden directories, links and evaluations are passed over."""
    upload(serving, "full")
    written.record(root / ".hidden" / "run")
    (root / "link").symlink_to(root / "runs")
    told = serving.get("/v1/recordings/").json
    (root / "link").unlink()
    assert (told["total"], told["is_complete"]) == (3, True)
    shown = [(each["directory"], each["env_id"], each["trajectories"]) for each in told["recordings"]]
    assert shown == [
        (str(root / "none"), "CartPole-v1", "none"),
        (str(root / "runs" / "actions"), "FrozenLake-v1", "actions"),
        (str(root / "full"), "CartPole-v1", "full"),
    ]
    page = serving.get("/v1/recordings/?page=2&page_size=2").json["recordings"]
    assert [each["directory"] for each in page] == [str(root / "full")]


def test_a_search_that_takes_too_long_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found is told, and what is near is searched first."""
    for name in "abcdef":
        written.record(tmp_path / name / "deeper")
    written.record(tmp_path / "z")
    found, is_complete = Recordings(Roots((str(tmp_path),))).search()
    assert (len(found), is_complete) == (7, True)
    monkeypatch.setattr(recordings, "MAX_DIRECTORIES", 8)
    found, is_complete = Recordings(Roots((str(tmp_path),))).search()
    assert not is_complete
    assert tmp_path / "z" in [path for path, _ in found]


def test_a_damaged_recording_is_listed_with_what_is_wrong(tmp_path: Path) -> None:
    """The others are not affected."""
    written.record(tmp_path / "right")
    [manifest] = written.record(tmp_path / "wrong").glob("*.manifest.json")
    manifest.write_text('{"env_info": 3}')
    here = Recordings(Roots((str(tmp_path),)))
    told = {path.name: here.describe(path, moment) for path, moment in here.search()[0]}
    assert told["right"].problem is None
    assert "its manifest is damaged" in str(told["wrong"].problem)


def test_a_recording_is_told_with_its_numbers_of_episodes(serving: Server) -> None:
    """Those that were cut short, too; by a relative directory as it was given to the monitor, or by the absolute one."""
    told = serving.get(at("details/", "full")).json
    assert (told["episodes"], told["recorded"], told["trajectories"]) == (3, 3, "full")
    assert serving.get(at("details/", told["directory"])).json == told
    assert serving.get(at("details/", "none")).json["recorded"] == 0


def test_its_episodes_are_those_of_the_evaluation_made_of_it(serving: Server) -> None:
    """To the value; a frame of it is drawn again, too, and the dataset is the same."""
    evaluation = f"/v1/evaluations/{upload(serving, 'full')['evaluation_id']}"
    for number in range(3):
        mine = serving.get(at(f"episodes/{number}/", "full", count=1000)).json
        assert mine == serving.get(f"{evaluation}/episodes/{number}/?count=1000").json
    frame = serving.get(at("episodes/1/frames/2/", "full"))
    assert frame.body == serving.get(f"{evaluation}/episodes/1/frames/2/").body
    tables = []
    for address in (at("dataset/", "full"), f"{evaluation}/dataset/"):
        with zipfile.ZipFile(io.BytesIO(serving.get(address).body)) as archive:
            tables.append(pyarrow.parquet.read_table(io.BytesIO(archive.read("steps.parquet"))))
    assert tables[0].equals(tables[1])


def test_the_archive_has_every_file_of_the_recording(serving: Server, root: Path) -> None:
    """And no other file of the directory."""
    (root / "full" / "private.txt").write_text("mine")
    with zipfile.ZipFile(io.BytesIO(serving.get(at("files/", "full")).body)) as archive:
        assert archive.testzip() is None
        files = {name: archive.read(name) for name in archive.namelist()}
    assert files == {path.name: path.read_bytes() for path in (root / "full").glob("openaigym.*")}


def test_a_recording_is_read_while_it_grows(serving: Server) -> None:
    """An episode that is over is there with the reply to its last step, and a recording in its place has other frames."""
    path = serving.create("FrozenLake-v1", render_mode="ansi", kwargs={"is_slippery": False})
    frames = []
    for moves in ((2, 2, 1, 1), (1, 1, 2, 2)):
        assert (
            serving.post(f"{path}/monitor/start/", {"directory": "grows", "force": True, "trajectories": True}).status
            == 200
        )
        assert serving.post(f"{path}/reset/", {"seed": 1}).status == 200
        for move in moves:
            serving.post(f"{path}/step/", {"action": move})
        assert serving.post(f"{path}/reset/").status == 200
        assert serving.get(at("episodes/0/", "grows")).json["steps"] == 4
        assert serving.get(at("episodes/0/", "grows")).json["is_complete"] is False
        frames.append(serving.get(at("episodes/0/frames/1/", "grows")).body)
    assert frames[0] != frames[1]
    serving.post(f"{path}/close/")


@pytest.mark.parametrize(
    ("operation", "directory", "status", "words"),
    [
        ("details/", "/etc", 403, "outside the results roots"),
        ("episodes/0/", "nowhere", 400, "not found"),
        ("episodes/0/", "none", 400, "there are no trajectories"),
        ("episodes/3/", "full", 404, "has no episode 3: they are counted from 0"),
        ("episodes/0/frames/999/", "full", 404, "episode 0 has the frames 0 to"),
        ("dataset/", "runs/actions", 409, "actions without observations"),
        ("files/", "kept", 400, "no manifests"),
    ],
)
def test_what_is_not_there_is_refused_with_words(
    serving: Server, operation: str, directory: str, status: int, words: str
) -> None:
    """What was wrong and what to do."""
    answer = serving.get(at(operation, directory))
    assert answer.status == status, answer.message
    assert words in answer.message


def test_a_link_out_of_the_roots_is_not_followed(serving: Server, root: Path, tmp_path: Path) -> None:
    """Neither a file of trajectories nor a manifest."""
    outside = written.record(tmp_path / "outside")
    (root / "links").mkdir()
    for file in outside.iterdir():
        (root / "links" / file.name).symlink_to(file)
    for operation in ("details/", "episodes/0/", "files/"):
        answer = serving.get(at(operation, "links"))
        assert answer.status in (400, 403), answer.message
        assert "CartPole" not in answer.message


def test_an_instance_says_where_it_records(serving: Server, root: Path) -> None:
    """Null before its first monitor; where it recorded last, after that is closed, too."""
    path = serving.create("CartPole-v1")
    assert serving.get(f"{path}/").json["recording"] is None
    assert serving.post(f"{path}/monitor/start/", {"directory": "where", "force": True}).status == 200
    assert serving.post(f"{path}/monitor/close/").status == 200
    assert serving.get(f"{path}/").json["recording"] == str(root / "where")
    serving.post(f"{path}/close/")
