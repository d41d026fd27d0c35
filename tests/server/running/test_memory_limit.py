"""The setting `max_memory_per_env`: an environment that takes too much memory ends, and nothing else does."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from gym_http_server import config
from gym_http_server.config import Settings
from gym_http_server.engines.process import memory_watch
from gym_http_server.engines.process.memory_watch import CHECK_SECONDS, SLICE_SECONDS, MemoryWatch, own, resident
from gym_http_server.engines.process.process_tree import Traces
from gym_http_server.errors import EngineUnavailableError
from tests.conftest import start
from tests.support.handing import TROUBLE, Client, step
from tests.support.serving import Server, eventually

pytestmark = pytest.mark.skipif(not config.can_watch_memory(), reason="the platform does not tell who takes memory")

LIMIT = 150 << 20
TOO_MUCH = 300


@pytest.fixture(scope="module", params=["handover", "process"])
def limited(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with a limit, once with hand-over and once without."""
    with start(request.param, "--max-memory-per-env", str(LIMIT)) as running:
        yield running


def names_the_limit(text: str) -> bool:
    return str(LIMIT) in text and "--max-memory-per-env" in text


def ready(server: Server, **options: object) -> str:
    env = server.create(TROUBLE, **options)
    assert server.post(f"{env}/reset/").status == 200
    return env


def act(server: Server, env: str, action: object):
    return server.post(f"{env}/step/", {"action": action})


def test_an_environment_that_grows_ends_in_the_call_under_way(limited: Server) -> None:
    """The call is a 502 that names the limit and the setting, later ones 410 that do too, and others go on."""
    bystander, env = ready(limited), ready(limited)
    pid = act(limited, env, "pid").json["info"]["pid"]
    act(limited, env, f"grow_later {TOO_MUCH}")
    answer = act(limited, env, "sleep 30")
    assert answer.status == 502
    assert names_the_limit(answer.message)
    facts = answer.json
    assert (facts["limit"], facts["setting"]) == (LIMIT, "max_memory_per_env")
    assert LIMIT < facts["memory"] < LIMIT * 10
    later = act(limited, env, "x")
    assert later.status == 410
    assert names_the_limit(later.message)
    eventually(lambda: not psutil.pid_exists(pid))
    assert act(limited, bystander, "x").json["observation"] == 1


def test_one_that_grows_on_a_connection_of_its_own_ends_too(limited: Server) -> None:
    """The client of a connection that may be handed over has the 502, then the 410, on the same connection."""
    with Client(limited) as client:
        env = ready(limited)
        assert client.ask(step(env, "x")).status == 200
        assert client.ask(step(env, f"grow_later {TOO_MUCH}")).status == 200
        answer = client.ask(step(env, "sleep 30"))
        assert answer.status == 502
        assert names_the_limit(answer.message)
        assert client.ask(step(env, "x")).status == 410


@pytest.mark.parametrize("action", ["grow", "grow_child", "grow_orphan", "grow_daemon", "grow_shared", "grow_later"])
def test_what_is_taken_between_calls_counts_with_all_children(limited: Server, action: str) -> None:
    """Memory of children, of orphans and of what they share counts; the instance is lost and nothing of it is left."""
    before = limited.pids()
    env = ready(limited)
    assert act(limited, env, f"{action} {TOO_MUCH}").status in (200, 502)
    eventually(lambda: limited.get(f"{env}/").json["state"] == "lost")
    answer = act(limited, env, "x")
    assert answer.status == 410
    assert names_the_limit(answer.message)
    assert limited.post(f"{env}/close/").status == 200
    eventually(lambda: limited.pids() <= before)


def test_a_constructor_that_grows_is_told(limited: Server) -> None:
    """createEnv is a 502 that names the limit, and no instance is left."""
    body = {"env_id": "tests/Greedy-v0", "kwargs": {"megabytes": TOO_MUCH}}
    answer = limited.post("/v1/envs/", body)
    assert answer.status == 502
    assert names_the_limit(answer.message)


def test_the_lanes_of_a_batch_count_as_one_environment(limited: Server) -> None:
    """Eight lanes share what they are forked with, and one that grows ends the batch."""
    env = limited.create(TROUBLE, num_envs=8, vectorization_mode="async")
    assert limited.post(f"{env}/batch/reset/", {}).status == 200
    answer = limited.post(f"{env}/batch/step/", {"actions": ["x"] * 7 + ["sleep 0.5"]})
    assert answer.status == 200, answer.body
    answer = limited.post(f"{env}/batch/step/", {"actions": ["sleep 30"] * 7 + [f"grow {TOO_MUCH}"]})
    assert answer.status == 502, answer.body
    assert names_the_limit(answer.message)


def test_an_environment_under_the_limit_lives(limited: Server) -> None:
    """What it has is less than the limit, however much it shares with the fork server."""
    env = ready(limited)
    pid = act(limited, env, "pid").json["info"]["pid"]
    assert act(limited, env, "grow 120").status == 200
    assert resident(pid) > LIMIT
    time.sleep(CHECK_SECONDS * 3)  # three looks, in which nothing is to happen
    assert act(limited, env, "x").json["observation"] == 3


def test_the_kernel_is_told_to_take_environments_first(limited: Server) -> None:
    """Where memory runs out, the kernel ends an environment's process and not the server."""
    assert act(limited, ready(limited), "oom").json["info"]["oom"] == 1000


def test_a_limit_that_cannot_be_held_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The inline engine, and a platform without /proc, have no such limit."""
    with pytest.raises(EngineUnavailableError, match="max_memory_per_env"):
        Settings(engine="inline", max_memory_per_env=1)
    monkeypatch.setattr(config, "can_watch_memory", lambda: False)
    with pytest.raises(EngineUnavailableError, match="/proc"):
        Settings(max_memory_per_env=1)
    assert Settings().max_memory_per_env == 0


def test_who_watches_nothing_never_wakes() -> None:
    """Without a limit there is no pause to end; with one the next look follows soon, and finds who is over it."""
    assert MemoryWatch(0).pause is None
    assert MemoryWatch(0).exceeding({os.getpid(): Traces(0, "")}) == {}
    code = "kept = b'x' * (50 << 20); print('ready', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        watch, environments = MemoryWatch(20 << 20), {child.pid: Traces(0, "")}
        assert watch.pause == 0
        [(pid, taken)] = watch.exceeding(environments).items()
        assert pid == child.pid
        assert 50 << 20 < taken <= resident(child.pid)
        assert watch.pause > 0
        assert watch.exceeding(environments) == {}  # not before the next look
        child.stdin.close()
    assert resident(child.pid) == 0
    assert own([child.pid]) == 0


def test_a_check_of_many_processes_is_made_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a slice of time the fork server can fork; the next slices check the others, each once, and then a check begins."""
    checked: list[int] = []
    now = itertools.count()
    monkeypatch.setattr(memory_watch.time, "monotonic", lambda: next(now) * SLICE_SECONDS / 3)
    monkeypatch.setattr(memory_watch, "tree_of", lambda pid: [pid])
    monkeypatch.setattr(memory_watch, "resident", lambda pid: checked.append(pid) or 0)
    environments = {pid: Traces(0, "") for pid in range(-7, 0)}
    watch = MemoryWatch(1)
    sizes = []
    while len(checked) < 2 * len(environments):
        before = len(checked)
        watch.exceeding(environments)
        sizes.append(len(checked) - before)
    assert 0 < max(sizes) < len(environments)
    assert sorted(checked[:7]) == sorted(checked[7:]) == list(range(-7, 0))
