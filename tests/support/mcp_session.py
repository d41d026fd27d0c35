"""Plays as an MCP client does, with whichever generation of the SDK runs this: what tests run in other Pythons.

Usage: python mcp_session.py MODE TARGET...; MODE is `legacy` (the handshake) or `modern` (2.x alone, the protocol without one), and
TARGET a URL, with a key in the variable KEY, or a command that speaks over stdio. It prints what it saw as JSON.
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
async def connected(mode: str, target: list[str]) -> Any:
    """Yield something with `list_tools` and `call_tool`."""
    headers = {"Authorization": f"Bearer {os.environ['KEY']}"} if "KEY" in os.environ else {}
    is_url = target[0].startswith("http")
    try:
        from mcp.client.client import Client
    except ImportError:
        from mcp import ClientSession
        from mcp.client.streamable_http import streamablehttp_client

        assert mode == "legacy"
        transport = streamablehttp_client(target[0], headers=headers) if is_url else over_stdio(target)
        async with transport as streams, ClientSession(streams[0], streams[1]) as session:
            await session.initialize()
            yield session
        return
    if is_url:
        from httpx2 import AsyncClient
        from mcp.client.streamable_http import streamable_http_client

        transport = streamable_http_client(target[0], http_client=AsyncClient(headers=headers, timeout=60))
    else:
        transport = over_stdio(target)
    async with Client(transport, mode="legacy" if mode == "legacy" else "auto") as session:
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


async def main(mode: str, target: list[str]) -> None:
    async with connected(mode, target) as session:
        seen = await play(session)
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
