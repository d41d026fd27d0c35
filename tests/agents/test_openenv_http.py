"""OpenEnv over HTTP: what its clients ask before they connect, one-request environments, and its dialect of MCP."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV30SpecValidator

from gym_http_server.config import Settings

from ..conftest import start
from ..support.serving import Server, eventually

LAKE = {"env_id": "FrozenLake-v1", "kwargs": {"is_slippery": False}, "render_mode": "rgb_array"}
CARTPOLE = "/openenv/CartPole-v1"
RECORDED = json.loads((Path(__file__).parent / "recorded" / "openenv-0.10.0-http.json").read_text())
OWN = {"properties", "outputSchema", "meta", "terminated", "truncated", "structured_content", "data", "paths"}
"""Members that are of the environment, the tool or the server that was recorded; others are there here, too."""
SAME = {"status", "jsonrpc", "id", "code", "reward", "done", "closed", "is_error", "step_count", "episode_id"}
"""Members with equal values; other texts are each server's own words."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with a named environment of its own, and one at the root."""
    named = ("--openenv", f"lake={json.dumps(LAKE)}", "--openenv", "/=tests/Everything-v0")
    with start("process", *named, "--max-envs", "4") as running:
        yield running


def rpc(server: Server, name: str, method: str, /, **params: Any) -> Any:
    """Send a request of JSON-RPC; return its result, or its error."""
    answer = server.post(f"/openenv/{name}/mcp", {"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
    assert (answer.status, answer.json["id"]) == (200, 7)
    return answer.json.get("result", answer.json.get("error"))


def nothing_is_left(server: Server) -> bool:
    return eventually(lambda: server.get("/v1/envs/").json["envs"] == {})


def test_what_openenv_validates_is_there(server: Server) -> None:
    """Health, metadata in the words of the docstring, schemas, state, a document, and an error for an empty request."""
    assert server.get(f"{CARTPOLE}/health").json == {"status": "healthy"}
    assert server.get(f"{CARTPOLE}/state").json == {"episode_id": None, "step_count": 0}
    metadata = server.get(f"{CARTPOLE}/metadata").json
    assert metadata["name"] == "CartPole-v1"
    assert metadata["description"].startswith("This environment corresponds to the version of the cart-pole problem")
    document = server.get(f"{CARTPOLE}/openapi.json").json
    OpenAPIV30SpecValidator(document).validate()
    assert {"/reset", "/step", "/state"} <= document["paths"].keys()
    assert document["servers"] == [{"url": CARTPOLE}]
    empty = server.post(f"{CARTPOLE}/mcp", {})
    assert (empty.status, empty.json["error"]["code"]) == (200, -32600)
    assert server.post(f"{CARTPOLE}/mcp", []).json["error"]["message"] == "Invalid request: expected one object"
    assert nothing_is_left(server)


def test_recorded_requests_have_the_same_replies(server: Server) -> None:
    """What OpenEnv 0.10.0 answered is answered alike, but for a problem with a text as `detail` where it has a 422 with a list."""
    session = given = "no session yet"
    for recorded in RECORDED:
        body = json.loads(json.dumps(recorded["body"]).replace('"push"', '"act"').replace(given, session))
        told = server.request(
            recorded["method"],
            CARTPOLE + recorded["path"],
            body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"} if body is not None else {},
            check=False,
        )
        expected = recorded["reply"]
        if "detail" in expected:
            status = 400 if recorded["status"] == 422 else recorded["status"]
            assert (told.status, told.headers["content-type"]) == (status, "application/problem+json"), recorded
            assert isinstance(told.json["detail"], str)
            continue
        assert (told.status, told.headers["content-type"]) == (recorded["status"], "application/json"), recorded
        assert_alike(told.json, {name: {} for name in expected} if recorded["path"] == "/schema" else expected)
        if "seed" in (body or {}):
            assert told.json["observation"]["observation"] == pytest.approx(expected["observation"]["observation"])
        if "session_id" in expected.get("result", {}) and "closed" not in expected["result"]:
            given, session = expected["result"]["session_id"], told.json["result"]["session_id"]
    assert nothing_is_left(server)


def assert_alike(told: Any, recorded: Any) -> None:
    """Check that a value has all members of a recorded one but null, of the same types, and those of `SAME` with its values."""
    assert isinstance(told, type(recorded)), (told, recorded)
    if isinstance(recorded, list):
        assert (len(told) == len(recorded)) or isinstance(recorded[0], dict)
        if recorded and isinstance(recorded[0], dict):
            assert_alike(told[0], recorded[0])
    elif isinstance(recorded, dict):
        for name, value in recorded.items():
            if name in OWN or (value is None and name not in SAME):
                continue
            assert_alike(told[name], value)
            assert told[name] == value or name not in SAME, (name, told, recorded)


def test_an_id_with_a_slash_stands_in_the_path_in_both_forms(server: Server) -> None:
    """`ALE/Pong-v5` and `ALE%2FPong-v5` name the same environment."""
    plain, encoded = (server.get(f"/openenv/{each}/metadata").json for each in ("ALE/Pong-v5", "ALE%2FPong-v5"))
    assert plain == encoded
    assert plain["name"] == "ALE/Pong-v5"


def test_schemas_are_those_of_the_spaces(server: Server) -> None:
    """An observation that a reset returns is valid, and so is the action that a step takes; of a Dict, too."""
    for path, action in ((CARTPOLE, {"action": 1}), ("/openenv/lake", {"action": "move right"})):
        schemas = server.get(f"{path}/schema").json
        first = server.post(f"{path}/reset", {"seed": 42}).json
        assert jsonschema_rs.Draft202012Validator(schemas["observation"]).is_valid(first["observation"])
        assert jsonschema_rs.Draft202012Validator(schemas["action"]).is_valid(action)
        assert not jsonschema_rs.Draft202012Validator(schemas["action"]).is_valid({"action": 9})
        assert server.post(f"{path}/step", {"action": action}).json["done"] is False


def test_one_request_has_an_environment_of_its_own(server: Server) -> None:
    """A reset and a step return OpenEnv's form, with what else Gymnasium tells in the metadata, and leave nothing."""
    first = server.post(f"{CARTPOLE}/reset", {"seed": 42, "episode_id": "e1", "unknown": 1}).json
    assert first["observation"]["observation"][0] == pytest.approx(0.0273956, abs=1e-6)
    assert (first["reward"], first["done"], first["metadata"]) == (None, False, {"info": {}})
    for action in ({"action": 1}, 1, {"action": 1, "metadata": {"tag": "t"}}):
        step = server.post(f"{CARTPOLE}/step", {"action": action, "seed": 42}).json
        assert step["observation"]["observation"][0] == pytest.approx(0.0272734, abs=1e-6)
        assert (step["reward"], step["done"]) == (1.0, False)
        assert step["metadata"] == {"terminated": False, "truncated": False, "info": {}}
    assert server.post(f"{CARTPOLE}/reset").status == 200
    assert nothing_is_left(server)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        (f"{CARTPOLE}/step", {"action": 7}, 400, "7"),
        (f"{CARTPOLE}/step", {"action": "up"}, 400, "expected one of push cart to the left, push cart to the right"),
        (f"{CARTPOLE}/step", {}, 400, "'action' is a required property"),
        (f"{CARTPOLE}/reset", {"seed": -1}, 400, "minimum"),
        ("/openenv/Nothing-v0/reset", {}, 400, "Nothing"),
    ],
)
def test_errors_are_problem_details(server: Server, path: str, body: Any, status: int, words: str) -> None:
    """What no client of OpenEnv sends is answered as everywhere, and frees its environment."""
    answer = server.post(path, body)
    assert (answer.status, words in answer.message) == (status, True), answer.message
    assert nothing_is_left(server)


def test_a_dict_is_the_observation_itself(server: Server) -> None:
    """The keys of a Dict stand beside the metadata, and an action of a Dict is taken with and without `action`."""
    path = "/openenv/tests/Everything-v0"
    first = server.post(f"{path}/reset", {"seed": 1}).json["observation"]
    action = {name: value for name, value in first.items() if name != "metadata"}
    assert set(action) == set(server.get(f"{path}/schema").json["observation"]["properties"]) - {"metadata"}
    for sent in (action, {"action": action}):
        step = server.post(f"{path}/step", {"action": sent}).json
        assert step["observation"]["text"] == action["text"]


def test_a_session_of_tools_plays_an_episode(server: Server) -> None:
    """Sessions have an environment each; tools answer in words and values, and an end is told."""
    session = rpc(server, "lake", "openenv/session/create")["session_id"]
    tools = {each["name"]: each for each in rpc(server, "lake", "tools/list", session_id=session)["tools"]}
    assert list(tools) == ["act", "new_episode", "observe", "render"]
    assert "0 = move left" in tools["act"]["description"]

    def act(action: Any) -> Any:
        return rpc(server, "lake", "tools/call", session_id=session, name="act", arguments={"action": action})

    for action in ("move down", "move down", "move right", 1, 2):
        told = act(action)
        assert told["data"]["done"] is False
    assert told["content"][0]["text"] == "14; reward 0; episode goes on (step 5 of 100)"
    last = act("move right")
    assert last["data"]["metadata"]["terminated"] is True
    assert last["content"][0]["text"] == "15; reward 1; episode is over after 6 steps: terminated; total reward 1"
    assert "new_episode" in act(0)["message"]
    again = rpc(server, "lake", "tools/call", session_id=session, name="new_episode", arguments={"seed": 3})
    assert again["data"]["observation"]["observation"] == 0
    image = rpc(server, "lake", "tools/call", session_id=session, name="render")["content"][0]
    assert base64.b64decode(image["data"]).startswith(b"\x89PNG")
    assert rpc(server, "lake", "openenv/session/close", session_id=session) == {"session_id": session, "closed": True}
    assert nothing_is_left(server)


def test_a_tool_without_a_session_has_an_environment_of_its_own(server: Server) -> None:
    """The call begins an episode, and its environment is closed."""
    told = rpc(server, "lake", "tools/call", name="act", arguments={"action": 1})
    assert told["data"]["observation"]["observation"] == 4
    assert nothing_is_left(server)


@pytest.mark.parametrize(
    ("method", "params", "code", "words"),
    [
        ("initialize", {}, -32601, "Method not found: initialize"),
        ("openenv/session/close", {}, -32602, "'session_id' is required"),
        ("openenv/session/close", {"session_id": "x"}, -32602, "Unknown session_id: x"),
        ("tools/call", {"arguments": {}}, -32602, "Missing 'name'"),
        ("tools/call", {"name": "nope"}, -32603, "Unknown tool: 'nope'; there are act"),
        ("tools/call", {"name": "act"}, -32603, '"action" is a required property'),
        ("tools/call", {"name": "act", "arguments": {"action": 9}}, -32603, "9"),
        ("tools/list", {"session_id": "nope"}, -32602, "Unknown session_id: nope"),
    ],
)
def test_errors_of_json_rpc_say_what_was_wrong(
    server: Server, method: str, params: dict[str, Any], code: int, words: str
) -> None:
    """The status is 200 and the code OpenEnv's."""
    error = rpc(server, "lake", method, **params)
    assert (error["code"], words in error["message"]) == (code, True), error
    assert nothing_is_left(server)


def test_sessions_are_bounded_and_belong_to_their_environment(server: Server) -> None:
    """One too many is OpenEnv's error with the numbers; a session is not found at another name."""
    sessions = [rpc(server, "lake", "openenv/session/create")["session_id"] for _ in range(4)]
    error = rpc(server, "lake", "openenv/session/create")
    assert (error["code"], error["data"]) == (-32000, {"active_sessions": 4, "max_sessions": 4})
    assert rpc(server, "CartPole-v1", "tools/list", session_id=sessions[0])["code"] == -32602
    assert all(rpc(server, "lake", "openenv/session/close", session_id=each)["closed"] for each in sessions)
    assert nothing_is_left(server)


def test_a_key_is_required_but_for_the_health_check() -> None:
    """Containers poll the health check without a header; everything else has the guard of all paths."""
    with start("inline", "--api-key", "k" * 32) as guarded:
        headers = {"Authorization": "Bearer " + "k" * 32}
        assert guarded.get(f"{CARTPOLE}/health").status == 200
        assert guarded.get(f"{CARTPOLE}/metadata").status == 401
        assert guarded.post(f"{CARTPOLE}/mcp", {}).status == 401
        assert guarded.get(f"{CARTPOLE}/metadata", headers=headers).status == 200
        assert guarded.get(f"{CARTPOLE}/state", headers=headers | {"Host": "evil.example"}).status == 400
        assert guarded.get(f"{CARTPOLE}/state", headers=headers | {"Origin": "https://evil.example"}).status == 403


def test_a_server_without_openenv_says_so() -> None:
    """`--no-openenv` leaves the paths unserved, with words."""
    with start("inline", "--no-openenv") as without:
        answer = without.get(f"{CARTPOLE}/health")
        assert (answer.status, "--no-openenv" in answer.message) == (404, True)


@pytest.mark.parametrize(
    "source", ["lake", "=CartPole-v1", "lake=", "lake={", 'lake={"num_envs": 2, "env_id": "CartPole-v1"}']
)
def test_a_name_without_an_environment_ends_the_start(source: str) -> None:
    """The error says what the option takes."""
    with pytest.raises(ValueError, match="must be NAME=ENV_ID or NAME=JSON"):
        Settings(openenv=(source,))
