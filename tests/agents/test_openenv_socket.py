"""OpenEnv's WebSocket on a real server: recorded exchanges, sessions, what goes wrong, and clients that come back."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from gym_http_server.agents.openenv.frames import observed, split
from gym_http_server.app import Application
from gym_http_server.config import Settings

from ..conftest import start
from ..support.echo import SECONDS, Frames
from ..support.openenv_socket import Session
from ..support.serving import Server, eventually

RECORDED = json.loads((Path(__file__).parent / "recorded" / "openenv-0.10.0.json").read_text())
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
CARTPOLE = "/openenv/CartPole-v1/ws"
COUNT = 24
TROUBLE = "/openenv/tests%2FTroublemaker-v0/ws"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with isolation whose connections are handed over, with room for two instances and one second for a call."""
    with start("handover", "--max-envs", "2", "--call-timeout", "5") as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_left(server: Server) -> Iterator[None]:
    yield
    assert nothing_is_left(server)


def nothing_is_left(server: Server) -> bool:
    return bool(eventually(lambda: server.get("/v1/envs/").json["envs"] == {}))


EXCHANGES = {each["note"]: each["exchange"] for each in RECORDED if "capacity" not in each["note"]}


@pytest.mark.parametrize("exchange", EXCHANGES.values(), ids=EXCHANGES)
def test_a_recorded_exchange_has_the_same_answers(server: Server, exchange: list[Any]) -> None:
    """What OpenEnv 0.10.0 answered is answered alike: types, codes, errors, observations, rewards, pongs and closes."""
    path = CARTPOLE.replace("/ws", "/mcp") if exchange[0][1] == {"open": "/mcp"} else CARTPOLE
    if "session_id" in str(exchange[0][1].get("open", "")):
        path += "?session_id=nope"
    with Session(server.address, path) as client:
        for direction, message in exchange:
            if direction == "<":
                answers_alike(client, message)
            elif isinstance(message, str):
                client.send(TEXT, message.encode())
            elif "binary frame" in message:
                client.send(BINARY, message["binary frame"].encode())
            elif "closed" in message:
                client.send(CLOSE, b"\x03\xe8")
            elif not {"open", "send failed"} & message.keys():
                client.send(TEXT, json.dumps(message).encode())


def answers_alike(client: Session, recorded: dict[str, Any]) -> None:
    if "closed" in recorded:
        assert client.closed() == recorded["closed"]["code"]
        return
    if any(name.startswith("pong") for name in recorded):
        # The server may have closed meanwhile, as after a SESSION_ERROR.
        with contextlib.suppress(OSError):
            client.send(PING, b"x")
            assert client.read()[0] in (PONG, CLOSE)
        return
    told = client.answer()
    assert told.get("type") == recorded.get("type")
    assert told.get("id") == recorded.get("id")
    data, expected = told.get("data"), recorded.get("data")
    if told.get("type") == "error":
        assert data["code"] == expected["code"]
        assert data["message"].startswith(expected["message"]) or data["code"] in ("EXECUTION_ERROR", "SESSION_ERROR")
        for mine, theirs in zip(data.get("errors", []), expected.get("errors", []), strict=True):
            assert {**theirs, **mine, "msg": ""} == {**theirs, "msg": ""}
    elif told.get("type") == "observation":
        assert (data["reward"], data["done"]) == (expected["reward"], expected["done"])
        values = data["observation"]["observation"]
        assert len(values) == len(expected["observation"]["observation"])
        if expected["observation"]["observation"][0] in (0.02739560417830944, 0.02727336250245571, 0.0310429148375988):
            assert values == pytest.approx(expected["observation"]["observation"], abs=1e-6)
    elif told.get("type") == "state":
        assert {**data, **expected} == data
    elif "error" in recorded and recorded["error"]["message"] != "Environment does not support MCP":
        assert told["error"]["code"] == recorded["error"]["code"]


def test_capacity_is_told_in_their_frame_before_anything_is_sent(server: Server) -> None:
    """A connection too many is accepted, told the capacity and closed; one that closes makes room at once."""
    with Session(server.address, CARTPOLE) as one, Session(server.address, CARTPOLE) as other:
        assert one.ask("state")["data"]["step_count"] == other.ask("state")["data"]["step_count"] == 0
        with Session(server.address, CARTPOLE) as third:
            told = third.answer()["data"]
            assert (told["code"], told["active_sessions"], told["max_sessions"]) == ("CAPACITY_REACHED", 2, 2)
            assert told["message"].startswith("Server at capacity: 2/2 sessions active. Cannot accept new connections.")
            assert third.closed() == 1000
        one.tell("close")
        assert one.closed() == 1000
        eventually(lambda: len(server.get("/v1/envs/").json["envs"]) == 1)
        with Session(server.address, CARTPOLE) as fourth:
            assert fourth.ask("reset")["type"] == "observation"
            fourth.tell("close")
        other.send(CLOSE, b"\x03\xe8")


def test_an_environment_that_cannot_be_made_is_told_in_their_frame(server: Server) -> None:
    """FACTORY_ERROR has our words and the name, and the connection is closed."""
    for name, words in (("Nothing-v0", "Nothing-v0"), ("tests%2FGreedy-v7", "Greedy")):
        with Session(server.address, f"/openenv/{name}/ws") as client:
            told = client.answer()["data"]
            assert (told["code"], told["factory_name"]) == ("FACTORY_ERROR", name.replace("%2F", "/"))
            assert words in told["message"]
            assert client.closed() == 1000


REFUSED = {
    "another origin": (("Origin: https://evil.example",), 403),
    "another version": (("Sec-WebSocket-Version: 8",), 426),
}


@pytest.mark.parametrize(("lines", "status"), REFUSED.values(), ids=REFUSED)
def test_what_the_guard_refuses_becomes_no_websocket(server: Server, lines: tuple[str, ...], status: int) -> None:
    """A page of another origin, or a handshake of another version, is answered with problem details."""
    with Frames(server.address, CARTPOLE, *lines) as client:
        assert client.status == status
        assert "application/problem+json" in client.head


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (f"GET {CARTPOLE}", 426),
        ("GET /openenv/ws", 404),
        (f"POST {CARTPOLE}", 426),
        ("GET /openenv/CartPole-v1/mcp", 405),
    ],
)
def test_a_plain_request_is_told_what_is_there(server: Server, request_line: str, status: int) -> None:
    """Without an upgrade there is 426 where a WebSocket is, and 404 or 405 elsewhere."""
    with socket.create_connection(server.address, SECONDS) as plain:
        plain.sendall(f"{request_line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
        assert plain.recv(1 << 16).split(b" ")[1] == str(status).encode()


def test_an_environment_that_dies_ends_its_session_with_our_words(server: Server) -> None:
    """The error names how it ended, the connection is closed, and the slot is free."""
    with Session(server.address, TROUBLE) as client:
        client.ask("reset")
        code, words = client.error("step", {"action": "raise a word"})
        assert (code, "a word" in words) == ("EXECUTION_ERROR", True)
        assert client.ask("step", {"action": ""})["data"]["reward"] == 1.0
        code, words = client.error("step", {"action": "exit 7"})
        assert (code, "7" in words) == ("SESSION_ERROR", True)
        assert client.closed() == 1000


def test_an_environment_that_hangs_ends_its_session_and_pings_are_answered_meanwhile(server: Server) -> None:
    """While a step hangs, pongs come; after --call-timeout the error does, and the slot is free."""
    with Session(server.address, TROUBLE) as client:
        client.ask("reset")
        client.tell("step", {"action": "hang"})
        for number in range(5):
            client.send(PING, b"%d" % number)
            assert client.read() == (PONG, b"%d" % number)
        told = client.answer()["data"]
        assert (told["code"], "call-timeout" in told["message"]) == ("SESSION_ERROR", True)
        assert client.closed() == 1000


def test_a_client_that_comes_back_finds_its_episode(server: Server) -> None:
    """After a lost connection, a reset with the episode's id goes on with it; with another seed it begins a new one."""
    with Session(server.address, CARTPOLE) as client:
        client.ask("reset", {"seed": 42, "episode_id": "e1"})
        last = client.ask("step", {"action": 1})["data"]
    with Session(server.address, CARTPOLE) as client:
        again = client.ask("reset", {"seed": 42, "episode_id": "e1"})["data"]
        assert (again["observation"], again["reward"]) == (last["observation"], last["reward"])
        assert again["metadata"]["resumed"] is True
        state = client.ask("state")["data"]
        assert (state["episode_id"], state["step_count"]) == ("e1", 1)
    with Session(server.address, CARTPOLE) as client:
        new = client.ask("reset", {"seed": 7, "episode_id": "e1"})["data"]
        assert "resumed" not in new["metadata"]
        assert client.ask("state")["data"]["instance_id"] == state["instance_id"]
        given = client.ask("reset")
        assert given["data"]["reward"] is None
        episode_id = client.ask("state")["data"]["episode_id"]
    with Session(server.address, CARTPOLE) as client:
        assert client.ask("reset", {"episode_id": episode_id})["data"]["metadata"]["resumed"] is True
        client.tell("close")
        assert client.closed() == 1000


def test_a_client_that_comes_back_need_not_wait_until_its_old_connection_is_known_to_be_dead(server: Server) -> None:
    """An old peer that was cut without a word answers no ping, so the episode goes on; one that answers keeps its own."""
    with Session(server.address, CARTPOLE) as cut, Session(server.address, CARTPOLE) as client:
        cut.ask("reset", {"seed": 42, "episode_id": "e1"})
        last = cut.ask("step", {"action": 1})["data"]
        again = client.ask("reset", {"episode_id": "e1"})["data"]
        assert (again["observation"], again["metadata"]["step_count"]) == (last["observation"], 1)
        client.tell("close")
        assert client.closed() == 1000
    nothing_is_left(server)
    with Session(server.address, CARTPOLE) as alive, Session(server.address, CARTPOLE) as client:
        alive.ask("reset", {"episode_id": "e2"})
        client.tell("reset", {"episode_id": "e2"})
        alive.answer_ping()
        assert "resumed" not in client.answer()["data"]["metadata"]
        for each in (alive, client):
            each.tell("close")
            assert each.closed() == 1000


def test_a_lost_client_does_not_keep_others_out(server: Server) -> None:
    """Environments that wait for their clients are closed where others need the room, the one that waits longest first."""
    for name in ("a", "b"):
        with Session(server.address, CARTPOLE) as client:
            client.ask("reset", {"episode_id": name})
            client.ask("step", {"action": 0})
    eventually(lambda: len(server.get("/v1/envs/").json["envs"]) == 2)
    with Session(server.address, CARTPOLE) as new, Session(server.address, CARTPOLE) as back:
        assert "resumed" not in new.ask("reset")["data"]["metadata"]
        assert back.ask("reset", {"episode_id": "b"})["data"]["metadata"]["resumed"] is True
        for client in (new, back):
            client.tell("close")
            assert client.closed() == 1000


def test_a_websocket_shares_a_session_made_over_http(server: Server) -> None:
    """`?session_id=` attaches one WebSocket to a session of `/mcp`, whose close does not end the session."""

    def rpc(method: str, **params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return server.post("/openenv/CartPole-v1/mcp", body).json["result"]

    session_id = rpc("openenv/session/create")["session_id"]
    path = f"{CARTPOLE}?session_id={session_id}"
    with Session(server.address, path) as client:
        client.ask("reset", {"seed": 42})
        assert rpc("tools/call", session_id=session_id, name="act", arguments={"action": 1})["is_error"] is False
        assert client.ask("state")["data"]["step_count"] == 1
        called = client.ask("step", {"type": "call_tool", "tool_name": "act", "arguments": {"action": 9}})["data"]
        assert called["observation"]["error"]["error_type"] == "execution_error"
        listed = client.ask("step", {"type": "list_tools"})["data"]["observation"]["tools"]
        assert "act" in {each["name"] for each in listed}
        told = client.ask("mcp", {"jsonrpc": "2.0", "id": 5, "method": "tools/list"})["data"]
        assert len(told["result"]["tools"]) == len(listed)
        with Session(server.address, path) as second:
            client.answer_ping()
            assert second.answer()["data"]["code"] == "SESSION_ERROR"
            assert second.closed() == 1000
        with Session(server.address, path) as back:  # `client` answers no ping now
            assert back.ask("state")["data"]["step_count"] == 1
            back.tell("close")
            assert back.closed() == 1000
    assert eventually(lambda: rpc("openenv/session/close", session_id=session_id).get("closed"))


def test_values_have_openenvs_form(server: Server) -> None:
    """A Dict observation has its own keys, a Text action is a string, a frame comes as an image where asked for."""
    with Session(server.address, "/openenv/tests/Words-v0/ws") as client:
        data = client.ask("reset")["data"]
        assert {"at", "word", "metadata"} == data["observation"].keys()
        client.tell("close")
        assert client.closed() == 1000
    with Session(server.address, TROUBLE) as client:
        client.ask("reset", {"seed": 2**63 + 1})
        data = client.ask("step", {"action": "", "metadata": {"render": True}})["data"]
        image = data["metadata"]["image"]
        assert image["mimeType"] == "image/png"
        assert base64.b64decode(image["data"]).startswith(b"\x89PNG")
        assert client.ask("step", "")["data"]["observation"]["observation"] == 2
        code, words = client.error("reset", {"seed": -1})
        assert (code, "minimum of 0" in words) == ("EXECUTION_ERROR", True)
        code, words = client.error("reset", {"seed": 2**64})
        assert (code, "a seed may be at most 2^64 - 1" in words) == ("VALIDATION_ERROR", True)
        client.tell("close")
        assert client.closed() == 1000


def test_a_connection_may_move_to_an_environment_and_then_become_a_websocket(server: Server) -> None:
    """An upgrade is never handed over: it comes back from an environment's process, and others go on there."""
    made = server.post("/v1/envs/", {"env_id": "CartPole-v1"}).json["instance_id"]
    body = b'{"action": 1}'
    request = b"POST /v1/envs/%b/step/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    step = request % (made.encode(), len(body), body)
    server.post(f"/v1/envs/{made}/reset/", {"seed": 1})
    moved = Session.__new__(Session)
    with (
        socket.create_connection(server.address, SECONDS) as other,
        socket.create_connection(server.address, SECONDS) as moved.socket,
    ):
        for connection in (moved.socket, other):
            for _ in range(3):
                connection.sendall(step)
                assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
        moved.socket.sendall(
            f"GET {CARTPOLE} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += moved.socket.recv(1 << 16)
        assert head.startswith(b"HTTP/1.1 101")
        moved._buffer = head.partition(b"\r\n\r\n")[2]
        assert moved.ask("reset", {"seed": 1})["type"] == "observation"
        other.sendall(step)
        assert other.recv(1 << 16).startswith(b"HTTP/1.1 200")
        assert moved.ask("step", {"action": 1})["data"]["reward"] == 1.0
        moved.tell("close")
        assert moved.closed() == 1000
    server.request("DELETE", f"/v1/envs/{made}/")


def test_a_key_is_required_before_the_upgrade_and_what_follows_is_counted_and_logged() -> None:
    """Without the key there is 401; with it, at the root, too, a connection that metrics and access log have with its sizes."""
    options = ("--openenv", "/=CartPole-v1", "--access-log", "--log-format", "json")
    with start("process", *options, environment={"GYM_HTTP_SERVER_API_KEY": "secret-key"}) as server:
        server.key = "secret-key"
        for path in (CARTPOLE, "/ws", "/openenv/CartPole-v1/mcp"):
            with Frames(server.address, path) as client:
                assert client.status == 401
        with Frames(server.address, CARTPOLE, "Authorization: Bearer wrong") as client:
            assert client.status == 401
        for count, path in enumerate((CARTPOLE, "/ws"), 1):
            with Session(server.address, path, "Authorization: Bearer secret-key") as client:
                client.ask("reset")
                client.ask("step", {"action": 1})
                assert "gym_http_server_open_websockets 1.0" in metrics(server)
                client.tell("close")
                assert client.closed() == 1000
            eventually(lambda: "gym_http_server_open_websockets 0.0" in metrics(server))
            assert f"gym_http_server_websockets_total {count}.0" in metrics(server)
            assert f"gym_http_server_websocket_messages_total {3 * count}.0" in metrics(server)
        assert nothing_is_left(server)
        assert 'gym_http_server_requests_total{operation="stepEnv",status="200"} 2.0' in metrics(server)
        assert 'gym_http_server_requests_total{operation="none",status="101"} 2.0' in metrics(server)
        records = [each for each in map(json.loads, server.stderr) if each.get("status") == 101]
        assert [each["path"] for each in records] == [CARTPOLE, "/ws"]
        assert records[0]["received_bytes"] > 40
        assert records[0]["sent_bytes"] > 300


def metrics(server: Server) -> list[str]:
    return server.get("/metrics").body.decode().splitlines()


def test_an_idle_session_is_told_its_end() -> None:
    """A session that nobody uses for --idle-timeout is told so in their frame, and its slot is free."""
    with start("process", "--idle-timeout", "1", "--openenv-grace", "0") as server:
        with Session(server.address, CARTPOLE) as client:
            client.ask("reset")
            told = client.answer()["data"]
            assert (told["code"], "idle-timeout" in told["message"]) == ("SESSION_ERROR", True)
            assert client.closed() == 1000
        with Session(server.address, CARTPOLE) as client:
            client.ask("reset", {"episode_id": "e"})
        assert nothing_is_left(server)


def test_without_openenv_there_is_no_websocket() -> None:
    """With --no-openenv no path is one of a WebSocket; the root's are where it has an environment."""
    assert Application(Settings(engine="inline", no_openenv=True)).websocket_paths is None
    plain = Application(Settings(engine="inline")).websocket_paths
    rooted = Application(Settings(engine="inline", openenv=("/=CartPole-v1",))).websocket_paths
    assert plain is not None
    assert rooted is not None
    assert plain.fullmatch(b"/openenv/ALE%2FPong-v5/ws?session_id=1")
    assert not plain.fullmatch(b"/ws")
    assert rooted.fullmatch(b"/ws")
    assert not rooted.fullmatch(b"/v1/envs/")


def test_a_batch_of_sessions_plays_at_once_and_a_stop_closes_them() -> None:
    """Sessions of a generation batch play side by side, each with an environment; a stop closes them with 1001."""
    with start("process") as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Session(server.address, CARTPOLE)) for _ in range(COUNT)]
        for number, client in enumerate(clients):
            client.tell("reset", {"seed": number})
        first = [client.answer()["data"]["observation"]["observation"][0] for client in clients]
        assert len(set(first)) == COUNT
        for _ in range(3):
            for client in clients:
                client.tell("step", {"action": 1})
            assert all(client.answer()["data"]["reward"] == 1.0 for client in clients)
        assert len(server.get("/v1/envs/").json["envs"]) == COUNT
        server.process.terminate()
        for client in clients:
            assert client.closed() == 1001
            client.send(CLOSE, b"\x03\xe9")


SPLIT = {
    "a list": {"observation": [1, 2], "reward": 1.0, "info": {}},
    "a Dict with the names": {
        "observation": {"reward": 1, "info": 2, "z": {"reward": 3}},
        "reward": 2,
        "info": {"reward": 1},
    },
    "a last member": {"observation": {"a": 1, "reward": 2}, "reward": 1.0, "info": {}},
    "a text": {"observation": ',"reward":1,"info":{}}', "reward": 0, "info": {"t": ',"reward":'}},
    "a reset": {"observation": [[{"a": 1, "info": 3}]], "info": {"reward": 2}},
    "null": {"observation": None, "info": {}},
    "another order": {"info": {}, "observation": 3, "reward": 1},
}


@pytest.mark.parametrize("reply", SPLIT.values(), ids=SPLIT)
def test_an_observation_is_found_without_reading_it(reply: dict[str, Any]) -> None:
    """Whatever names stand in an observation, it and the rest are those of the reply."""
    observation, rest = split(orjson.dumps(reply))
    assert {"observation": json.loads(observation), **rest} == reply
    space = {"name": "Dict", "keys": ["a"]} if isinstance(reply["observation"], dict) else {"name": "Box"}
    told = json.loads(observed(space, orjson.dumps(reply), {"x": 1})[0])
    inner = told["observation"].pop("metadata")
    expected = reply["observation"] if space["name"] == "Dict" else {"observation": reply["observation"]}
    assert (told["observation"], told["reward"], inner) == (expected, reply.get("reward"), {"info": reply["info"]})
    assert told["metadata"] == {"info": reply["info"], "x": 1}
