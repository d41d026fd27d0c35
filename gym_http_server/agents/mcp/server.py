"""The SDK's server of one session: what `gym-http-server mcp` runs over stdio, and `/mcp` for each session."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_PARAMS,
    CallToolResult,
    ImageContent,
    ListToolsResult,
    TextContent,
    Tool,
    ToolAnnotations,
)

from ... import __version__
from .outcome import PNG
from .player import UnknownToolError

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext
    from mcp.types import CallToolRequestParams, PaginatedRequestParams

    from .catalog import Tool as CatalogTool
    from .outcome import Outcome
    from .player import Player

NAME: Final = "gym-http-server"


def make_server(player: Player) -> Server[Any]:
    """Return the SDK's server for one session, whose tools are those of a player.

    The caller runs it, as in `await server.run(reading, writing, server.create_initialization_options())`, and ends the player
    when the session ends.
    """
    listed = [_tool(tool) for tool in player.tools.values()]

    async def list_tools(
        context: ServerRequestContext[Any],  # noqa: ARG001 -- the SDK's signature
        params: PaginatedRequestParams | None,  # noqa: ARG001 -- the SDK's signature
    ) -> ListToolsResult:
        return ListToolsResult(tools=listed)

    async def call_tool(
        context: ServerRequestContext[Any],  # noqa: ARG001 -- the SDK's signature
        params: CallToolRequestParams,
    ) -> CallToolResult:
        try:
            return _result(await player.use(params.name, params.arguments or {}))
        except UnknownToolError as error:
            raise MCPError(INVALID_PARAMS, str(error)) from None

    return Server(
        NAME,
        version=__version__,
        title="Gym HTTP server",
        instructions=player.instructions,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _tool(tool: CatalogTool) -> Tool:
    annotations = ToolAnnotations(
        title=tool.title,
        read_only_hint=tool.is_read_only,
        destructive_hint=tool.is_destructive,
        idempotent_hint=tool.is_idempotent,
        open_world_hint=False,
    )
    return Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.takes,
        output_schema=tool.gives,
        annotations=annotations,
    )


def _result(outcome: Outcome) -> CallToolResult:
    content: list[Any] = [TextContent(type="text", text=outcome.text)]
    if outcome.frame is not None and outcome.frame.image:
        image = base64.b64encode(outcome.frame.image).decode()
        content.append(ImageContent(type="image", data=image, mime_type=PNG))
    elif outcome.frame is not None:
        content.append(TextContent(type="text", text=outcome.frame.text))
    structured = None if outcome.structured is None else dict(outcome.structured)
    return CallToolResult(content=content, structured_content=structured, is_error=outcome.is_error)
