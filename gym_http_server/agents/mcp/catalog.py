"""The tools: names, titles, descriptions, schemas and annotations.

The tools are the same for every environment, and `action` is any value: `create` and `describe_environment` tell the schema of
an environment's actions, and `step` checks them. Tools with the schema of the latest instance would change within a session,
which clients that keep the list, or give it to the model once, do not follow; a session may have several instances, too.
A session of one environment (`pinned_player.py`) has its schema in the tools.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection

    from .rules import Rules

Schema: TypeAlias = "dict[str, Any]"

MAX_ACTIONS: Final = 100
"""Most actions in one call of `step`."""

PAGE_SIZE: Final = 25
"""Environments in a page of `list_environments`."""

NOT_IN_PLAY: Final = ("seed", "options", "kwargs", "max_episode_steps")
"""Arguments with which a model could repeat an episode, or make an easier one."""


class Tool(NamedTuple):
    """A tool.

    Attributes:
        name: its name.
        title: its name for people.
        description: what it does, for the model.
        takes: the JSON Schema of its arguments.
        gives: the JSON Schema of its structured content.
        is_read_only: it changes nothing.
        is_destructive: it ends or overwrites something.
        is_idempotent: the same call once more changes nothing further.
    """

    name: str
    title: str
    description: str
    takes: Schema
    gives: Schema
    is_read_only: bool = False
    is_destructive: bool = False
    is_idempotent: bool = False

    def without(self, names: Collection[str]) -> Tool:
        """Return the tool without some of its arguments."""
        properties = {name: schema for name, schema in self.takes["properties"].items() if name not in names}
        return self._replace(takes=_arguments(properties, *(set(self.takes.get("required", ())) - set(names))))


INSTANCE: Final[Schema] = {
    "type": "string",
    "description": "The instance, as create returned it. May be left out while you have only one.",
}
ENV_ID: Final[Schema] = {
    "type": "string",
    "minLength": 1,
    "maxLength": 256,
    "description": "The id of an environment, such as FrozenLake-v1; list_environments tells them.",
}
KWARGS: Final[Schema] = {
    "type": "object",
    "description": 'Arguments of the environment\'s constructor, such as {"is_slippery": false} for FrozenLake-v1.',
}
LIBRARY: Final[Schema] = {
    "type": "string",
    "maxLength": 64,
    "description": "Whose environment, where list_environments has the id more than once; left out, the first one's.",
}
FRAME: Final[Schema] = {
    "type": "boolean",
    "description": "Whether to return the frame afterwards, too, as an image.",
}
SEED: Final[Schema] = {
    "type": "integer",
    "minimum": 0,
    "maximum": 2**31 - 1,
    "description": "Makes the episode repeatable: the same seed and the same actions give the same episode.",
}
ACTION: Final[Schema] = {
    "description": "An action, as the schema in the result of create describes it; where actions have names, the name, "
    'such as "LEFT", or its number.',
    "anyOf": [
        {"type": "integer"},
        {"type": "number"},
        {"type": "string"},
        {"type": "array", "items": {}},
        {"type": "object"},
    ],
}

_TEXT: Final[Schema] = {"type": "string"}
_FLAG: Final[Schema] = {"type": "boolean"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_OBSERVATION: Final[Schema] = {
    "description": "The observation, a value of the observation space; null if it has so many numbers that only render and "
    "observe show it."
}
_INFO: Final[Schema] = {"description": "What the environment tells beside the observation."}
_REWARD: Final[Schema] = {
    "description": "The reward: a number, one for each component or agent, or null where there is none."
}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


_STEPS_LEFT: Final[Schema] = {
    **_nullable(_COUNT),
    "description": "Steps that this session may still take; null for any number.",
}


def _object(properties: Schema, *optional: str) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _arguments(properties: Schema, *required: str) -> Schema:
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": list(required)} if required else schema


_SPACE: Final[Schema] = _object(
    {"description": _TEXT, "schema": {"type": "object", "description": "The JSON Schema of its values."}}
)
_ENVIRONMENT: Final[Schema] = {
    "env_id": _TEXT,
    "library": _TEXT,
    "render_mode": _nullable(_TEXT),
    "max_episode_steps": _nullable(_COUNT),
    "reward_threshold": _nullable({"type": "number"}),
    "action_space": _SPACE,
    "observation_space": _SPACE,
    "action_names": {"type": "array", "items": _TEXT},
}
_EPISODE: Final[Schema] = {
    "instance_id": _TEXT,
    "observation": _OBSERVATION,
    "episode_steps": {**_COUNT, "description": "Steps taken in this episode."},
    "total_reward": _nullable({"type": "number"}),
}
_NEW_SPACE: Final[Schema] = {"action_space": {**_SPACE, "description": "The action space, where it has changed."}}


def catalog(rules: Rules) -> tuple[Tool, ...]:
    """Return the tools of a session under these rules."""
    if rules.is_play:
        return tuple(tool.without(NOT_IN_PLAY) for tool in (*_finding(), *_playing(), _CLOSE))
    return (*_finding(), *_playing(), *_SNAPSHOTS, _CLOSE)


def _finding() -> tuple[Tool, ...]:
    row = _object({"env_id": _TEXT, "library": _TEXT, "can_be_made": _FLAG, "needs": _nullable(_TEXT)})
    return (
        Tool(
            "list_environments",
            "List environments",
            "Finds environments by words in their ids. Returns a page of ids; those with can_be_made can be created.",
            _arguments(
                {
                    "search": {
                        "type": "string",
                        "maxLength": 256,
                        "description": "Words that must all occur in the id, such as 'frozen lake'. Leave it out for all.",
                    },
                    "page": {"type": "integer", "minimum": 1, "description": "Which page; 1 is the first."},
                }
            ),
            _object(
                {"environments": {"type": "array", "items": row}, "total": _COUNT, "page": _COUNT, "pages": _COUNT}
            ),
            is_read_only=True,
            is_idempotent=True,
        ),
        Tool(
            "describe_environment",
            "Describe an environment",
            "Tells what an environment is about, what its actions and observations are, in words and as JSON Schema, and how "
            "long an episode lasts.",
            _arguments({"env_id": ENV_ID, "library": LIBRARY, "kwargs": KWARGS}, "env_id"),
            _object({**_ENVIRONMENT, "documentation": _TEXT}),
            is_read_only=True,
            is_idempotent=True,
        ),
    )


def _playing() -> tuple[Tool, ...]:
    step = {
        **_EPISODE,
        "reward": _REWARD,
        "terminated": {**_FLAG, "description": "The episode has come to its end."},
        "truncated": {**_FLAG, "description": "The episode was cut off, such as by a time limit."},
        "info": _INFO,
        "taken": {
            "type": "array",
            "description": "The actions that were taken, in order.",
            "items": _object({"action": {}, "reward": _REWARD, "observation": _OBSERVATION}, "observation"),
        },
        "steps_left": _STEPS_LEFT,
        **_NEW_SPACE,
    }
    return (
        Tool(
            "create",
            "Make an environment",
            "Makes an environment and returns its instance_id and what its actions and observations are. Then call reset to "
            "start an episode, step until it ends, reset for the next one, and close at last.",
            _arguments(
                {
                    "env_id": ENV_ID,
                    "library": LIBRARY,
                    "kwargs": KWARGS,
                    "render_mode": {
                        "type": "string",
                        "maxLength": 64,
                        "description": "rgb_array for images, ansi for text; left out, images where the environment has them.",
                    },
                    "max_episode_steps": {
                        "type": "integer",
                        "minimum": 1,
                        "description": "Steps after which an episode is cut off; left out, as the environment has it.",
                    },
                    "seed": SEED,
                },
                "env_id",
            ),
            _object({"instance_id": _TEXT, **_ENVIRONMENT, "steps_left": _STEPS_LEFT}),
        ),
        Tool(
            "reset",
            "Start an episode",
            "Starts a new episode and returns its first observation. An episode under way is given up.",
            _arguments(
                {
                    "instance_id": INSTANCE,
                    "seed": SEED,
                    "options": {
                        "type": "object",
                        "description": "Options of the environment's reset, where it has some.",
                    },
                    "frame": FRAME,
                }
            ),
            _object({**_EPISODE, "info": _INFO, "steps_left": _STEPS_LEFT, **_NEW_SPACE}, "action_space"),
            is_destructive=True,
        ),
        Tool(
            "step",
            "Act",
            f"Takes an action, or up to {MAX_ACTIONS} in order, and stops where the episode ends. Returns the observation "
            "afterwards, the reward of each action and whether the episode goes on.",
            _arguments(
                {
                    "instance_id": INSTANCE,
                    "action": ACTION,
                    "actions": {
                        "type": "array",
                        "items": ACTION,
                        "minItems": 1,
                        "maxItems": MAX_ACTIONS,
                        "description": "Several actions in place of one.",
                    },
                    "frame": FRAME,
                }
            ),
            _object(step, "action_space"),
        ),
        Tool(
            "observe",
            "Observe",
            "Returns the latest observation again, whole however large it is, and how the episode goes. Changes nothing.",
            _arguments({"instance_id": INSTANCE}),
            _object(
                {
                    **_EPISODE,
                    "observation": {"description": "The observation, a value of the observation space."},
                    "reward": _REWARD,
                    "terminated": _FLAG,
                    "truncated": _FLAG,
                    "steps_left": _STEPS_LEFT,
                }
            ),
            is_read_only=True,
            is_idempotent=True,
        ),
        Tool(
            "render",
            "Look",
            "Returns the current frame: an image, or a text if the render mode is ansi.",
            _arguments({"instance_id": INSTANCE}),
            _object({"instance_id": _TEXT, "media_type": _TEXT, "text": _nullable(_TEXT)}),
            is_read_only=True,
            is_idempotent=True,
        ),
    )


_SNAPSHOT_ID: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 64}

_SNAPSHOTS: Final = (
    Tool(
        "snapshot",
        "Save the state",
        "Saves the whole state of an instance. restore goes back to it, any number of times.",
        _arguments({"instance_id": INSTANCE}),
        _object({"instance_id": _TEXT, "snapshot_id": _TEXT}),
    ),
    Tool(
        "restore",
        "Go back to a saved state",
        "Goes back to a state that snapshot saved and returns the observation of that moment. What happened since is given up.",
        _arguments(
            {
                "instance_id": INSTANCE,
                "snapshot_id": {**_SNAPSHOT_ID, "description": "The snapshot, as snapshot returned it."},
                "frame": FRAME,
            },
            "snapshot_id",
        ),
        _object({**_EPISODE, "steps_left": _STEPS_LEFT}),
        is_destructive=True,
        is_idempotent=True,
    ),
)
_CLOSE: Final = Tool(
    "close",
    "Close an environment",
    "Ends an instance and frees what it takes. Instances that are still open at the end of the session are closed then.",
    _arguments({"instance_id": INSTANCE}),
    _object({"instance_id": _TEXT}),
    is_destructive=True,
    is_idempotent=True,
)
