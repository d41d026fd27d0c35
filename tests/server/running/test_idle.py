"""The setting `idle_timeout`: an instance that nobody uses is closed as if its client had done it."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import signal
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from gym_http_server.config import Settings
from gym_http_server.errors import UnknownInstanceError
from gym_http_server.instances.directory import MAX_REMEMBERED_IDS, Instances
from gym_http_server.instances.idle import Reaper, check_interval
from gym_http_server.instances.instance import Instance
from tests.conftest import KINDS, start
from tests.support.fake_engine import FakeEngine
from tests.support.handing import TROUBLE, handed, step
from tests.support.serving import Server, eventually

TIMEOUT = 0.5


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where recordings go."""
    return tmp_path_factory.mktemp("brief")


@pytest.fixture(scope="module", params=KINDS)
def brief(request: pytest.FixtureRequest, root: Path) -> Iterator[Server]:
    """A server of each kind that closes what nobody has used for half a second."""
    with start(request.param, "--idle-timeout", str(TIMEOUT), "--results-root", str(root)) as running:
        yield running


def is_closed(server: Server, env: str) -> bool:
    return server.get(f"{env}/").status == 400


def test_an_instance_that_nobody_uses_is_closed(brief: Server) -> None:
    """Afterwards it is unknown, the reason and the option are named, and the log tells of it at the level of info."""
    env = brief.create("CartPole-v1")
    began = time.monotonic()
    eventually(lambda: is_closed(brief, env))
    assert TIMEOUT * 0.8 < time.monotonic() - began < TIMEOUT * 4
    for answer in (brief.get(f"{env}/"), brief.post(f"{env}/reset/"), brief.post(f"{env}/close/")):
        assert answer.status == 400
        assert "unknown" in answer.message
        assert "0.5 s without use" in answer.message
        assert "--idle-timeout" in answer.message
        assert (answer.json["limit"], answer.json["setting"]) == (TIMEOUT, "idle_timeout")
    assert "--idle-timeout" not in brief.get("/v1/envs/00000000/").message
    instance_id = env.rsplit("/", 1)[1]
    eventually(lambda: any(re.search(f"INFO.*{instance_id} is closed", line) for line in brief.stderr))


def test_one_that_is_used_stays(brief: Server) -> None:
    """Each call begins the time anew, on whatever connection it comes."""
    env = brief.create("CartPole-v1")
    end = time.monotonic() + TIMEOUT * 3
    while time.monotonic() < end:
        assert brief.post(f"{env}/reset/").status == 200
        time.sleep(TIMEOUT / 10)  # so often is it used
    eventually(lambda: is_closed(brief, env))


def test_a_call_longer_than_that_is_no_idleness(brief: Server) -> None:
    """An instance is not closed under a call, and its time begins at the end of that."""
    env = brief.create(TROUBLE)
    brief.post(f"{env}/reset/")
    assert brief.post(f"{env}/step/", {"action": f"sleep {TIMEOUT * 3}"}).status == 200
    assert brief.post(f"{env}/step/", {"action": "x"}).json["observation"] == 2


def test_the_monitor_is_flushed(brief: Server, root: Path) -> None:
    """What was recorded up to then is on the disk, as after a close by the client."""
    env = brief.create("CartPole-v1")
    directory = f"idle-{os.urandom(4).hex()}"
    assert brief.post(f"{env}/monitor/start/", {"directory": directory}).status == 200
    brief.post(f"{env}/reset/", {"seed": 1})
    while not brief.post(f"{env}/step/", {"action": 1}).json["done"]:
        pass
    eventually(lambda: is_closed(brief, env))
    [statistics] = (root / directory).glob("*.stats.json")
    assert len(json.loads(statistics.read_text())["episode_lengths"]) == 1


def test_a_lost_instance_is_closed_too() -> None:
    """One whose process has died is not kept for ever."""
    with start("process", "--idle-timeout", str(TIMEOUT)) as server:
        env = server.create(TROUBLE)
        server.post(f"{env}/reset/")
        os.kill(server.post(f"{env}/step/", {"action": "pid"}).json["info"]["pid"], signal.SIGKILL)
        eventually(lambda: is_closed(server, env))
        assert "--idle-timeout" in server.get(f"{env}/").message


def test_a_connection_that_it_holds_comes_back() -> None:
    """A client whose connection lies in the process of an idle instance keeps it, and learns there what became of that."""
    with start("handover", "--idle-timeout", str(TIMEOUT)) as server, handed(server) as (client, env, pid):
        eventually(lambda: is_closed(server, env))
        answer = client.ask(step(env, "x"))
        assert answer.status == 400
        assert "--idle-timeout" in answer.message
        eventually(lambda: pid not in server.pids())


def test_the_looks_are_neither_rare_nor_many() -> None:
    """Half a second is looked after each twentieth of a second, a day each minute."""
    assert [check_interval(each) for each in (0.001, 0.5, 60, 86400)] == [0.05, 0.05, 6, 60]


def test_instances_stay_where_the_setting_is_0() -> None:
    """0 is for never; only leases run out then."""

    async def check() -> None:
        instances = Instances(Settings(idle_timeout=0), FakeEngine())
        kept = await instances.create(FakeEngine.REQUEST)
        reaper = Reaper(instances, 0)
        reaper.start()
        leased = await instances.create(FakeEngine.REQUEST, lease=0.1)
        while leased in instances.all():  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0.01)
        await reaper.stop()
        assert instances.all() == [kept]
        assert (instances.totals.expired, instances.totals.reaped) == (1, 0)

    asyncio.run(check())


def test_the_latest_that_were_closed_are_remembered() -> None:
    """A thousand and twenty-four of them; an older one is plainly unknown, and each is counted."""

    async def check() -> None:
        settings = Settings(max_envs=MAX_REMEMBERED_IDS + 1, idle_timeout=0.01)
        instances = Instances(settings, FakeEngine())
        made = [await instances.create(FakeEngine.REQUEST) for _ in range(MAX_REMEMBERED_IDS + 1)]
        reaper = Reaper(instances, settings.idle_timeout)
        reaper.start()
        while instances.all():  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0.01)
        await reaper.stop()
        assert instances.totals.reaped == MAX_REMEMBERED_IDS + 1
        texts = []
        for each in (made[0], made[-1]):
            with pytest.raises(UnknownInstanceError) as caught:
                instances.get(each.instance_id)
            texts.append("--idle-timeout" in str(caught.value))
        assert texts == [False, True]

    asyncio.run(check())


def test_an_instance_that_takes_long_to_close_is_closed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The looks that come while it closes leave it alone."""

    async def check() -> None:
        settings = Settings(idle_timeout=0.001)
        instances = Instances(settings, FakeEngine())
        await instances.create(FakeEngine.REQUEST)
        looks, closings, may_end = asyncio.Semaphore(0), [], asyncio.Event()
        live, reap = instances.all, instances.reap

        def look() -> list[Instance]:
            looks.release()
            return live()

        async def reap_slowly(instance: Instance) -> None:
            closings.append(instance.instance_id)
            await may_end.wait()
            await reap(instance)

        monkeypatch.setattr(instances, "all", look)
        monkeypatch.setattr(instances, "reap", reap_slowly)
        reaper = Reaper(instances, settings.idle_timeout)
        reaper.start()
        for _ in range(4):
            await looks.acquire()
        may_end.set()
        await reaper.stop()
        assert len(closings) == instances.totals.reaped == 1

    asyncio.run(check())


def test_between_two_looks_no_instance_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is closed frees its memory at once."""

    async def check() -> None:
        instances = Instances(Settings(), FakeEngine())
        looks, live = asyncio.Semaphore(0), instances.all

        def look() -> list[Instance]:
            looks.release()
            return live()

        monkeypatch.setattr(instances, "all", look)
        reaper = Reaper(instances, TIMEOUT)
        made = weakref.ref(await instances.create(FakeEngine.REQUEST))
        reaper.start()
        for _ in range(3):  # for the pause, then at each instance, and for the next pause
            await looks.acquire()
        [instance_id] = (instance.instance_id for instance in live())
        await instances.close(instance_id)
        assert made() is None
        await reaper.stop()

    gc.disable()
    try:
        asyncio.run(check())
    finally:
        gc.enable()
