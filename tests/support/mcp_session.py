"""Plays as an MCP client does, with whichever generation of the SDK runs this: what tests run in other Pythons.

Usage: python mcp_session.py TARGETS; they are a JSON object of lists, of a URL or of a command that speaks over stdio. It prints
what it saw at each as JSON. The 2.x asks for the protocol without a handshake first, and falls back to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from typing import Any

FROZEN_LAKE = [1, 1, 2, 1, 2, 2]
"""The way to the goal, where the ice does not slip."""


def over_stdio(command: list[str]) -> Any:
    from mcp.client.stdio import StdioServerParameters, stdio_client

    return stdio_client(StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ)))


@contextlib.asynccontextmanager
async def connected(target: list[str]) -> Any:
    """Yield something with `list_tools` and `call_tool`."""
    is_url = target[0].startswith("http")
    try:
        from mcp.client.client import Client
    except ImportError:
        from mcp import ClientSession
        from mcp.client.streamable_http import streamablehttp_client

        transport = streamablehttp_client(target[0]) if is_url else over_stdio(target)
        async with transport as streams, ClientSession(streams[0], streams[1]) as session:
            await session.initialize()
            yield session
        return
    async with Client(target[0] if is_url else over_stdio(target)) as session:
        yield session


async def play(session: Any) -> dict[str, Any]:
    """List the tools, play a whole FrozenLake, look at it, and make mistakes."""

    async def call(tool: str, **arguments: Any) -> dict[str, Any]:
        return plain(await session.call_tool(tool, arguments))

    seen: dict[str, Any] = {"tools": [plain(tool) for tool in (await session.list_tools()).tools]}
    seen["found"] = await call("list_environments", search="FrozenLake")
    seen["described"] = await call("describe_environment", env_id="FrozenLake-v1")
    seen["made"] = await call("create", env_id="FrozenLake-v1", kwargs={"is_slippery": False})
    seen["reset"] = await call("reset")
    seen["steps"] = [await call("step", action=action) for action in FROZEN_LAKE]
    seen["after"] = await call("step", action=0)
    seen["image"] = await call("render")
    seen["again"] = await call("reset")
    seen["wrong"] = await call("step", action=7)
    seen["unknown"] = await call("create", env_id="FrozenLak-v1")
    seen["closed"] = await call("close")
    return seen


def plain(model: Any) -> dict[str, Any]:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


async def main(targets: dict[str, list[str]]) -> None:
    seen = {}
    for name, target in targets.items():
        async with connected(target) as session:
            seen[name] = await play(session)
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
