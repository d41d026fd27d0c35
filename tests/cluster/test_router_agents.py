"""Agents at a router: sessions of MCP and OpenEnv are spread over two shards, and each is a session as at one server."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..support.cluster import TestCluster
from ..support.echo import Frames, frame
from ..support.mcp_http import HEADERS, McpSession
from ..support.mcp_stdio import HANDSHAKE, StdioServer
from ..support.openenv_socket import CLOSE, PING, PONG, TEXT, Session
from ..support.serving import SECONDS, Server, eventually
from .test_router_losses import BOUND_SECONDS

LAKE = {"env_id": "FrozenLake-v1", "kwargs": {"is_slippery": False}}
TO_THE_GOAL = (1, 1, 2, 1, 2, 2)
NAMED = ("--openenv", f"lake={json.dumps(LAKE)}", "--openenv", "/=CartPole-v1")
CARTPOLE = "/openenv/CartPole-v1/ws"
TROUBLE = "/openenv/tests%2FTroublemaker-v0/ws"
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


def rpc(router: Server, method: str, **params: Any) -> Any:
    """Send a request of OpenEnv's JSON-RPC; return its result, or its error."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    told = router.post("/openenv/CartPole-v1/mcp", body).json
    return told.get("result", told.get("error"))


# OpenEnv


def test_sessions_spread_over_the_shards_and_play_to_the_goal(cluster: TestCluster, router: Server) -> None:
    """Whole episodes of a named environment, on both shards at once."""
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
    """Each shard is filled; one client more is told so in the words of OpenEnv, over HTTP, too."""
    clients = [open_to(router) for _ in range(2 * ROOM)]
    with Session(router.address, CARTPOLE) as further:
        assert further.answer()["data"]["code"] == "CAPACITY_REACHED"
        assert further.closed() == 1000
    assert rpc(router, "openenv/session/create")["code"] == -32000
    for client in clients:
        close(client)


def test_a_client_that_comes_back_finds_its_episode_on_whatever_shard(cluster: TestCluster, router: Server) -> None:
    """Also through another router; pings before its first message are answered; others begin episodes meanwhile."""
    before = {}
    for number in range(4):
        with open_to(router, seed=number, episode_id=f"e{number}") as client:
            client.ask("step", {"action": 1})
            before[f"e{number}"] = client.ask("state")["data"]["instance_id"]
    assert {each[:3] for each in before.values()} == set(cluster.prefixes)
    other = open_to(router, episode_id="another")
    assert other.ask("state")["data"]["step_count"] == 0
    close(other)
    with cluster.start_router() as second:
        for episode_id, instance_id in before.items():
            back = Session((second if episode_id in ("e1", "e3") else router).address, CARTPOLE)
            back.send(PING, b"first")
            assert back.read() == (PONG, b"first")
            assert back.ask("reset", {"episode_id": episode_id})["data"]["metadata"].get("resumed") is True
            assert back.ask("state")["data"] == {"episode_id": episode_id, "step_count": 1, "instance_id": instance_id}
            close(back)


def test_a_client_that_comes_back_finds_its_episode_before_its_old_connection_is_known_to_be_lost(
    cluster: TestCluster, router: Server
) -> None:
    """The old one answers no ping; whichever shard it is on, the router asks that."""
    silent = {shard_of(each): each for each in (open_to(router, episode_id=name) for name in ("one", "two"))}
    for client, episode_id in zip(silent.values(), ("one", "two"), strict=True):
        instance_id = client.ask("state")["data"]["instance_id"]
        prefix = instance_id[:3]
        eventually(lambda prefix=prefix: statuses(cluster)[prefix]["waiting"] == 1)
        back = Session(router.address, CARTPOLE)
        assert back.ask("reset", {"episode_id": episode_id})["data"]["metadata"]["resumed"] is True
        assert back.ask("state")["data"]["instance_id"] == instance_id
        client.socket.close()
        close(back)


def statuses(cluster: TestCluster) -> dict[str, dict[str, int]]:
    """Return what each shard tells of its load, by prefix."""
    return {prefix: shard.get("/shard/status", check=False).json for prefix, shard in cluster.shards.items()}


def test_lost_clients_keep_nobody_out(router: Server) -> None:
    """Where every shard is full, an environment that waits for its client makes room."""
    with contextlib.ExitStack() as stack:
        for number in range(2 * ROOM):
            stack.enter_context(open_to(router, episode_id=f"lost {number}"))
    assert len(router.get("/v1/envs/").json["envs"]) == 2 * ROOM
    new = [open_to(router) for _ in range(2 * ROOM)]
    for client in new:
        close(client)


def test_the_operations_of_openenv_are_those_of_one_server(router: Server) -> None:
    """By an id, and at the root; paths in the document and a session's id are the router's and its shard's."""
    for base in ("/openenv/CartPole-v1", ""):
        assert router.get(f"{base}/health", check=False).json == {"status": "healthy"}
        assert router.get(f"{base}/metadata", check=False).json["name"] == "CartPole-v1"
        assert router.get(f"{base}/schema", check=False).json["action"]["required"] == ["action"]
        assert router.get(f"{base}/state", check=False).json["step_count"] == 0
        assert len(router.post(f"{base}/reset", {}, check=False).json["observation"]["observation"]) == 4
        assert router.post(f"{base}/step", {"action": {"action": 1}}, check=False).json["reward"] == 1.0
    assert router.get("/openenv/CartPole-v1/openapi.json").json["servers"] == [{"url": "/openenv/CartPole-v1"}]
    assert router.get(CARTPOLE, check=False).status == 426
    root = open_to(router, "/ws")
    close(root)
    assert {each["name"] for each in rpc(router, "tools/list")["tools"]} >= {"act", "observe"}
    assert rpc(router, "tools/call", name="act", arguments={"action": 1})["is_error"] is False


def test_a_session_of_http_is_routed_by_its_id(cluster: TestCluster, router: Server) -> None:
    """Its id begins with the prefix of its shard; a WebSocket shares it; one that is not known is told so."""
    made = [rpc(router, "openenv/session/create")["session_id"] for _ in range(2)]
    assert sorted(each[:3] for each in made) == cluster.prefixes
    for session_id in made:
        with Session(router.address, f"{CARTPOLE}?session_id={session_id}") as client:
            client.ask("reset", {"seed": 1})
            assert (
                rpc(router, "tools/call", session_id=session_id, name="act", arguments={"action": 1})["is_error"]
                is False
            )
            assert client.ask("state")["data"]["step_count"] == 1
            assert shard_of(client) == session_id[:3]
            close(client)
        assert eventually(lambda: rpc(router, "openenv/session/close", session_id=session_id).get("closed"))  # noqa: B023 -- called at once
    for unknown in (made[0], "fff-nope"):
        assert "Unknown session_id" in rpc(router, "tools/list", session_id=unknown)["message"]
        with Session(router.address, f"{CARTPOLE}?session_id={unknown}") as client:
            assert client.answer()["data"]["code"] == "SESSION_ERROR"
            assert client.closed() == 1000


def test_large_messages_pass_both_ways_and_the_router_keeps_none_of_them(router: Server) -> None:
    """A client that does not read is not read from; its messages and their replies come whole and in order."""
    client = open_to(router, TROUBLE)
    before = peak_memory(router)
    message, count = "x" * (6 * MIB), 8
    told = json.dumps({"type": "state", "further": message}).encode()
    sending = threading.Thread(target=lambda: [client.send(TEXT, told) for _ in range(count)])
    sending.start()
    for _ in range(count):
        [error] = client.answer()["data"]["errors"]
        assert error["input"] == message
    sending.join(SECONDS)
    assert peak_memory(router) - before < 12 * MIB
    close(client)


def peak_memory(server: Server) -> int:
    """Return the largest size in bytes that the server's process ever had."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def test_frames_are_the_shards_and_the_clients(cluster: TestCluster) -> None:
    """A malformed one is refused by its shard, a lost connection reaches it, and the log has the connection."""
    with cluster.start_router("--access-log", "--log-format", "json") as router:
        with open_to(router) as client:
            client.socket.sendall(frame(TEXT, b"{}", masked=False))
            assert client.closed() == 1002
        with open_to(router, episode_id="e"):
            pass
        back = Session(router.address, CARTPOLE)
        assert back.ask("reset", {"episode_id": "e"})["data"]["metadata"]["resumed"] is True
        close(back)
        records = [each for each in map(json.loads, router.stderr) if each.get("status") == 101]
    assert {each["path"] for each in records} == {CARTPOLE}
    assert all(each["received_bytes"] > 20 and each["sent_bytes"] > 100 for each in records)


def test_a_router_that_stops_closes_after_the_reply_and_the_episode_waits(cluster: TestCluster, router: Server) -> None:
    """With 1001; through the next router the client finds its episode."""
    with cluster.start_router() as former:
        client = open_to(former, TROUBLE, episode_id="moves")
        quiet = Session(former.address, CARTPOLE)
        quiet.ask("state")
        client.tell("step", {"action": "sleep 1"})
        eventually(lambda: any(router.get(f"/v1/envs/{each}/").json["state"] == "busy" for each in live(router)))
        former.process.send_signal(signal.SIGTERM)
        assert quiet.closed() == 1001
        quiet.socket.close()
        assert client.answer()["data"]["reward"] == 1.0
        assert client.closed() == 1001
        client.socket.close()
        former.process.wait(SECONDS)
    back = Session(router.address, TROUBLE)
    assert back.ask("reset", {"episode_id": "moves"})["data"]["metadata"]["resumed"] is True
    close(back)


def live(router: Server) -> list[str]:
    return [*router.get("/v1/envs/").json["envs"]]


# MCP


def test_sessions_of_mcp_are_placed_and_routed_by_their_ids(cluster: TestCluster, router: Server) -> None:
    """Each plays a whole FrozenLake on its shard, which counts a session that has no environment yet."""
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(McpSession(router)) for _ in range(2)]
        eventually(lambda: router.get("/v1/health/").json["instances"] == 0)
        sessions += [stack.enter_context(McpSession(router)) for _ in range(2)]
        shards = [each.headers["Mcp-Session-Id"][:3] for each in sessions]
        assert {*shards} == {*cluster.prefixes}
        told = statuses(cluster)
        assert all(told[prefix]["empty_sessions"] == shards.count(prefix) for prefix in cluster.prefixes)
        made = [session.make("FrozenLake-v1", kwargs={"is_slippery": False}) for session in sessions]
        assert [each[:3] for each in made] == shards
        for session in sessions:
            told = [session.call("step", action=action)["structuredContent"] for action in TO_THE_GOAL][-1]
            assert (told["terminated"], told["total_reward"]) == (True, 1)
        told = sessions[0].call("step", instance_id=made[1], action=0)
        assert told["isError"] is True
        pinned = router.post("/mcp/CartPole-v1", initialize(), headers=HEADERS, check=False)
        assert "CartPole-v1" in pinned.json["result"]["instructions"]
        headers = {**HEADERS, "Mcp-Session-Id": pinned.headers["mcp-session-id"]}
        assert router.request("DELETE", "/mcp/CartPole-v1", headers=headers, check=False).status == 200
        assert router.get("/mcp", headers=headers, check=False).status == 405


def initialize() -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HANDSHAKE}


def test_a_session_that_is_not_known_is_told_so(router: Server) -> None:
    """404 and a message of JSON-RPC, after which clients begin another; without an id, 400 says what comes first."""
    for session_id in ("001-ended", "fff-never", ""):
        headers = {**HEADERS, "Mcp-Session-Id": session_id} if session_id else HEADERS
        answer = router.post("/mcp", {"jsonrpc": "2.0", "id": 5, "method": "tools/list"}, headers=headers, check=False)
        assert answer.status == (404 if session_id else 400)
        assert "initialize" in answer.json["error"]["message"]
        assert answer.json["id"] == 5


def test_a_program_over_stdio_plays_through_the_router(router: Server) -> None:
    """Its instances are on the shards, and end with it."""
    with StdioServer("mcp", "--url", router.url) as program:
        program.shake_hands()
        for _ in range(2):
            assert not program.call("create", env_id="CartPole-v1").get("isError")
        assert {each[:3] for each in live(router)} == {"001", "002"}


# Both


def test_the_routers_key_origin_and_host_hold(cluster: TestCluster) -> None:
    """On the paths of both, and before anything reaches a shard."""
    with cluster.start_router("--api-key", "of-the-router") as router:
        for lines, status in (((), 401), (("Origin: https://evil.example",), 403)):
            with Frames(router.address, CARTPOLE, *lines) as client:
                assert client.status == status
        headers = {"Authorization": "Bearer of-the-router"}
        for further, status in (
            ({"Authorization": ""}, 401),
            ({"Authorization": "Bearer the-cluster's-own-key-of-a-test"}, 401),
            ({"Host": "evil.example"}, 400),
            ({"Origin": "https://evil.example"}, 403),
        ):
            for path in ("/mcp", "/mcp/CartPole-v1", "/openenv/CartPole-v1/reset"):
                answer = router.post(path, initialize(), headers={**HEADERS, **headers, **further}, check=False)
                assert answer.status == status, (path, further)
        # What routers ask of shards is not for clients to ask.
        lines = ("Authorization: Bearer of-the-router", "Router-Asks: resume")
        with Session(router.address, CARTPOLE, *lines) as client:
            assert client.ask("reset")["type"] == "observation"
            close(client)


def test_a_router_without_them_serves_neither(cluster: TestCluster) -> None:
    """With --no-mcp and --no-openenv, whatever the shards do."""
    with cluster.start_router("--no-mcp", "--no-openenv") as router:
        answer = router.post("/mcp", initialize(), headers=HEADERS, check=False)
        assert (answer.status, "--mcp" in answer.message) == (404, True)
        answer = router.get("/openenv/CartPole-v1/metadata", check=False)
        assert (answer.status, "--no-openenv" in answer.message) == (404, True)
        with Frames(router.address, CARTPOLE) as client:
            assert client.status == 404


def test_a_killed_shard_ends_its_own_sessions_only(cluster: TestCluster) -> None:
    """In the middle of a call: a close with words, an error of JSON-RPC; then 404, and the next sessions go elsewhere."""
    router = cluster.router
    clients = {shard_of(each): each for each in (open_to(router, TROUBLE) for _ in range(2))}
    sessions = {each.headers["Mcp-Session-Id"][:3]: each for each in (McpSession(router) for _ in range(2))}
    killed, kept = cluster.prefixes
    made = {prefix: session.make("tests/Troublemaker-v0") for prefix, session in sessions.items()}
    answers: list[Any] = []
    calling = threading.Thread(
        target=lambda: answers.append(
            sessions[killed].send(
                "tools/call", {"name": "step", "arguments": {"instance_id": made[killed], "action": "sleep 60"}}
            )
        )
    )
    calling.start()
    clients[killed].tell("step", {"action": "sleep 60"})
    eventually(lambda: router.get(f"/v1/envs/{made[killed]}/").json["state"] == "busy")
    began = time.monotonic()
    cluster.shards[killed].kill()
    opcode, payload = clients[killed].read()
    assert (opcode, payload[:2]) == (CLOSE, b"\x03\xf3")
    assert payload[2:].startswith(b"shard 001 of the cluster does not answer")
    calling.join(BOUND_SECONDS)
    assert time.monotonic() - began < BOUND_SECONDS
    [answer] = answers
    assert answer.status == 200
    assert "shard 001 of the cluster, which has the session" in answer.json["error"]["message"]
    eventually(lambda: sessions[killed].send("tools/list").status == 404)
    assert "is lost" in sessions[killed].send("tools/list").json["error"]["message"]
    assert not sessions[kept].call("step", instance_id=made[kept], action="").get("isError")
    assert clients[kept].ask("step", {"action": ""})["type"] == "observation"
    with McpSession(router) as further:
        assert further.headers["Mcp-Session-Id"].startswith(kept)
    close(clients[kept])
    clients[killed].socket.close()
