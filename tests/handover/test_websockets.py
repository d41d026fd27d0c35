"""OpenEnv's WebSocket in the environment's process: when it moves and comes back, that nobody notices, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import orjson
import psutil
import pytest

from ..agents.test_openenv_socket import CARTPOLE, CLOSE, PING, PONG, TEXT, TROUBLE, Session, metrics
from ..conftest import start
from ..server.access.test_agent_attacks import FRAMES, MAX_MEMORY
from ..support.echo import frame
from ..support.handing import owner_of, release
from ..support.serving import Server, eventually


@pytest.fixture(scope="module")
def eager() -> Iterator[Server]:
    """A server that hands a WebSocket over after its first observation."""
    with start("handover", "--openenv-grace", "0") as running:
        yield running


@pytest.fixture(scope="module")
def patient() -> Iterator[Server]:
    """A server without hand-over."""
    with start("process", "--openenv-grace", "0") as running:
        yield running


class Player(Session):
    """A client, with the port by which the holder of its connection is found."""

    @property
    def port(self) -> int:
        port: int = self.socket.getsockname()[1]
        return port


def holder(server: Server, client: Player) -> int | None:
    return owner_of(server, client)  # type: ignore[arg-type]  # it has a port, too


def settle(server: Server, client: Player) -> int:
    """Have a Troublemaker's connection handed over; return its process."""
    client.ask("reset")
    pid: int = client.ask("step", {"action": "pid"})["data"]["metadata"]["info"]["pid"]
    assert eventually(lambda: holder(server, client) == pid)
    return pid


def text(kind: str, data: Any = None) -> bytes:
    return frame(TEXT, json.dumps({"type": kind, "data": data}).encode())


def is_free(server: Server) -> bool:
    return bool(eventually(lambda: server.get("/v1/envs/").json["envs"] == {}))


def end(client: Player) -> None:
    client.tell("close")
    assert client.closed() == 1000


SERVERS = {
    "a reset of a known episode": ("reset", {"episode_id": "mine"}, "observation"),
    "a frame": ("step", {"action": "", "metadata": {"render": True}}, "observation"),
    "a tool": ("step", {"type": "list_tools"}, "observation"),
    "MCP": ("mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, "mcp"),
    "an unknown message": ("dance", {}, "error"),
    "an invalid seed": ("reset", {"seed": -1}, "error"),
}


@pytest.mark.parametrize(("kind", "data", "answer"), SERVERS.values(), ids=SERVERS)
def test_what_the_process_does_not_serve_comes_back_and_goes_on(
    eager: Server, kind: str, data: Any, answer: str
) -> None:
    """It is answered by the server, once, with the session as the process left it; the next step moves the connection again."""
    with Player(eager.address, TROUBLE) as client:
        pid = settle(eager, client)
        assert client.ask("step", {"action": ""})["data"]["observation"]["observation"] == 2
        assert client.ask(kind, data)["type"] == answer
        assert answer == "observation" or holder(eager, client) is None
        known = client.ask("state")["data"]
        taken = 0 if "episode_id" in data else 3 if "metadata" in data else 2
        assert known["step_count"] == taken
        assert client.ask("step", {"action": ""})["data"]["observation"]["observation"] == taken + 1
        assert eventually(lambda: holder(eager, client) == pid)
        assert client.ask("state")["data"] == {**known, "step_count": taken + 1}
        end(client)
    assert is_free(eager)


def test_a_connection_moves_after_the_second_answer_and_a_quiet_one_comes_back() -> None:
    """A reset alone leaves it; a second without a message brings it back; pings are answered on both sides."""
    with (
        Server("--import", "tests.support.troublemakers", "--openenv-grace", "0") as server,
        Player(server.address, CARTPOLE) as client,
    ):
        client.ask("reset")
        assert holder(server, client) is None
        client.ask("step", {"action": 1})
        client.ask("step", {"action": 0})
        assert eventually(lambda: holder(server, client) is not None)
        client.send(PING, b"there")
        assert client.read() == (PONG, b"there")
        assert holder(server, client) is not None
        eventually(lambda: holder(server, client) is None)
        client.send(PING, b"here")
        assert client.read() == (PONG, b"here")
        assert client.ask("state")["data"]["step_count"] == 2
        end(client)


MESSAGES = [
    ("reset", {"seed": 42}),
    *(("step", {"action": number % 2}) for number in range(12)),
    ("step", 1),
    ("step", {"action": "1"}),
    ("step", {"action": 7}),
    ("step", {"action": 1, "more": 2}),
    ("step", "left"),
    ("step", {}),
    ("step", None),
    ("reset", {"seed": 7, "options": {"low": -0.1, "high": 0.1}}),
    ("reset", {"options": {"low": 1.0, "high": -1.0}}),
    ("step", {"action": 0}),
    ("reset", None),
    ("step", {"action": 0, "metadata": {"note": 1}}),
]


def test_answers_are_the_same_bytes_with_and_without_hand_over(eager: Server, patient: Server) -> None:
    """Observations, errors and the ends of frames do not tell who answers."""
    answers = []
    for server in (eager, patient):
        with Player(server.address, CARTPOLE) as client:
            answers.append([(client.tell(*each), client.read())[1] for each in MESSAGES])
            state = client.ask("state")["data"]
            assert state["step_count"] == 1
            end(client)
    mine, theirs = answers
    # The last reset had no seed.
    assert mine[:-2] == theirs[:-2]
    assert [orjson.loads(each[1])["type"] for each in mine].count("error") == 6


@pytest.mark.parametrize("size", [7, 64, 1 << 20], ids=["small", "middle", "whole"])
def test_a_pipeline_is_answered_in_its_order_however_it_arrives(eager: Server, size: int) -> None:
    """Steps and pings in pieces: each is answered once, the server's part after that of the process."""
    with Player(eager.address, TROUBLE) as client:
        settle(eager, client)
        steps = b"".join(text("step", {"action": ""}) + frame(PING, b"%d" % number) for number in range(40))
        sent = steps + text("mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}) + steps
        for at in range(0, len(sent), size):
            client.socket.sendall(sent[at : at + size])
        kinds = [client.read() for _ in range(161)]
        seen = [orjson.loads(payload) for opcode, payload in kinds if opcode == TEXT]
        counts = [each["data"]["observation"]["observation"] for each in seen if each["type"] == "observation"]
        assert counts == list(range(2, 82))
        assert [payload for opcode, payload in kinds if opcode == PONG] == [b"%d" % number for number in range(40)] * 2
        end(client)
    assert is_free(eager)


def test_a_message_whose_parts_stand_around_another_one_is_whole(eager: Server) -> None:
    """A connection does not move between the fragments of a message, and comes back for the first of them."""
    with Player(eager.address, TROUBLE) as client:
        message = json.dumps({"type": "step", "data": {"action": ""}}).encode()
        client.ask("reset")
        for number in range(1, 4):
            client.socket.sendall(text("step", {"action": ""}) + frame(TEXT, message[:9], fin=False))
            assert client.answer()["data"]["observation"]["observation"] == 2 * number - 1
            client.socket.sendall(frame(0, message[9:]))
            assert client.answer()["data"]["observation"]["observation"] == 2 * number
            eventually(lambda: holder(eager, client) is not None)
        end(client)


def test_pings_are_answered_once_while_a_step_runs(eager: Server) -> None:
    """Those before, within and behind a slow step of the process get a pong at once, and none after it."""
    with Player(eager.address, TROUBLE) as client:
        pid = settle(eager, client)
        client.socket.sendall(frame(PING, b"a") + text("step", {"action": "await"}) + frame(PING, b"b"))
        assert [client.read(), client.read()] == [(PONG, b"a"), (PONG, b"b")]
        client.send(PING, b"c")
        assert client.read() == (PONG, b"c")
        assert holder(eager, client) == pid
        release(pid)
        assert client.answer()["data"]["observation"]["observation"] == 2
        client.send(PING, b"d")
        assert client.read() == (PONG, b"d")
        end(client)


def test_a_client_that_leaves_during_a_step_frees_its_place(eager: Server) -> None:
    """The step ends, nobody takes its reply, and the environment is closed."""
    for lines in (b"", frame(CLOSE, b"\x03\xe8")):
        with Player(eager.address, TROUBLE) as client:
            pid = settle(eager, client)
            client.socket.sendall(text("step", {"action": "await"}) + lines)
            eventually(lambda: [each["state"] for each in server_instances(eager)] == ["busy"])
        release(pid)
        assert is_free(eager)


def server_instances(server: Server) -> list[dict[str, Any]]:
    return [server.get(f"/v1/envs/{each}/").json for each in server.get("/v1/envs/").json["envs"]]


def test_a_client_that_does_not_read_gets_all_its_replies(eager: Server) -> None:
    """The unsent rest of a reply comes back to the server, which goes on with it when the client reads."""
    size = 3_000_000
    with Player(eager.address, TROUBLE) as client:
        settle(eager, client)
        client.socket.sendall(text("step", {"action": f"big {size}"}) * 3)
        eventually(lambda: holder(eager, client) is None)
        for _ in range(3):
            told = client.answer()["data"]
            assert told["metadata"]["info"] == {"big": "x" * size}
        assert client.ask("state")["data"]["step_count"] == 4
        end(client)


@pytest.fixture(scope="module")
def hurried() -> Iterator[Server]:
    """A server whose clients have half a second for a message."""
    with start("handover", "--openenv-grace", "0", "--body-timeout", "0.5") as running:
        yield running


@pytest.mark.parametrize("name", FRAMES)
def test_frames_that_nobody_sends_close_a_connection_that_comes_back(hurried: Server, name: str) -> None:
    """The server finds each byte of them, and says which rule they break as it does everywhere."""
    data, code = FRAMES[name]
    with Player(hurried.address, CARTPOLE) as client:
        client.ask("reset")
        client.ask("step", {"action": 1})
        eventually(lambda: holder(hurried, client) is not None)
        client.socket.sendall(text("step", {"action": 0}))
        assert client.answer()["type"] == "observation"
        with contextlib.suppress(ConnectionError):
            client.socket.sendall(data)
        # Nothing is compressed here, so the bits of it are reserved.
        assert client.closed() == (1002 if "compressed" in name else code)
    assert is_free(hurried)
    assert psutil.Process(hurried.process.pid).memory_info().rss < MAX_MEMORY


ENDS = {"exit 7": "7", "segfault": "SIGSEGV"}


@pytest.mark.parametrize("action", ENDS)
def test_an_environment_that_ends_ends_its_session(eager: Server, action: str) -> None:
    """The error has our words in their frame, the connection is closed with 1000, and the place is free."""
    with Player(eager.address, TROUBLE) as client:
        settle(eager, client)
        client.socket.sendall(text("step", {"action": action}) + text("step", {"action": ""}))
        told = client.answer()["data"]
        assert told["code"] == "SESSION_ERROR"
        assert ENDS[action] in told["message"]
        assert client.closed() == 1000
    assert is_free(eager)


def test_a_session_whose_process_was_killed_or_closed_is_told_with_its_next_message(eager: Server) -> None:
    """A connection whose environment is gone is the server's again, and its next message ends the session."""

    def kill(pid: int) -> None:
        os.kill(pid, signal.SIGKILL)

    def close(_: int) -> None:
        [instance_id] = eager.get("/v1/envs/").json["envs"]
        eager.request("DELETE", f"/v1/envs/{instance_id}/")

    for do in (kill, close):
        with Player(eager.address, TROUBLE) as client:
            do(settle(eager, client))
            code, _ = client.error("step", {"action": ""})
            assert code == "SESSION_ERROR"
            assert client.closed() == 1000
        assert is_free(eager)


def test_use_is_counted_as_everywhere(eager: Server) -> None:
    """Messages, requests, steps and episodes are in the metrics at once, with the connection in the process."""

    def counted() -> list[float]:
        names = (
            "gym_http_server_websocket_messages_total",
            'gym_http_server_requests_total{operation="stepEnv",status="200"}',
            'gym_http_server_requests_total{operation="stepEnv",status="400"}',
            "gym_http_server_steps_total",
        )
        lines = dict(line.rsplit(" ", 1) for line in metrics(eager) if not line.startswith("#"))
        return [float(lines.get(name, 0)) for name in names]

    before = counted()
    with Player(eager.address, CARTPOLE) as client:
        client.ask("reset")
        for _ in range(5):
            client.ask("step", {"action": 1})
        client.ask("step", {"action": 5})
        client.ask("state")
        assert holder(eager, client) is not None
        assert [now - then for now, then in zip(counted(), before, strict=True)] == [8, 5, 1, 5]
        [instance] = server_instances(eager)
        assert instance["steps"] == 5
        live = eager.get(f"/v1/envs/{instance['instance_id']}/live/").json
        assert live["steps"] == 5, live
        assert client.ask("step", {"action": 1})["data"]["reward"] == 1.0
        assert holder(eager, client) is not None
        end(client)
    assert is_free(eager)
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [10, 6, 1, 6]


def test_a_stop_waits_for_the_step_and_says_goodbye() -> None:
    """The step in the process is answered, then the close says that the server goes away."""
    with start("handover") as server:
        with Player(server.address, TROUBLE) as client:
            pid = settle(server, client)
            client.tell("step", {"action": "await"})
            eventually(lambda: [each["state"] for each in server_instances(server)] == ["busy"])
            server.process.send_signal(signal.SIGTERM)
            release(pid)
            assert client.answer()["type"] == "observation"
            assert client.closed() == 1001
            client.send(CLOSE, b"\x03\xe9")
        assert server.process.wait(30) == 0
