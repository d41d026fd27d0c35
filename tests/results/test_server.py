"""Results over HTTP: a real server, and all that clients of the v1 contract send."""

from __future__ import annotations

import io
import json
import math
import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ..conftest import start
from ..support.object_store import s3_server
from ..support.recordings import record
from ..support.serving import ROOT, Server


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first results root."""
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module", params=["process", "handover", "inline"])
def serving(request: pytest.FixtureRequest, root: Path) -> Iterator[Server]:
    """A server with two roots that keeps evaluations in the first."""
    target = root / request.param
    with start(
        request.param, "--results-root", str(root), "--results-root", "/srv/second", "--upload-to", str(target)
    ) as server:
        yield server


def upload(server: Server, **body: Any) -> Any:
    return server.post("/v1/upload/", body)


def test_an_upload_answers_its_evaluation_and_is_found(serving: Server, root: Path) -> None:
    """The reply, the list and the single one tell the same; the last has the curve."""
    record(root / "run", [1.0, 2.0, 6.0], videos=[0])
    answer = upload(serving, training_dir=str(root / "run"), api_key="key", algorithm_id="mine")
    assert answer.status == 200
    made = answer.json
    assert (made["env_id"], made["episodes"], made["mean_return"], made["algorithm_id"]) == (
        "CartPole-v0",
        3,
        3.0,
        "mine",
    )
    assert (made["best_mean_return"], made["reward_threshold"]) == (None, 195.0)
    assert made in serving.get("/v1/evaluations/?env_id=CartPole-v0").json["evaluations"]
    one = serving.get(f"/v1/evaluations/{made['evaluation_id']}/").json
    curve = one.pop("curve")
    assert one == made
    assert curve == {
        "episode_returns": [1.0, 2.0, 6.0],
        "episode_lengths": [10, 10, 10],
        "running_means": [1.0, 1.5, 3.0],
        "seconds": [1.0, 2.0, 3.0],
    }


def test_environments_are_served_beside(serving: Server) -> None:
    """The settings of results reach an environment's process as what they are."""
    path = serving.create()
    assert all(serving.post(f"{path}/reset/", {"seed": 1}).status == 200 for _ in range(3))


@pytest.mark.parametrize("missing", [None, "", [], "absent"])
@pytest.mark.parametrize("name", ["training_dir", "api_key", "both"])
def test_a_missing_parameter_is_named(serving: Server, root: Path, name: str, missing: Any) -> None:
    """Null, the empty text and the empty array are missing; training_dir is named first."""
    record(root / "run")
    body: dict[str, Any] = {"training_dir": "run", "api_key": "key"}
    for each in body if name == "both" else [name]:
        body[each] = missing
    answer = upload(serving, **{key: value for key, value in body.items() if value != "absent"})
    assert answer.status == 400
    assert ("training_dir" in answer.message) == (name != "api_key")
    assert ("api_key" in answer.message) == (name == "api_key")


@pytest.mark.parametrize("algorithm_id", [None, "", []])
def test_no_algorithm_is_null(serving: Server, root: Path, algorithm_id: Any) -> None:
    """Whichever way a client says so."""
    record(root / "run")
    answer = upload(serving, training_dir="run", api_key="key", algorithm_id=algorithm_id, more="ignored")
    assert (answer.status, answer.json["algorithm_id"]) == (200, None)


@pytest.mark.parametrize("name", ["training_dir", "api_key", "algorithm_id"])
@pytest.mark.parametrize("value", [5, True, {}, ["x"], "\ud800"])
def test_what_is_no_text_is_refused(serving: Server, root: Path, name: str, value: Any) -> None:
    """With a 400 that names it and does not repeat it."""
    record(root / "run")
    answer = upload(serving, **{"training_dir": "run", "api_key": "key", name: value})
    assert answer.status == 400
    assert name in answer.message


def test_a_name_of_an_algorithm_has_an_end(serving: Server, root: Path) -> None:
    """Every page of the scoreboard repeats it."""
    record(root / "run")
    for length, status in {256: 200, 257: 400}.items():
        assert upload(serving, training_dir="run", api_key="key", algorithm_id="x" * length).status == status


@pytest.mark.parametrize("directory", ["/etc", "..", "run/../../x", "/srv/secondary"])
def test_a_directory_outside_the_roots_is_forbidden(serving: Server, root: Path, directory: str) -> None:
    """With the roots in the reply."""
    answer = upload(serving, training_dir=directory, api_key="a-secret-key")
    assert answer.status == 403
    assert str(root) in answer.message
    assert "/srv/second" in answer.message
    assert "a-secret-key" not in answer.message


@pytest.mark.parametrize("directory", ["absent", "a\0b", "x" * 5000, "/srv/second/absent"])
def test_what_holds_no_recording_is_a_400(serving: Server, directory: str) -> None:
    """Directories that are not there or cannot be are the caller's mistake."""
    assert upload(serving, training_dir=directory, api_key="key").status == 400


def test_returns_that_are_no_numbers_are_told_as_numbers(serving: Server, root: Path) -> None:
    """The reply is JSON as the contract says."""
    record(root / "odd", [math.nan, math.inf, 1.0])
    answer = upload(serving, training_dir="odd", api_key="key")
    assert answer.status == 200
    one = serving.get(f"/v1/evaluations/{answer.json['evaluation_id']}/").json
    assert one["curve"]["episode_returns"] == [-1e100, 1e100, 1.0]


def test_evaluations_are_listed_in_pages(serving: Server, root: Path) -> None:
    """Newest or best first; a page beyond the last is empty."""
    made = []
    for number in range(5):
        record(root / "pages", [float(number % 3)] * 100, env_id="Pages-v0")
        made.append(upload(serving, training_dir="pages", api_key="key").json)
    newest = sorted(made, key=lambda each: (each["created_at"], each["evaluation_id"]), reverse=True)
    for query, expected in {
        "": newest,
        "&order=newest&page=1&page_size=2": newest[:2],
        "&page=3&page_size=2": newest[4:],
        "&page=4&page_size=2": [],
        "&page=1000000&page_size=1000": [],
    }.items():
        answer = serving.get(f"/v1/evaluations/?env_id=Pages-v0{query}")
        assert answer.json["evaluations"] == expected
        assert answer.json["total"] == 5
    best = serving.get("/v1/evaluations/?env_id=Pages-v0&order=best").json["evaluations"]
    assert [each["mean_return"] for each in best] == [2.0, 1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("query", ["page=0", "page=x", "page_size=1001", "page_size=0", "order=worst", "env_id="])
def test_a_wrong_page_is_a_400(serving: Server, query: str) -> None:
    """As the contract bounds them."""
    assert serving.get(f"/v1/evaluations/?{query}").status == 400


@pytest.mark.parametrize("evaluation_id", ["x", "20260101T000000-00000000", "%2e%2e", "..%2F..%2Fetc", "%00", "x" * 64])
def test_an_unknown_evaluation_is_a_404(serving: Server, evaluation_id: str) -> None:
    """No id becomes a path."""
    assert serving.get(f"/v1/evaluations/{evaluation_id}/").status == 404


def test_uploads_at_the_same_time_do_not_hold_up_one_another(serving: Server, root: Path) -> None:
    """Nor requests of environments."""
    record(root / "many", videos=range(20))

    def ask(number: int) -> int:
        if number % 4:
            return serving.get("/v1/health/").status
        return upload(serving, training_dir="many", api_key="key").status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(40))) == {200}


def test_a_server_keeps_evaluations_in_an_object_store(tmp_path: Path) -> None:
    """They are there for the next server; a bucket that is not there is a 502 without secrets, in reply and log."""
    import s3fs

    record(tmp_path / "run", [1.0] * 100, videos=[0])
    with s3_server() as variables:
        s3fs.S3FileSystem(
            key=variables["AWS_ACCESS_KEY_ID"],
            secret=variables["AWS_SECRET_ACCESS_KEY"],
            endpoint_url=variables["AWS_ENDPOINT_URL"],
            skip_instance_cache=True,
        ).mkdir("kept")
        options = ("process", "--results-root", str(tmp_path), "--log-level", "debug", "--upload-to")
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            with start(*options, "s3://kept/here") as first:
                made = upload(first, training_dir="run", api_key="a-secret-key").json
                assert first.get("/v1/evaluations/").json["total"] == 1
            with start(*options, "s3://kept/here") as second:
                assert second.get("/v1/evaluations/").json["evaluations"] == [made]
                assert second.get(f"/v1/evaluations/{made['evaluation_id']}/").status == 200
            with start(*options, "s3://absent") as third:
                answer = upload(third, training_dir="run", api_key="a-secret-key")
        assert answer.status == 502
        assert "s3://absent/CartPole-v0/" in answer.message
        said = "".join([answer.message, *first.stderr, *second.stderr, *third.stderr])
        assert "a-secret-key" not in said
        assert variables["AWS_SECRET_ACCESS_KEY"] not in said
        assert json.dumps(made).count("secret") == 0


def test_a_target_that_cannot_be_used_ends_the_start_with_one_line() -> None:
    """And status 1."""
    done = subprocess.run(
        [sys.executable, "-m", "gym_http_server", "--port", "0", "--upload-to", "nonsense://x"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "--upload-to nonsense://x cannot be used" in done.stderr


@pytest.mark.parametrize("module", ["gym_http_server.handover.host", "gym_http_server.runtime.child"])
def test_an_environments_process_has_no_part_in_results(module: str) -> None:
    """It loads nothing of fsspec."""
    code = f"import sys, {module}; print([m for m in ('fsspec', 'gym_http_server.results.target') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).strip() == "[]"


def test_a_recording_without_a_completed_episode_is_an_evaluation(serving: Server) -> None:
    """What upstream's own suite does: start a monitor, close it, upload; it is shown, and ranks nowhere."""
    env = serving.create("Acrobot-v1")
    assert serving.post(f"{env}/monitor/start/", {"directory": "nothing", "force": True}).status == 200
    assert serving.post(f"{env}/monitor/close/").status == 200
    answer = upload(serving, training_dir="nothing", api_key="key", algorithm_id="none yet")
    assert (answer.status, answer.json["episodes"], answer.json["mean_return"]) == (200, 0, None)
    page = serving.request("GET", f"/scoreboard/{answer.json['evaluation_id']}", check=False)
    assert page.status == 200
    assert b"no completed episode" in page.body
    board = serving.request("GET", "/scoreboard?env_id=Acrobot-v1", check=False).body.decode()
    assert "none yet" in board
    assert 'data-label="Rank"' not in board


def test_the_files_of_an_evaluation_are_downloaded_as_one_archive(serving: Server, root: Path) -> None:
    """Every file comes as it lies in the target; HEAD sends none."""
    record(root / "files", [1.0, 2.0], videos=[0])
    (root / "files" / "openaigym.video.0.4711.video000000.mp4").write_bytes(bytes(range(256)) * 10_000)
    made = upload(serving, training_dir="files", api_key="key").json
    [folder] = root.rglob(made["evaluation_id"])
    path = f"/v1/evaluations/{made['evaluation_id']}/files/"
    answer = serving.get(path)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            path.name: path.read_bytes() for path in folder.iterdir()
        }
    assert serving.request("HEAD", path).body == b""
    assert serving.get("/v1/evaluations/20260101T000000-00000000/files/").status == 404


def test_a_download_that_cannot_be_completed_ends_its_connection(serving: Server, root: Path) -> None:
    """A client sees that the archive is incomplete; a client that leaves in the middle holds nothing up."""
    record(root / "torn", [1.0], videos=[0])
    with (root / "torn" / "openaigym.video.0.4711.video000000.mp4").open("wb") as video:
        video.truncate(64 << 20)
    made = upload(serving, training_dir="torn", api_key="key").json
    [folder] = root.rglob(made["evaluation_id"])
    for _ in range(40):  # more than there are threads
        with socket.create_connection(serving.address) as client:
            client.sendall(
                f"GET /v1/evaluations/{made['evaluation_id']}/files/ HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            )
            assert client.recv(100).startswith(b"HTTP/1.1 200")
    with socket.create_connection(serving.address) as client:
        client.sendall(
            f"GET /v1/evaluations/{made['evaluation_id']}/files/ HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        )
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        os.truncate(folder / "openaigym.video.0.4711.video000000.mp4", 1 << 20)
        received = b""
        while part := client.recv(1 << 20):
            received = (received + part)[-100:]
    assert not received.endswith(b"0\r\n\r\n")
    assert serving.get("/v1/evaluations/").status == 200
