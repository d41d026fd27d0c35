"""Actions and observations in OpenEnv's form, and their JSON Schemas.

An action is `{"action": value}`, the value itself, or the members of a Dict. An observation is an object: the members of a Dict,
or `{"observation": value}`; `metadata` in it and beside it has what else Gymnasium tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..schemas import schema_of, value_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .environments import Facts

METADATA = {"type": "object", "additionalProperties": True}


def action_of(space: Mapping[str, Any], data: Any, meanings: Sequence[str] = ()) -> Any:
    """Return the action that stepEnv takes.

    Args:
        space: the description of the action space.
        data: the action as a client sent it.
        meanings: what each value of a Discrete space means; a word stands for its number.

    Raises:
        InvalidActionError: it is a text that means nothing here.
    """
    own = space["keys"] if space["name"] == "Dict" else ()
    if isinstance(data, dict):
        if "metadata" in data and "metadata" not in own:
            data = {name: value for name, value in data.items() if name != "metadata"}
        if data.keys() == {"action"} and list(own) != ["action"]:
            data = data["action"]
    return value_of(space, data, meanings)


def schemas(facts: Facts) -> dict[str, Any]:
    """Return the JSON Schemas of an environment's actions, observations and state."""
    action = schema_of(facts.action_space, facts.names.meanings, facts.names.action)
    observation = schema_of(facts.observation_space, names=facts.names.observation)
    if facts.observation_space["name"] == "Dict":
        members, required = observation["properties"], observation.get("required", [])
    else:
        members, required = {"observation": observation}, ["observation"]
    told = {
        "type": "object",
        "properties": {"metadata": METADATA, **members},
        "required": required,
    }
    if not required:
        del told["required"]
    state = {"episode_id": {"type": ["string", "null"]}, "step_count": {"type": "integer", "minimum": 0}}
    return {
        "action": {
            "type": "object",
            "properties": {"metadata": METADATA, "action": action},
            "required": ["action"],
            "additionalProperties": False,
        },
        "observation": told,
        "state": {"type": "object", "properties": state, "required": list(state)},
        "reset_observation": told,
    }
