"""MCP's tools, used by the official SDK's client over HTTP."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from mcp import Client, MCPError
from PIL import Image

from ..conftest import SharedServers
from ..support.serving import SECONDS, Server

READ_ONLY = {"list_environments", "describe_environment", "observe", "render"}
DESTRUCTIVE = {"reset", "restore", "close"}
WAY = ["move down", "move down", "move right", "move down", "move right", "move right"]
"""The way to the goal of a FrozenLake that is not slippery."""


@pytest.fixture(scope="module", params=["handover", "inline"])
def server(request: pytest.FixtureRequest, _servers: SharedServers) -> Iterator[Server]:
    """A server of each engine: sessions of MCP are not handed over."""
    yield from _servers.lend(request.param)


@contextlib.asynccontextmanager
async def session(server: Server) -> AsyncIterator[Client]:
    async with Client(f"{server.url}/mcp") as client:
        yield client


async def use(client: Client, tool: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
    """Return the text and the structured content of a tool's result, which the client holds against the output schema."""
    result = await client.call_tool(tool, arguments)
    text = "\n".join(each.text for each in result.content if each.type == "text")
    assert not result.is_error, text
    return text, result.structured_content


async def failure(client: Client, tool: str, **arguments: Any) -> str:
    """Return the text of a tool's error."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result
    return result.content[0].text


def live(server: Server) -> set[str]:
    return set(server.get("/v1/envs/").json["envs"])


def await_live(server: Server, expected: set[str]) -> None:
    deadline = time.monotonic() + SECONDS
    while live(server) != expected:
        assert time.monotonic() < deadline, live(server)
        time.sleep(0.02)


async def test_the_tools_are_listed_with_what_they_do(server: Server) -> None:
    """Each tool has a title, annotations and an object as output; the server says how to begin."""
    async with session(server) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert "reset" in client.instructions
    assert list(tools) == [
        "list_environments",
        "describe_environment",
        "create",
        "reset",
        "step",
        "observe",
        "render",
        "snapshot",
        "restore",
        "close",
    ]
    assert {name for name, tool in tools.items() if tool.annotations.read_only_hint} == READ_ONLY
    assert {name for name, tool in tools.items() if tool.annotations.destructive_hint} == DESTRUCTIVE
    for tool in tools.values():
        assert tool.title
        assert tool.description
        assert tool.output_schema["type"] == "object"
        assert tool.annotations.open_world_hint is False


async def test_a_whole_frozen_lake_by_tools(server: Server) -> None:
    """Find, describe, create, reset, act, look, close: each result says in words what the model needs next."""
    async with session(server) as client:
        text, found = await use(client, "list_environments", search="frozen v1")
        assert "FrozenLake-v1 (gymnasium)" in text
        assert {"env_id": "FrozenLake-v1", "library": "gymnasium", "can_be_made": True, "needs": None} in found[
            "environments"
        ]
        text, told = await use(client, "describe_environment", env_id="FrozenLake-v1")
        assert "at most 100 steps" in text
        assert "frozen lake" in told["documentation"]
        assert live(server) == set()
        text, made = await use(client, "create", env_id="FrozenLake-v1", kwargs={"is_slippery": False})
        assert made["instance_id"] in text
        assert made["action_space"]["schema"] == told["action_space"]["schema"]
        assert made["observation_space"]["schema"] == {"type": "integer", "minimum": 0, "maximum": 15}
        assert "call reset first" in await failure(client, "step", action=0)
        text, told = await use(client, "reset", seed=7)
        assert "observation 0" in text
        assert told["observation"] == told["episode_steps"] == 0
        for number, action in enumerate(WAY, 1):
            text, told = await use(client, "step", action=action)
            assert told["episode_steps"] == number
            assert (f"episode goes on (step {number} of 100)" in text) == (number < len(WAY))
        assert (told["terminated"], told["truncated"], told["reward"], told["total_reward"]) == (True, False, 1.0, 1.0)
        assert "reward 1; episode is over after 6 steps: terminated; total reward 1; reset starts the next one" in text
        assert "call reset to start the next one" in await failure(client, "step", action=0)
        text, seen = await use(client, "observe")
        assert (seen["observation"], seen["total_reward"], seen["episode_steps"]) == (15, 1.0, 6)
        assert (await use(client, "close"))[1] == (await use(client, "close", instance_id=made["instance_id"]))[1]
        assert live(server) == set()


async def test_several_actions_stop_where_the_episode_ends(server: Server) -> None:
    """A list of actions is taken in order; each is told, and none after the end is taken."""
    async with session(server) as client:
        await use(client, "create", env_id="FrozenLake-v1", kwargs={"is_slippery": False})
        await use(client, "reset")
        text, told = await use(client, "step", actions=[*WAY, "move up", "move up"])
        assert [each["observation"] for each in told["taken"]] == [4, 8, 9, 13, 14, 15]
        assert [each["reward"] for each in told["taken"]] == [0.0] * 5 + [1.0]
        assert text.startswith("6 of 8 actions taken:\n1. 1 (move down): observation 4; reward 0\n2. ")
        await use(client, "reset")
        text = await failure(client, "step", actions=[1, 99, 1])
        assert "1 of 3 actions taken:" in text
        assert "The next action failed: " in text
        assert (await use(client, "observe"))[1]["episode_steps"] == 1
        assert "more than 100 items" in await failure(client, "step", actions=[0] * 101)
        assert "either action or actions" in await failure(client, "step")


async def test_actions_go_by_the_names_that_the_environment_has(server: Server) -> None:
    """Atari tells the meanings of its actions; texts of numbers are read, too, as models write them."""
    async with session(server) as client:
        _, made = await use(client, "create", env_id="ALE/Pong-v5")
        assert made["action_names"] == ["NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE"]
        assert made["action_space"]["schema"]["anyOf"][1]["enum"] == made["action_names"]
        _, told = await use(client, "reset")
        assert told["observation"] is None
        text, told = await use(client, "step", actions=["FIRE", "left", 2, "3"])
        assert [each["action"] for each in told["taken"]] == [1, 3, 2, 3]
        assert "1. 1 (FIRE): an image, 210 x 160 x 3 numbers" in text
        _, told = await use(client, "observe")
        assert len(told["observation"]) == 210
        assert "'UP' is a text, expected one of NOOP, FIRE, RIGHT" in await failure(client, "step", action="UP")


async def test_a_frame_is_an_image(server: Server) -> None:
    """render returns PNG as image content, and so do reset and step where a frame is asked for; ansi is text."""
    async with session(server) as client:
        _, made = await use(client, "create", env_id="CartPole-v1")
        results = [await client.call_tool("reset", {"frame": True, "instance_id": made["instance_id"]})]
        results.append(await client.call_tool("step", {"frame": True, "action": 0}))
        results.append(await client.call_tool("render", {}))
        for result in results:
            image = result.content[-1]
            assert (image.type, image.mime_type) == ("image", "image/png")
            assert Image.open(io.BytesIO(base64.b64decode(image.data))).size == (600, 400)
        assert "cart position" in results[1].content[0].text
        _, ansi = await use(client, "create", env_id="FrozenLake-v1", render_mode="ansi")
        text, told = await use(client, "reset", instance_id=ansi["instance_id"], frame=True)
        assert "FHFH" in text
        text, told = await use(client, "render", instance_id=ansi["instance_id"])
        assert (told["media_type"], told["text"][-5:]) == ("text/plain", "HFFG\n")
        _, blind = await use(client, "create", env_id="tests/Troublemaker-v0", render_mode="human")
        text, _ = await use(client, "reset", instance_id=blind["instance_id"], frame=True)
        assert "There is no frame: " in text


async def test_a_state_is_saved_and_restored(server: Server) -> None:
    """A restored episode goes on from the step at which it was saved."""
    async with session(server) as client:
        await use(client, "create", env_id="CartPole-v1", seed=3)
        await use(client, "reset")
        await use(client, "step", actions=[0, 1])
        _, saved = await use(client, "snapshot")
        _, first = await use(client, "step", action=1)
        text, told = await use(client, "restore", snapshot_id=saved["snapshot_id"])
        assert (told["episode_steps"], told["total_reward"]) == (2, 2.0)
        assert "episode goes on (step 2 of 500)" in text
        assert (await use(client, "step", action=1))[1] == first
        assert saved["snapshot_id"] in await failure(client, "restore", snapshot_id="none")


async def test_what_goes_wrong_is_a_tools_error_with_what_to_do(server: Server) -> None:
    """Errors are results that the model reads, in the words of the operations."""
    async with session(server) as client:
        assert "create" in await failure(client, "reset")
        assert "Nonsense-v0" in await failure(client, "create", env_id="Nonsense-v0")
        text = await failure(client, "create", name="CartPole-v1")
        assert "it takes env_id, library, kwargs, render_mode" in text
        assert "is not one of yours: you have none" in await failure(client, "reset", instance_id="00000000")
        made = [(await use(client, "create", env_id="CartPole-v1"))[1]["instance_id"] for _ in range(2)]
        assert f"one of {made[0]}, {made[1]}" in await failure(client, "reset")
        await use(client, "reset", instance_id=made[0])
        text = await failure(client, "step", instance_id=made[0], action=7)
        assert text.endswith("Discrete(2); expected 0 = push cart to the left, 1 = push cart to the right")
        assert "one of push cart to the left" in await failure(client, "step", instance_id=made[0], action="jump")
        await use(client, "step", instance_id=made[0], action=1)
        with pytest.raises(MCPError, match="there is no tool 'win'"):
            await client.call_tool("win", {})


async def test_an_environment_that_dies_frees_its_place(process_server: Server) -> None:
    """The model is told how it ended, its instance is closed, and the session goes on."""
    async with session(process_server) as client:
        _, made = await use(client, "create", env_id="tests/Troublemaker-v0")
        await use(client, "reset")
        text = await failure(client, "step", action="exit 3")
        assert "exit code 3" in text
        assert f"Instance {made['instance_id']} is closed; create makes another." in text
        assert made["instance_id"] not in live(process_server)
        assert "is closed: you have none" in await failure(client, "reset", instance_id=made["instance_id"])
        await use(client, "create", env_id="tests/Troublemaker-v0")
        await use(client, "reset")
        assert "raised on purpose" in await failure(client, "step", action="raise raised on purpose")
        await use(client, "step", action="calm")


async def test_sessions_own_their_instances(server: Server) -> None:
    """An instance is unknown to other sessions, and closed when its session ends; others live on."""
    before = live(server)
    async with session(server) as one:
        _, kept = await use(one, "create", env_id="CartPole-v1")
        async with session(server) as other:
            _, made = await use(other, "create", env_id="CartPole-v1")
            assert live(server) == before | {kept["instance_id"], made["instance_id"]}
            assert "is not one of yours" in await failure(one, "reset", instance_id=made["instance_id"])
        await_live(server, before | {kept["instance_id"]})
        await use(one, "reset")
    await_live(server, before)


async def test_a_session_of_one_environment_has_tools_with_its_actions(server: Server) -> None:
    """Below /mcp/ the id of an environment, and its kwargs in the query, leave nothing to choose but actions."""
    before = live(server)
    async with Client(f"{server.url}/mcp/ALE/Pong-v5?difficulty=1&max_episode_steps=50") as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools) == ["describe_environment", "reset", "step", "observe", "render", "snapshot", "restore"]
        taken = tools["step"].input_schema["properties"]
        assert taken["action"]["anyOf"][1]["enum"] == ["NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE"]
        assert taken["actions"]["items"]["anyOf"] == taken["action"]["anyOf"]
        assert "1 = FIRE" in client.instructions
        assert not [name for name, tool in tools.items() if "instance_id" in tool.input_schema["properties"]]
        _, told = await use(client, "describe_environment")
        assert (told["env_id"], told["max_episode_steps"]) == ("ALE/Pong-v5", 50)
        [instance_id] = live(server) - before
        await use(client, "reset", seed=1)
        text, _ = await use(client, "step", actions=["FIRE", "2"])
        assert "(step 2 of 50)" in text
        assert "one of NOOP, FIRE" in await failure(client, "step", action="UP")
        server.request("DELETE", f"/v1/envs/{instance_id}/")
        assert "reset makes another" in await failure(client, "step", action="FIRE")
        await use(client, "reset")
    await_live(server, before)
    info = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": info}
    for path, words in (
        ("Nonsense-v0", "Nonsense-v0"),
        ("CartPole-v1?size=3", "size"),
        ("CartPole-v1/x", "CartPole-v1/x"),
    ):
        answer = server.post(f"/mcp/{path}", body, check=False)
        assert answer.status == 400
        assert words in answer.json["error"]["message"]
    assert live(server) == before


def rpc(server: Server, method: str, session_id: str = "", version: str = "2025-11-25", **params: Any) -> Any:
    headers = {"Accept": "application/json, text/event-stream"}
    if session_id:
        headers |= {"Mcp-Session-Id": session_id, "Mcp-Protocol-Version": version}
    elif version != "2025-11-25":
        headers["Mcp-Protocol-Version"] = version
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return server.post("/mcp", body, headers=headers, check=False)


def begin(server: Server) -> str:
    info = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    answer = rpc(server, "initialize", **info)
    assert answer.status == 200, answer.body
    session_id = answer.headers["mcp-session-id"]
    rpc(server, "notifications/initialized", session_id)
    return session_id


def test_the_transport_says_what_it_takes(server: Server) -> None:
    """Requests outside a session, unknown sessions, other methods and what is not JSON-RPC have words, too."""
    answer = server.get("/mcp", check=False)
    assert (answer.status, answer.headers["allow"]) == (405, "POST, DELETE")
    answer = rpc(server, "tools/list")
    assert answer.status == 400
    assert "send initialize first" in answer.json["error"]["message"]
    answer = rpc(server, "tools/list", "unknown")
    assert answer.status == 404
    assert "the session 'unknown' is not known" in answer.json["error"]["message"]
    for body in (b"", b"[1", b"[]", b'{"method": "initialize"}', b"\xff"):
        answer = server.post("/mcp", body, headers={"Content-Type": "application/json"}, check=False)
        assert 400 <= answer.status < 500, answer.body
        assert "error" in answer.json
    answer = server.post(
        "/mcp", b"[" + b"0," * 200_000 + b"0]", headers={"Content-Type": "application/json"}, check=False
    )
    assert answer.status == 413
    assert "--max-values" in answer.message


def test_a_session_ends_by_delete(server: Server) -> None:
    """DELETE closes the instances before it is answered; the session is unknown afterwards."""
    before = live(server)
    session_id = begin(server)
    answer = rpc(server, "tools/call", session_id, name="create", arguments={"env_id": "CartPole-v1"})
    made = answer.json["result"]["structuredContent"]["instance_id"]
    assert made in live(server)
    headers = {"Mcp-Session-Id": session_id}
    assert server.request("DELETE", "/mcp", headers=headers, check=False).status == 200
    assert live(server) == before
    assert server.request("DELETE", "/mcp", headers=headers, check=False).status == 404
    assert rpc(server, "tools/list", session_id).status == 404


def test_versions_without_sessions_are_told_which_are_served(server: Server) -> None:
    """A client of a newer version learns the older ones, with which it falls back to a session."""
    answer = rpc(server, "server/discover", version="2026-07-28")
    assert answer.status == 400
    error = answer.json["error"]
    assert (error["code"], error["data"]["requested"]) == (-32022, "2026-07-28")
    assert "2025-11-25" in error["data"]["supported"]
    assert json.loads(answer.body)["id"] == 1
