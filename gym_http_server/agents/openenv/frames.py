"""Messages of OpenEnv's WebSocket: observations, made of the environment's encoded replies, and errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from ...errors import (
    CallTimeoutError,
    EnvironmentDiedError,
    GymHttpServerError,
    InstanceLostError,
    InvalidActionError,
    UnknownInstanceError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...api.problems import HttpProblem

ENDING: Final = (EnvironmentDiedError, CallTimeoutError, InstanceLostError, UnknownInstanceError)
"""Errors after which a session has no environment."""

OBSERVATION: Final = b'{"type":"observation",'
"""How a message with an observation begins."""

_HEAD: Final = b'{"observation":'


class OutOfSession(Exception):
    """Ends the connection after its error is told.

    Args:
        message: what is wrong.
        code: OpenEnv's code of it.
        facts: further members.
    """

    def __init__(self, message: str, code: str = "SESSION_ERROR", **facts: Any) -> None:
        super().__init__(message)
        self.frame = error_frame(code, message, **facts)


class InvalidMessage(Exception):
    """A message is not valid.

    Args:
        kind: the kind of error, as pydantic calls it.
        where: the path to the value.
        words: what is wrong.
        given: the value.
        facts: the bounds that do not hold.
    """

    def __init__(self, kind: str, where: tuple[str, ...], words: str, given: Any, **facts: Any) -> None:
        super().__init__(words)
        self.error = {"type": kind, "loc": where, "msg": words, "input": given, **({"ctx": facts} if facts else {})}


def split(body: bytes) -> tuple[bytes, dict[str, Any]]:
    """Return the encoded observation in a reply of resetEnv or stepEnv, and its other members.

    The observation is not read where it ends before the first `reward`, or in the reply of a reset before the first `info`: if it
    ended elsewhere, the brackets of the rest would not match.
    """
    end = body.find(b',"reward":')
    if end < 0:
        end = body.find(b',"info":')
    if end > 0 and body.startswith(_HEAD):
        try:
            return body[len(_HEAD) : end], orjson.loads(b"{" + body[end + 1 :])
        except ValueError:
            pass  # the name is one in the observation, or in the info of a reset
    told = orjson.loads(body)
    return orjson.dumps(told.pop("observation")), told


def observed(space: Mapping[str, Any], body: bytes, further: Mapping[str, Any] | None = None) -> tuple[bytes, Any]:
    """Return a reply of resetEnv or stepEnv in OpenEnv's form, as JSON, and the reward.

    Args:
        space: the description of the observation space.
        body: the reply.
        further: members of the metadata beside the observation.
    """
    observation, told = split(body)
    metadata = {name: told[name] for name in ("terminated", "truncated", "info") if name in told}
    inner = outer = orjson.dumps(metadata)
    if further:
        outer = orjson.dumps({**metadata, **further})
    if space["name"] == "Dict" and observation[:1] == b"{":
        # The Dict's own `metadata` has its place.
        members = observation[1:-1]
        if "metadata" not in space["keys"]:
            members = b'"metadata":%b%b%b' % (inner, b"," if members else b"", members)
    else:
        members = b'"metadata":%b,"observation":%b' % (inner, observation)
    reward = told.get("rewards", told.get("reward"))
    done = b"true" if told.get("done") else b"false"
    fields = members, orjson.dumps(reward), done, outer
    return b'{"observation":{%b},"reward":%b,"done":%b,"metadata":%b}' % fields, reward


def is_close(message: bytes) -> bool:
    """Return whether a client's message closes its session."""
    try:
        told = orjson.loads(message)
    except ValueError:
        return False
    return isinstance(told, dict) and told.get("type") == "close"


def observation_frame(data: bytes) -> bytes:
    """Return the message with an observation."""
    return b'%b"data":%b}' % (OBSERVATION, data)


def state_frame(state: Mapping[str, Any], instance_id: str) -> bytes:
    """Return the message with the state of an episode."""
    return frame("state", {**state, "instance_id": instance_id})


def frame(kind: str, data: Any) -> bytes:
    """Return a message."""
    return orjson.dumps({"type": kind, "data": data})


def error_frame(code: str, message: str, **facts: Any) -> bytes:
    """Return the message with an error."""
    return frame("error", {"message": message, "code": code, **facts})


def ended(error: GymHttpServerError) -> OutOfSession:
    """Return what ends the connection after one of the errors of `ENDING`."""
    return OutOfSession(f"{error.detail}. The session has ended; the next connection begins another")


def failure_frame(error: GymHttpServerError | HttpProblem | InvalidMessage, action: Any = None) -> bytes:
    """Return the message with the error of a call after which the session goes on."""
    if isinstance(error, InvalidActionError):
        error = InvalidMessage("value_error", ("action",), error.detail, action)
    if isinstance(error, InvalidMessage):
        return error_frame("VALIDATION_ERROR", f"Invalid message: {error}", errors=[error.error])
    return error_frame("EXECUTION_ERROR", error.detail)


def unread_frame(problem: HttpProblem) -> bytes:
    """Return the message with the error of a message that was not read."""
    if problem.slug == "integer-too-large":
        where = "a seed may be at most 2^64 - 1"
        return error_frame(
            "VALIDATION_ERROR", f"Invalid message: an integer does not fit in 64 bits; {where}", errors=[]
        )
    return error_frame("INVALID_JSON", f"Invalid JSON: {problem.detail.removeprefix('the body is not JSON: ')}")


def explained(space: Mapping[str, Any], data: Any, error: InvalidActionError) -> InvalidMessage:
    """Return what is wrong with an action that the environment has refused, as pydantic would tell it."""
    action = data
    if isinstance(data, dict) and space["name"] not in ("Dict", "Graph"):
        if "action" not in data:
            return InvalidMessage("missing", ("action",), "Field required", data)
        for name in data:
            if name not in ("action", "metadata"):
                return InvalidMessage("extra_forbidden", (name,), "Extra inputs are not permitted", data[name])
        action = data["action"]
    if space["name"] == "Discrete" and type(action) is int:
        least, most = space["start"], space["start"] + space["n"] - 1
        if action > most:
            return InvalidMessage("less_than_equal", ("action",), error.detail, action, le=most)
        return InvalidMessage("greater_than_equal", ("action",), error.detail, action, ge=least)
    return InvalidMessage("value_error", ("action",), error.detail, action)


def is_tool_use(data: Any, space: Mapping[str, Any]) -> bool:
    """Return whether a step is the use of a tool, or the question for them."""
    is_named = isinstance(data, dict) and data.get("type") in ("call_tool", "list_tools")
    return is_named and "type" not in space.get("keys", ())


def asks_for_frame(data: Mapping[str, Any], space: Mapping[str, Any]) -> bool:
    """Return whether a client asks for a frame: `{"metadata": {"render": true}}` beside the action."""
    metadata = data.get("metadata")
    return isinstance(metadata, dict) and metadata.get("render") is True and "metadata" not in space.get("keys", ())


def is_more_than_action(data: Mapping[str, Any], space: Mapping[str, Any]) -> bool:
    """Return whether a step takes more than one call of its environment, or none."""
    return is_tool_use(data, space) or asks_for_frame(data, space)
