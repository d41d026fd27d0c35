"""How many instances there may be, and how many are made at the same time."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterator

import pytest

from gym_http_server.config import Settings
from gym_http_server.errors import TooManyInstancesError
from gym_http_server.instances.directory import Instances
from tests.conftest import KINDS, start
from tests.support.fake_engine import FakeEngine
from tests.support.handing import TROUBLE, Client, step
from tests.support.serving import Server, threads


@pytest.fixture(scope="module", params=KINDS)
def small(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each kind that has two instances at most."""
    with start(request.param, "--max-envs", "2") as running:
        yield running


def test_more_instances_than_allowed_are_a_429(small: Server) -> None:
    """The problem names limit and option, an instance less makes room, and one that could not be made takes none."""
    for _ in range(3):
        assert small.post("/v1/envs/", {"env_id": "Nope-v0"}).status == 400
    first, second = small.create("CartPole-v1"), small.create("CartPole-v1", num_envs=2)
    answer = small.post("/v1/envs/", {"env_id": "CartPole-v1"})
    assert answer.status == 429
    assert answer.json["type"].endswith(":too-many-instances")
    assert (answer.json["limit"], answer.json["setting"]) == (2, "max_envs")
    assert "--max-envs" in answer.message
    assert len(small.get("/v1/envs/").json["envs"]) == 2
    assert small.post(f"{first}/close/").status == 200
    third = small.create("CartPole-v1")
    for each in (second, third):
        assert small.post(f"{each}/close/").status == 200


def test_many_at_once_are_never_more_than_allowed(small: Server) -> None:
    """Of ten creations at the same time two are made, for those under way count."""
    statuses: list[int] = []

    def create() -> None:
        statuses.append(small.post("/v1/envs/", {"env_id": TROUBLE, "kwargs": {"construct": "sleep 0.2"}}).status)

    with threads(*[create] * 10):
        pass
    assert sorted(statuses) == [200, 200, *[429] * 8]
    for each in small.get("/v1/envs/").json["envs"]:
        assert small.post(f"/v1/envs/{each}/close/").status == 200


@pytest.mark.parametrize("kind", ["handover", "process"])
def test_constructors_that_are_slow_delay_nobodys_steps(kind: str) -> None:
    """While all places are taken by slow constructors and more wait, another instance's steps take what they always do."""
    with start(kind, "--max-creations", "2") as server:
        env = server.create(TROUBLE)
        server.post(f"{env}/reset/")
        made: list[float] = []

        def create() -> None:
            server.create(TROUBLE, kwargs={"construct": "sleep 1"})
            made.append(time.monotonic())

        slowest = 0.0
        with threads(*[create] * 5), Client(server) as client:
            while len(made) < 5:
                began = time.monotonic()
                assert client.ask(step(env, "x")).status == 200
                slowest = max(slowest, time.monotonic() - began)
        assert slowest < 0.5
        # Two at a time: the third pair ends a second after the second, which ends a second after the first.
        assert made[-1] - made[0] > 1.5


def run(check: object) -> None:
    asyncio.run(check())  # type: ignore[operator]


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_creations_queue_in_their_order() -> None:
    """No more are made at the same time than allowed, and who waits longest is next."""

    async def check() -> None:
        engine = FakeEngine(is_open=False)
        instances = Instances(Settings(max_creations=2), engine)
        requests = [dataclasses.replace(FakeEngine.REQUEST, seed=index) for index in range(6)]
        tasks = [asyncio.create_task(instances.create(each)) for each in requests]
        await settled()
        assert engine.asked == [0, 1]
        for index in range(2, 6):
            engine.gate.release()
            await settled()
            assert len(engine.making) == 2
            assert engine.asked == list(range(index + 1))
        engine.gate.release()
        engine.gate.release()
        await asyncio.gather(*tasks)

    run(check)


def test_who_gives_up_in_the_queue_leaves_no_trace() -> None:
    """A creation that is cancelled while it waits or is made frees its place, and nothing of it is left."""

    async def check() -> None:
        engine = FakeEngine(is_open=False)
        instances = Instances(Settings(max_creations=1, max_envs=3), engine)
        made, waiting, last = (asyncio.create_task(instances.create(FakeEngine.REQUEST)) for _ in range(3))
        await settled()
        with pytest.raises(TooManyInstancesError):
            await instances.create(FakeEngine.REQUEST)
        waiting.cancel()
        made.cancel()
        await settled()
        assert len(engine.making) == 1
        engine.gate.release()
        assert (await last).instance_id == instances.all()[0].instance_id
        assert len(instances.all()) == 1
        engine.gate.release()
        engine.gate.release()
        for _ in range(2):
            await instances.create(FakeEngine.REQUEST)
        with pytest.raises(TooManyInstancesError):
            await instances.create(FakeEngine.REQUEST)

    run(check)
