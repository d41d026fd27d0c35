"""A session of MCP over Streamable HTTP, by plain requests."""

from __future__ import annotations

import itertools
import json
from typing import Any

from .mcp_stdio import HANDSHAKE
from .serving import Answer, Server

HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


class McpSession:
    """A session; `with` ends it.

    Args:
        server: where it is.

    Attributes:
        headers: of its requests.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._ids = itertools.count(1)
        self.headers = dict(HEADERS)
        answer = self.send("initialize", HANDSHAKE)
        assert answer.status == 200, answer.body
        self.headers |= {"Mcp-Session-Id": answer.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-06-18"}
        assert self.send("notifications/initialized", is_request=False).status == 202

    def __enter__(self) -> McpSession:  # noqa: PYI034 -- no subclass
        return self

    def __exit__(self, *_: object) -> None:
        self._server.request("DELETE", "/mcp", headers=self.headers, check=False)

    def send(self, method: str, parameters: dict[str, Any] | None = None, *, is_request: bool = True) -> Answer:
        message = {"jsonrpc": "2.0", "method": method, "params": parameters or {}}
        if is_request:
            message["id"] = next(self._ids)
        return self._server.post("/mcp", message, headers=self.headers, check=False)

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool and return its result."""
        answer = self.send("tools/call", {"name": tool, "arguments": arguments})
        assert answer.status == 200, answer.body
        return message_of(answer)["result"]

    def make(self, env_id: str, **arguments: Any) -> str:
        """Make an environment and begin an episode; return the id of the instance."""
        made = self.call("create", env_id=env_id, **arguments)
        assert not made.get("isError"), words(made)
        instance_id = made["structuredContent"]["instance_id"]
        assert not self.call("reset", instance_id=instance_id).get("isError")
        return instance_id


def message_of(answer: Answer) -> dict[str, Any]:
    """Return the message in a reply, which is JSON or one event."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        [data] = [line[5:] for line in answer.body.decode().splitlines() if line.startswith("data:")]
        return json.loads(data)
    return answer.json


def words(result: dict[str, Any]) -> str:
    """Return the texts of a result."""
    return "\n".join(part["text"] for part in result["content"] if part["type"] == "text")
