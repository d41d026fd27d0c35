"""A soak by agents: sessions of both faces that play, break, are cut off and left, and a server that stays as it was.

Bounded: 5 s, or as many as `SOAK_SECONDS` says (`SOAK_SECONDS=300 pytest tests/server/load/test_agent_soak.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import statistics
import threading
import time
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.conftest import start
from tests.support.mcp_http import McpSession
from tests.support.serving import Server

from .test_soak import CLIENTS, SLACK, held

SECONDS = float(os.environ.get("SOAK_SECONDS", "5"))
ROUNDS = 4 if SECONDS <= 60 else 12

ENVIRONMENTS = ("CartPole-v1", "FrozenLake-v1", "tests/Troublemaker-v0", "no-such-env")
MISDEEDS = ("exit 3", "spawn", "print 200", "raise a fuss", "pid")


def action_for(env_id: str, chance: random.Random) -> Any:
    return chance.choice(MISDEEDS) if env_id.startswith("tests/") else chance.randrange(2)


def be_a_model(server: Server, chance: random.Random) -> None:
    """Play in a session of MCP, make mistakes, and end it, or leave it to the idle time-out."""
    session = McpSession(server)
    env_id = chance.choice(ENVIRONMENTS)
    made = session.call("create", env_id=env_id)
    if not made.get("isError"):
        session.call("reset")
        for _ in range(chance.randrange(20)):
            session.call("step", action=action_for(env_id, chance), frame=chance.random() < 0.1)
    if chance.random() < 0.9:
        session.__exit__()


def be_a_trainer(server: Server, chance: random.Random) -> None:
    """Play over a WebSocket of OpenEnv, and close it, cut it off or send what is no message."""
    env_id = chance.choice(ENVIRONMENTS)
    url = "ws://{}:{}/openenv/{}/ws".format(*server.address, env_id.replace("/", "%2F"))
    with contextlib.suppress(ConnectionClosed), connect(url) as connection:
        exchange(connection, {"type": "reset"})
        for _ in range(chance.randrange(30)):
            exchange(connection, {"type": "step", "data": {"action": action_for(env_id, chance)}})
        match chance.randrange(4):
            case 0:
                connection.send(b"\0")
            case 1:
                connection.socket.shutdown(socket.SHUT_RDWR)
            case 2:
                connection.send('{"type": "close"}')


def exchange(connection: ClientConnection, message: dict[str, Any]) -> None:
    connection.send(json.dumps(message))
    connection.recv(60)


def play(server: Server, seed: int, end: float, counts: list[int]) -> None:
    chance = random.Random(seed)
    while time.monotonic() < end:
        chance.choice((be_a_model, be_a_trainer))(server, chance)
        counts[0] += 1


@pytest.mark.timeout(SECONDS + 300)
def test_sessions_of_agents_leave_a_server_as_it_was() -> None:
    """After rounds of random sessions its memory, descriptors, threads and children are those after the first rounds."""
    idle = ("--idle-timeout", "2", "--mcp-idle-timeout", "2", "--openenv-grace", "1")
    with start("handover", *idle, "--log-level", "warning") as server:
        seen, counts = [], [0]
        for index in range(ROUNDS):
            end = time.monotonic() + SECONDS / ROUNDS
            clients = [
                threading.Thread(target=play, args=(server, CLIENTS * index + number, end, counts))
                for number in range(CLIENTS)
            ]
            for each in clients:
                each.start()
            for each in clients:
                each.join(SECONDS + 60)
                assert not each.is_alive()
            server.disconnect()
            seen.append(held(server))
    assert counts[0] > ROUNDS
    early, late = seen[1 : len(seen) // 2 + 1], seen[-2:]
    assert statistics.mean(each.memory for each in late) - statistics.mean(each.memory for each in early) < SLACK, seen
    # A connection that has ended may not be noticed yet.
    assert max(each.descriptors for each in late) <= max(each.descriptors for each in early) + 2, seen
    assert {each.children for each in seen} == {1}
    assert late[-1].threads <= early[-1].threads + 2, seen
