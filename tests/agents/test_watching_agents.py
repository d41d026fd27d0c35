"""What the pages and operations of a server show of instances that sessions of agents own."""

from __future__ import annotations

import json

from websockets.sync.client import connect

from tests.support.mcp_http import McpSession
from tests.support.serving import Server, eventually


def assert_is_watched(server: Server, protocol: str) -> None:
    """Check that the one live instance says whose it is, in lists and on pages, and can be watched."""
    listed = server.get("/v1/envs/").json
    [instance_id] = listed["envs"]
    labels = listed["labels"][instance_id]
    assert labels["protocol"] == protocol
    assert len(labels["session"]) == 8
    home = server.get("/", check=False).body.decode()
    assert f"protocol: {protocol}" in home
    assert f"session: {labels['session']}" in home
    assert server.get(f"/instances/{instance_id}", check=False).status == 200
    live = server.get(f"/v1/envs/{instance_id}/live/").json
    assert live["lanes"][0]["action"] is not None, live
    assert server.get(f"/v1/envs/{instance_id}/render/", headers={"Accept": "image/png"}).body.startswith(b"\x89PNG")


def test_an_instance_of_a_session_of_mcp_says_whose_it_is(server: Server) -> None:
    """People see the protocol and the beginning of the session's id, the latest step and the frame."""
    with McpSession(server) as session:
        session.make("FrozenLake-v1")
        session.call("step", action=1)
        assert_is_watched(server, "mcp")
        assert session.headers["Mcp-Session-Id"].startswith(
            server.get("/v1/envs/").json["labels"].popitem()[1]["session"]
        )


def test_an_instance_of_a_session_of_openenv_says_whose_it_is(server: Server) -> None:
    """The same holds for an environment that lives with its connection."""
    with connect("ws://{}:{}/openenv/FrozenLake-v1/ws".format(*server.address)) as connection:
        for message in ({"type": "reset"}, {"type": "step", "data": {"action": 1}}):
            connection.send(json.dumps(message))
            assert json.loads(connection.recv(60))["type"] == "observation"
        assert_is_watched(server, "openenv")
    eventually(lambda: server.get("/v1/envs/").json["envs"] == {})
