"""Environments that misbehave in every way, while others step on undisturbed: compared with twins in this process.

With connection hand-over and without, and in guests of an interpreter; alone, in batches and recorded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from gym_http_server.config import can_watch_memory
from gym_http_server.results.recording import load_results
from tests.conftest import start
from tests.support.serving import Answer, Server, eventually
from tests.support.twins import Twin, check, twins

TROUBLE = "tests/Troublemaker-v0"
LIMIT = 200 << 20


class Load(NamedTuple):
    """A server, those who play on it, and where it may record."""

    server: Server
    playing: list[Twin]
    root: Path
    is_guest: bool


GUEST = (
    "--interpreter",
    "own=self",
    "--interpreter-import",
    "own=tests.support.troublemakers",
    "--interpreter-fork",
    "own",
)


@pytest.fixture(scope="module", params=["handover", "process", pytest.param("guest", marks=pytest.mark.full)])
def load(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """A server on which others play all the time, one of them recorded."""
    root = tmp_path_factory.mktemp("results")
    options = ["--results-root", str(root), "--shutdown-timeout", "5"]
    if can_watch_memory():
        options += ["--max-memory-per-env", str(LIMIT)]
    is_guest = request.param == "guest"
    kind, more = ("handover", GUEST) if is_guest else (request.param, ())
    with start(kind, *options, *more) as server, contextlib.ExitStack() as stack:
        if is_guest:
            _make_guests(server)
        playing = []
        for each in twins(server):
            playing.append(each)
            stack.callback(each.stop)
        playing[0].record(root / "twin")
        for each in playing:
            each.start()
        yield Load(server, playing, root, is_guest)
        check(playing)
        stack.close()
        playing[0].check_recording(root / "twin")


def _make_guests(server: Server) -> None:
    """Have every trouble maker made in the interpreter; the host of its guests is there from then on."""
    create, post = server.create, server.post

    def with_interpreter(path: str, body: dict[str, Any] | None = None, **given: Any) -> Answer:
        if path == "/v1/envs/" and body is not None and body["env_id"].startswith("tests/"):
            body = {"interpreter": "own", **body}
        return post(path, body, **given)

    server.post = with_interpreter  # type: ignore[method-assign]
    env = create(TROUBLE)
    server.request("DELETE", f"{env}/")


@pytest.fixture(autouse=True)
def _undisturbed(load: Load) -> Iterator[None]:
    """Before and after each test those who play go on and see what their twins see, and no process is left."""
    before = load.server.pids()
    yield
    check(load.playing)
    eventually(lambda: load.server.pids() == before)


def act(server: Server, env: str, action: str) -> Answer:
    return server.post(f"{env}/step/", {"action": action})


def patience(action: str) -> float:
    """Return the call_timeout in seconds: short where it is to be over, and long where the machine may be slow."""
    return 2.0 if "hang" in action else 30.0


def ready(server: Server, action: str = "") -> str:
    env = server.create(TROUBLE, call_timeout=patience(action))
    server.post(f"{env}/reset/")
    return env


FATAL = {
    "exit 7": (502, "exit code 7"),
    "exit 0": (502, "exit code 0"),
    "abort": (502, "SIGABRT"),
    "segfault": (502, "SIGSEGV"),
    "hang": (504, "--call-timeout"),
    "hang_uninterruptibly": (504, "--call-timeout"),
    "close_descriptors": (502, ""),
    "grow 600": (502, "--max-memory-per-env"),
    "grow_child 600": (502, "--max-memory-per-env"),
}
"""What an environment does, and how the call is answered."""


def is_measured(action: str) -> None:
    if "grow" in action and not can_watch_memory():
        pytest.skip("the platform does not tell who takes memory")


@pytest.mark.parametrize("action", FATAL)
def test_one_that_dies_hangs_or_grows_takes_only_itself_down(load: Load, action: str) -> None:
    """Its call is answered with what is known, the next with 410, its recorded episodes are kept, and it can be closed."""
    is_measured(action)
    server, (status, words) = load.server, FATAL[action]
    env = server.create("tests/Short-v0", call_timeout=patience(action))
    directory = load.root / env.rsplit("/", 1)[1]
    assert server.post(f"{env}/monitor/start/", {"directory": str(directory)}).status == 200
    for _ in range(2):
        server.post(f"{env}/reset/")
        for _ in range(3):
            assert act(server, env, "x").status == 200
    server.post(f"{env}/reset/")
    answer = act(server, env, action)
    if answer.status == 200:
        # The step itself was answered before the memory was taken, or seen to be.
        assert "grow" in action
        answer = act(server, env, "sleep 20")
    assert (answer.status, words in answer.message) == (status, True), answer.body
    assert act(server, env, "x").status == 410
    assert server.post(f"{env}/close/").status == 200
    assert load_results(directory)["episode_rewards"] == [3.0, 3.0]


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("action", FATAL)
def test_a_lane_that_dies_hangs_or_grows_takes_only_its_batch_down(load: Load, action: str, mode: str) -> None:
    """The call of the batch is a 502 or 504, and after it can be closed nothing of it is left."""
    is_measured(action)
    if load.is_guest and mode == "async":
        pytest.skip("lanes of a guest are in its process")
    server = load.server
    env = ready_batch(server, mode, action)
    answer = server.post(f"{env}/batch/step/", {"actions": ["x", action, "x"]})
    if answer.status == 200:
        assert "grow" in action
        answer = server.post(f"{env}/batch/step/", {"actions": ["sleep 20", "x", "x"]})
    assert answer.status in (502, 504), answer.body
    assert server.post(f"{env}/close/").status == 200


def ready_batch(server: Server, mode: str, action: str) -> str:
    # A lane of an async batch that ends leaves Gymnasium waiting.
    seconds = 6.0 if mode == "async" else patience(action)
    env = server.create(TROUBLE, num_envs=3, vectorization_mode=mode, call_timeout=seconds)
    server.post(f"{env}/batch/reset/")
    assert server.post(f"{env}/batch/step/", {"actions": ["x", "x", "x"]}).status == 200
    return env


@pytest.mark.parametrize(
    "action",
    ["raise a fuss", "sys_exit", "print 5000", "warn", "read", "chdir", "signals", "threads", "spawn", "spawn_session",
     "spawn_in_thread", "asyncio 0.01", "weird_info", "leave_running", "big 100000", "random"],
)  # fmt: skip
def test_one_that_disturbs_its_surroundings_disturbs_nobody(load: Load, action: str) -> None:
    """What it does to its process stays there; it serves on, and its children end with it."""
    server = load.server
    env = ready(server)
    answer = act(server, env, action)
    assert answer.status in (200, 502)
    again = act(server, env, "pid")
    assert again.status == 200
    children = psutil.Process(again.json["info"]["pid"]).children(recursive=True)
    # Also a relative directory is the server's, wherever the environment went.
    directory = f"here-{env.rsplit('/', 1)[1]}"
    assert server.post(f"{env}/monitor/start/", {"directory": directory}).status == 200
    assert server.get(f"{env}/monitor/").json["directory"] == str(load.root / directory)
    assert server.post(f"{env}/close/").status == 200
    eventually(lambda: not any(each.is_running() for each in children))


def test_what_one_writes_is_in_the_servers_log(load: Load) -> None:
    """Its prints, warnings and log records come there with its instance id, and nowhere else."""
    env = ready(load.server)
    instance_id = env.rsplit("/", 1)[1]
    act(load.server, env, "warn")
    act(load.server, env, "print 3")
    for words in ("a warning of the environment", "an error of the environment", "a word of the environment", "line 2"):
        eventually(lambda words=words: any(words in line and instance_id in line for line in load.server.stderr))
    load.server.post(f"{env}/close/")


@pytest.mark.parametrize("construct", ["exit 4", "abort", "hang", "raise no", "grow 600", "spawn", "signals"])
def test_one_that_misbehaves_as_it_is_made_is_told_and_leaves_nothing(load: Load, construct: str) -> None:
    """createEnv is answered with what is known, and no instance is there but one that was made after all."""
    is_measured(construct)
    body = {"env_id": TROUBLE, "kwargs": {"construct": construct}, "call_timeout": patience(construct)}
    answer = load.server.post("/v1/envs/", body)
    if answer.status == 200:
        path = f"/v1/envs/{answer.json['instance_id']}"
        eventually(lambda: construct != "grow 600" or load.server.get(f"{path}/").json["state"] == "lost")
        load.server.request("DELETE", f"{path}/")
    else:
        expected = {"exit 4": 502, "abort": 502, "hang": 504, "raise no": 400, "grow 600": 502}
        assert answer.status == expected[construct]
    assert len(load.server.get("/v1/envs/").json["envs"]) == len(load.playing)


def test_many_misbehave_at_once(load: Load) -> None:
    """Twelve of them go down in twelve ways within a second, and each is told apart."""
    import concurrent.futures

    server, actions = load.server, ["exit 3", "abort", "segfault", "hang"] * 3
    envs = [ready(server, action) for action in actions]
    with concurrent.futures.ThreadPoolExecutor(len(actions)) as pool:
        answers = list(pool.map(lambda pair: act(server, *pair), zip(envs, actions, strict=True)))
    assert [each.status for each in answers] == [502, 502, 502, 504] * 3
    for env in envs:
        assert server.post(f"{env}/close/").status == 200
