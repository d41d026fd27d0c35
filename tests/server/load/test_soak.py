"""A soak: environments made, stepped, closed and killed at random, and memory, descriptors and children that stay flat.

Bounded: 20 s, or as many as `SOAK_SECONDS` says (`SOAK_SECONDS=600 pytest tests/server/load/test_soak.py`).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import psutil
import pytest

from gym_http_server.client import Client, ServerProblem
from tests.conftest import start
from tests.support.serving import Server, eventually

SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))
ROUNDS = 4 if SECONDS <= 60 else 12
CLIENTS = 4
SLACK = 6 << 20
"""Bytes by which memory may differ from one round to another: an allocator gives back what it likes."""


class Held(NamedTuple):
    """What a server holds while it does nothing.

    Attributes:
        memory: private memory of the server's process and of the fork server's, in bytes.
        descriptors: of both.
        children: processes below the server's.
        threads: of the server's process.
    """

    memory: int
    descriptors: int
    children: int
    threads: int


@pytest.fixture(params=["handover", "process"])
def soaked(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of its own, which soaks for half of the time."""
    with start(request.param, "--idle-timeout", "2", "--log-level", "warning") as running:
        yield running


def held(server: Server) -> Held:
    """Return what a server holds, when nobody uses it any more."""
    eventually(lambda: server.get("/v1/health/").json["instances"] == 0, 30)
    main = psutil.Process(server.process.pid)
    eventually(lambda: len(main.children(recursive=True)) == 1, 30)
    both = [main, *main.children()]
    # The clients' connections have ended, and the server has to notice.
    eventually(lambda: len(main.net_connections("tcp")) <= 3, 30)
    return Held(
        memory=sum(each.memory_full_info().uss for each in both),
        descriptors=sum(each.num_fds() for each in both),
        children=len(both) - 1,
        threads=main.num_threads(),
    )


def be_a_client(server: Server, seed: int, end: float, counts: list[int]) -> None:
    """Make, step, leave, close and kill environments until the time is over."""
    chance = random.Random(seed)
    kinds = ({"env_id": "CartPole-v1"}, {"env_id": "CartPole-v1", "num_envs": 4}, {"env_id": "FrozenLake-v1"},
             {"env_id": "tests/Troublemaker-v0"}, {"env_id": "no-such-env"})  # fmt: skip
    with Client("http://{}:{}".format(*server.address), packed=bool(seed % 2)) as client:
        while time.monotonic() < end:
            options = chance.choice(kinds)
            if options["env_id"] == "no-such-env":
                with pytest.raises(ServerProblem, match="400"):
                    client.create_env(**options)
                continue
            instance_id = client.create_env(**options)["instance_id"]
            with contextlib.suppress(ServerProblem):
                use(client, instance_id, options, chance)
            counts[0] += 1
            if chance.random() < 0.9:  # the others are left to the idle time-out
                client.close_env(instance_id)
            if chance.random() < 0.1:
                client.close()


def use(client: Client, instance_id: str, options: dict[str, object], chance: random.Random) -> None:
    if "num_envs" in options:
        client.reset_batch(instance_id, seed=chance.randrange(100))
        for _ in range(chance.randrange(30)):
            client.step_batch(instance_id, [chance.randrange(2) for _ in range(4)])
        return
    client.reset_env(instance_id)
    if options["env_id"] != "tests/Troublemaker-v0":
        for _ in range(chance.randrange(50)):
            if client.step_env(instance_id, client.sample_action(instance_id))["done"]:
                client.reset_env(instance_id)
        return
    pid = client.step_env(instance_id, "pid")["info"]["pid"]
    match chance.randrange(5):
        case 0:
            os.kill(pid, signal.SIGKILL)
        case 1:
            client.step_env(instance_id, "exit 3")
        case 2:
            client.step_env(instance_id, "spawn")
        case 3:
            client.step_env(instance_id, "print 200")
        case 4:
            client.step_env(instance_id, "raise a fuss")


def test_a_server_that_is_left_running_stays_as_it_was(soaked: Server) -> None:
    """After rounds of random use its memory, descriptors, threads and children are those after the first round."""
    seen, counts = [], [0]
    for index in range(ROUNDS):
        end = time.monotonic() + SECONDS / 2 / ROUNDS
        clients = [
            threading.Thread(target=be_a_client, args=(soaked, CLIENTS * index + number, end, counts))
            for number in range(CLIENTS)
        ]
        for each in clients:
            each.start()
        for each in clients:
            each.join(SECONDS + 60)
            assert not each.is_alive()
        seen.append(held(soaked))
    assert counts[0] > SECONDS
    # The first rounds load what is loaded on first use.
    early, late = seen[1 : len(seen) // 2 + 1], seen[-2:]
    assert statistics.mean(each.memory for each in late) - statistics.mean(each.memory for each in early) < SLACK, seen
    assert max(each.descriptors for each in late) <= max(each.descriptors for each in early), seen
    assert {each.children for each in seen} == {1}
    assert late[-1].threads <= early[-1].threads + 2, seen
