"""The tools of an environment in OpenEnv's dialect of MCP.

OpenEnv keeps the names reset, step, state and close for itself.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import jsonschema_rs

from ...errors import InvalidValueError, ResetNeededError
from ..schemas import schema_of
from ..words import space_in_words

if TYPE_CHECKING:
    from .environments import Facts
    from .player import OpenenvPlayer

IMAGE_MODES: Final = ("rgb_array", "rgb_array_list", "depth_array")
"""Render modes whose frames are images."""


def tools_of(facts: Facts) -> list[dict[str, Any]]:
    """Return the tools of an environment, as `tools/list` has them."""
    names, spaces = facts.names, (facts.action_space, facts.observation_space)
    action = schema_of(spaces[0], names.meanings, names.action)
    told = [
        _tool(
            "act",
            f"Take an action. The action: {space_in_words(spaces[0], names.action, names.meanings)}. "
            f"The observation: {space_in_words(spaces[1], names.observation)}.",
            {"action": action},
            ["action"],
        ),
        _tool("new_episode", "Begin a new episode.", {"seed": {"type": "integer", "minimum": 0}}),
        _tool("observe", "Tell the latest observation again, and how the episode goes.", {}),
    ]
    if facts.render_mode in IMAGE_MODES:
        told.append(_tool("render", "Return an image of the environment.", {}))
    return told


def _tool(name: str, description: str, properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {
        "name": name,
        "description": description,
        "inputSchema": {**schema, "required": required} if required else schema,
    }


async def call_tool(player: OpenenvPlayer, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Call a tool; return what `tools/call` has as its result.

    Raises:
        InvalidValueError: there is no such tool, or it takes other arguments.
        ResetNeededError: the episode is over.
        GymHttpServerError: as `OpenenvPlayer.step`.
        HttpProblem: the same.
    """
    tool = next((each for each in tools_of(player.facts) if each["name"] == name), None)
    if tool is None:
        known = ", ".join(each["name"] for each in tools_of(player.facts))
        raise InvalidValueError(f"Unknown tool: {name!r}; there are {known}")
    wrong = next(iter(jsonschema_rs.Draft202012Validator(tool["inputSchema"]).iter_errors(arguments)), None)
    if wrong is not None:
        raise InvalidValueError(f"the arguments of {name} are wrong: {wrong.message}")
    if name == "render":
        image = await player.session.call("renderEnv", instance_id=player.instance_id, accept="image/png")
        return _image(image)
    if name == "new_episode" or player.episode.step_count is None:
        await player.reset({"seed": arguments.get("seed")})
    if name == "act":
        if player.episode.latest["done"]:
            raise ResetNeededError("the episode is over: call new_episode, or reset")
        await player.step({"action": arguments["action"]})
    return _result(player.words(), player.episode.latest)


def _result(words: str, data: dict[str, Any]) -> dict[str, Any]:
    told = {**data, "text": words}
    content = [{"type": "text", "text": words}]
    return {"content": content, "structured_content": told, "data": told, "is_error": False, "meta": None}


def _image(image: bytes) -> dict[str, Any]:
    encoded = base64.b64encode(image).decode()
    content = [{"type": "image", "data": encoded, "mimeType": "image/png"}]
    data = {"image": encoded, "mime_type": "image/png"}
    return {"content": content, "structured_content": None, "data": data, "is_error": False, "meta": None}
