"""OpenEnv's WebSockets through a router: two shards play as one server, and frames pass as they are."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from ..support.cluster import TestCluster
from ..support.openenv_socket import CLOSE, PING, PONG, Session
from ..support.serving import Server, eventually

LAKE = {"env_id": "FrozenLake-v1", "kwargs": {"is_slippery": False}}
TO_THE_GOAL = (1, 1, 2, 1, 2, 2)
NAMED = ("--openenv", f"lake={json.dumps(LAKE)}", "--openenv", "/=CartPole-v1")
CARTPOLE = "/openenv/CartPole-v1/ws"
WORDS = "/openenv/tests%2FWords-v0/ws"
ROOM = 3
MIB = 1 << 20


@pytest.fixture(scope="module")
def cluster() -> Iterator[TestCluster]:
    with TestCluster(2, ROOM, NAMED, (*NAMED, "--import", "tests.support.troublemakers")) as running:
        yield running


@pytest.fixture
def router(cluster: TestCluster) -> Iterator[Server]:
    yield cluster.router
    assert eventually(lambda: cluster.router.get("/v1/envs/").json["envs"] == {})


def open_to(router: Server, path: str = CARTPOLE, **data: Any) -> Session:
    """Return a client that has begun an episode."""
    client = Session(router.address, path)
    assert client.status == 101, client.head
    assert client.ask("reset", data)["type"] == "observation"
    return client


def shard_of(client: Session) -> str:
    """Return the prefix of the shard that plays with a client."""
    return str(client.ask("state")["data"]["instance_id"][:3])


def close(client: Session) -> None:
    """Close as clients do, and read the server's close."""
    client.send(CLOSE, b"\x03\xe8")
    assert client.closed() == 1000
    client.socket.close()


def test_sessions_spread_over_the_shards_and_play_to_the_goal(cluster: TestCluster, router: Server) -> None:
    """Whole episodes by a named environment, on both shards at once."""
    clients = [open_to(router, "/openenv/lake/ws") for _ in range(4)]
    assert sorted(map(shard_of, clients)) == sorted(cluster.prefixes * 2)
    for action in TO_THE_GOAL:
        for client in clients:
            client.tell("step", {"action": action})
        told = [client.answer()["data"] for client in clients]
    assert all((each["reward"], each["done"]) == (1.0, True) for each in told)
    for client in clients:
        close(client)


def test_capacity_is_that_of_all_shards(router: Server) -> None:
    """Each shard is filled; one client more is told so in the words of OpenEnv."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(open_to(router)) for _ in range(2 * ROOM)]
        with Session(router.address, CARTPOLE) as further:
            assert further.answer()["data"]["code"] == "CAPACITY_REACHED"
            assert further.closed() == 1000
        for client in clients:
            close(client)


def test_a_client_that_comes_back_finds_its_episode_on_whatever_shard(cluster: TestCluster, router: Server) -> None:
    """Also through another router; frames before its first message are answered; others begin an episode meanwhile."""
    before = {}
    for number in range(4):
        with open_to(router, seed=number, episode_id=f"e{number}") as client:
            client.ask("step", {"action": 1})
            before[f"e{number}"] = client.ask("state")["data"]["instance_id"]
    assert {each[:3] for each in before.values()} == set(cluster.prefixes)
    with cluster.start_router() as second:
        for episode_id, instance_id in before.items():
            asked = router if episode_id in ("e0", "e1") else second
            client = Session(asked.address, CARTPOLE)
            client.send(PING, b"first")
            assert client.read() == (PONG, b"first")
            told = client.ask("reset", {"episode_id": episode_id})["data"]
            assert told["metadata"].get("resumed") is True, (episode_id, told)
            assert client.ask("state")["data"]["instance_id"] == instance_id
            close(client)
    with open_to(router, episode_id="waits"):
        pass
    client = open_to(router, episode_id="another")
    assert client.ask("state")["data"]["step_count"] == 0
    close(client)
    back = Session(router.address, CARTPOLE)
    assert back.ask("reset", {"episode_id": "waits"})["data"]["metadata"]["resumed"] is True
    close(back)
