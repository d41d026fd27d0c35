"""Plain values exchanged between the server and an environment: `CreateRequest`, `Interpreter`, `Description`, `Reply`."""

from __future__ import annotations

from collections.abc import Callable, Mapping  # noqa: TC003 -- fields() wants the annotations
from dataclasses import asdict, dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from ..errors import ReplyTooLargeError

JSON = "application/json"
MSGPACK = "application/msgpack"

WRAPPER_NAMES: Final = (
    "AddRenderObservation",
    "AddWhiteNoise",
    "AtariPreprocessing",
    "ClipAction",
    "ClipReward",
    "DelayObservation",
    "DiscretizeAction",
    "DiscretizeObservation",
    "DtypeObservation",
    "FilterObservation",
    "FlattenObservation",
    "FrameStackObservation",
    "GrayscaleObservation",
    "MaxAndSkipObservation",
    "NormalizeObservation",
    "NormalizeReward",
    "ObstructView",
    "RecordEpisodeStatistics",
    "RepeatAction",
    "RescaleAction",
    "RescaleObservation",
    "ReshapeObservation",
    "ResizeObservation",
    "StickyAction",
    "TimeAwareObservation",
    "TimeLimit",
)
"""The wrappers of `making.wrappers`, for those who do not import the library; a test compares them."""

JSON_INFINITY: Final = 1e100
"""Stands for infinity, which JSON lacks."""

OWN_IDS: Final = MappingProxyType(
    {
        "envpool": "envpool",
        "pettingzoo": "pettingzoo",
        "safety-gymnasium": "safety_gymnasium",
        "stable-retro": "stable_retro",
    }
)
"""Libraries with ids of their own, which are asked for by name, and the module of each."""

LIBRARIES: Final = ("gymnasium", "gym", *OWN_IDS)
"""Libraries that make environments, in the order of lists."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python other than the server's, in which environments run as guests.

    Attributes:
        name: the name by which clients choose it.
        command: program and arguments that start it; `("self",)` for the server's own Python.
        imports: modules that it imports first, `module` or `module:callable`.
        may_fork: one process imports them, and is forked for each environment.
    """

    name: str
    command: tuple[str, ...]
    imports: tuple[str, ...] = ()
    may_fork: bool = False

    def to_wire(self) -> dict[str, Any]:
        """Return the form sent to another process."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_wire(cls, message: dict[str, Any]) -> Interpreter:
        """Return the interpreter that `to_wire` was called on."""
        return cls(message["name"], tuple(message["command"]), tuple(message["imports"]), message["may_fork"])


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """Request to make an environment or a batch.

    Attributes:
        env_id: the id to make, as the client wrote it.
        seed: seed of the first reset and of the action space; None for fresh entropy. A string of decimal digits if it does
            not fit in 64 bits.
        kwargs: keyword arguments for the environment's constructor; plain JSON values.
        max_episode_steps: steps after which an episode is truncated; None for the registered number.
        render_mode: render mode to make it with; None for `rgb_array` (else `ansi`) where the environment has it.
        library: `auto`, or one of `LIBRARIES`.
        strict_env_ids: refuse a retired id instead of serving its successor.
        imports: what the server was started with (`--import`).
        num_envs: number of lanes of a batch; None for a single environment.
        vectorization_mode: how a batch is made: `auto`, `sync`, `async` or `vector_entry_point`.
        autoreset_mode: `next_step`, `same_step` or `disabled`; None for the default of the vectorization mode.
        wrappers: `name` and `kwargs` of each wrapper, the innermost first; plain JSON values.
        autoreset: the step after the end of an episode resets a single environment.
        call_timeout: time limit of a call in seconds, which a rollout keeps by itself; None for none.
        interpreter: the Python to make it in; None for the server's own.
        action_check: what an action has to be, one of `values.action_check.ACTION_CHECKS`.
        key_digest: SHA-256 of the instance's own key, in a shard of a cluster; empty elsewhere.
    """

    env_id: str
    seed: int | str | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    max_episode_steps: int | None = None
    render_mode: str | None = None
    library: str = "auto"
    strict_env_ids: bool = False
    imports: tuple[str, ...] = ()
    num_envs: int | None = None
    vectorization_mode: str = "auto"
    autoreset_mode: str | None = None
    wrappers: list[dict[str, Any]] = field(default_factory=list)
    autoreset: bool = False
    call_timeout: float | None = None
    interpreter: Interpreter | None = None
    action_check: str = "lenient"
    key_digest: str = ""

    @property
    def modules(self) -> set[str]:
        """The modules of `imports`."""
        return {name.partition(":")[0] for name in self.imports}

    def to_wire(self) -> dict[str, Any]:
        """Return the form sent to an environment's process."""
        # Not `asdict`: it copies every value.
        message = {each.name: getattr(self, each.name) for each in fields(self)}
        if self.interpreter is not None:
            message["interpreter"] = self.interpreter.to_wire()
        return message

    @classmethod
    def from_wire(cls, message: dict[str, Any]) -> CreateRequest:
        """Return the request that `to_wire` was called on."""
        interpreter = message["interpreter"]
        return cls(
            **{
                **message,
                "imports": tuple(message["imports"]),
                "interpreter": None if interpreter is None else Interpreter.from_wire(interpreter),
            }
        )


@dataclass(frozen=True, slots=True)
class Description:
    """Description of a new environment or batch.

    Attributes:
        env_id: the id that is served, which differs from a retired id in the request.
        library: library and version, such as `gymnasium 1.4.0`.
        render_mode: its render mode, or None.
        action_space: descriptor of the action space (see `spaces.describe`).
        observation_space: descriptor of the observation space.
        notice: a warning for the client, such as that the id is retired; or None.
        num_envs: number of lanes of a batch, whose spaces above are those of one lane; None for a single environment.
        vectorization_mode: of a batch; None for a single environment.
        autoreset_mode: of a batch; `next_step` for a single environment with `autoreset`, else None.
        wrappers: the wrappers of the request.
        declared: what the environment declares (see `making.declared`).
        interpreter: name of the interpreter that it is made in; None for the server's own Python.
        action_check: what an action has to be, as in the request.
    """

    env_id: str
    library: str
    render_mode: str | None
    action_space: dict[str, Any]
    observation_space: dict[str, Any]
    notice: str | None = None
    num_envs: int | None = None
    vectorization_mode: str | None = None
    autoreset_mode: str | None = None
    wrappers: list[dict[str, Any]] = field(default_factory=list)
    declared: dict[str, Any] = field(default_factory=dict)
    interpreter: str | None = None
    action_check: str = "lenient"

    def to_wire(self) -> dict[str, Any]:
        """Return the form sent to the server."""
        return asdict(self)

    @classmethod
    def from_wire(cls, message: dict[str, Any]) -> Description:
        """Return the description that `to_wire` was called on.

        Raises:
            ValueError: the message has another form.
        """
        try:
            description = cls(**message)
        except TypeError as error:
            raise ValueError(str(error)) from None
        for each in fields(cls):
            is_right = FIELD_CHECKS.get(each.type)
            if is_right is not None and not is_right(getattr(description, each.name)):
                raise ValueError(f"{each.name} is no {each.type}")
        if not all(map(is_descriptor, (description.action_space, description.observation_space))):
            raise ValueError("a space has no name")
        return description


def is_descriptor(space: Any) -> bool:
    """Return whether a value may be the descriptor of a space: no more is relied on in the server."""
    return isinstance(space, dict) and isinstance(space.get("name"), str)


FIELD_CHECKS: Final[dict[Any, Callable[[Any], bool]]] = {
    "str": lambda value: isinstance(value, str),
    "str | None": lambda value: value is None or isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "int | None": lambda value: value is None or type(value) is int,
    "float | None": lambda value: value is None or type(value) in (int, float),
    "dict[str, Any]": lambda value: isinstance(value, dict),
    "dict[str, Any] | None": lambda value: value is None or isinstance(value, dict),
    "list[dict[str, Any]]": lambda value: isinstance(value, list) and all(isinstance(each, dict) for each in value),
}
"""Checks of the types of `Description`'s fields, by annotation."""


class Reply(NamedTuple):
    """A successful reply, encoded; that of an environment is sent to the client unchanged.

    Attributes:
        body: its bytes.
        media_type: its media type.
        headers: further headers of HTTP; an environment gives none.
    """

    body: bytes
    media_type: str = JSON
    headers: Mapping[str, str] = MappingProxyType({})

    def within(self, limit: int) -> Reply:
        """Return this reply.

        Raises:
            ReplyTooLargeError: its body has more than `limit` bytes.
        """
        if len(self.body) > limit:
            raise ReplyTooLargeError.of(len(self.body), limit)
        return self
