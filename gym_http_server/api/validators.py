"""connexion's validators of bodies, with our own strict readers."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, ClassVar, Final

from jsonschema.exceptions import best_match

from ..runtime.messages import JSON, MSGPACK
from .connexion_parts import BadRequestProblem, JSONRequestBodyValidator, format_error_with_path
from .content.bodies import LARGE, READERS, parse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from .normalizer import Message, Receive, Scope

VALUE: Final = "gym_http_server.value"
"""Where in a scope the value of its body is, once that is read: connexion itself would read it again, on the event loop."""

_MOST_ERRORS: Final = 10
"""Of how many errors of a small body the one is chosen that is told."""


class StrictJsonValidator(JSONRequestBodyValidator):  # type: ignore[misc]  # connexion has no types
    """connexion's validator of JSON bodies, with `parse` as its reader.

    Attributes:
        media_type: of the bodies.
        max_values: how many values one may hold.
    """

    media_type: ClassVar[str] = JSON
    max_values: ClassVar[int]
    _is_large = False

    async def wrap_receive(self, receive: Receive, *, scope: Scope) -> tuple[Receive, Scope]:
        """Read and validate the body, and leave its value in the scope."""
        self._is_checked = False
        receive, scope = await super().wrap_receive(receive, scope=scope)
        if not self._is_checked:  # there is no body, and perhaps a default
            return receive, scope
        return _instead(b"null" if self._value is None else b"0", receive), {**scope, VALUE: self._value}

    async def _parse(self, stream: AsyncGenerator[bytes, None], scope: Scope) -> Any:  # noqa: ARG002 -- connexion's signature
        # Without the empty ones: of a single part no copy is made.
        body = b"".join([part async for part in stream if part])
        if not body:
            return None
        if len(body) <= LARGE:
            self._parse_and_validate(body)
        else:
            await asyncio.get_running_loop().run_in_executor(READERS, self._parse_and_validate, body)
        return self._value

    def _parse_and_validate(self, body: bytes) -> None:
        self._value = parse(self.media_type, body, self.max_values)
        self._is_large = len(body) > LARGE
        # An error tells all of the value that it is about.
        shown = in_short(self._value) if self._is_large else self._value
        self._validate(shown)
        self._is_checked = True

    def _validate(self, body: Any) -> None:
        if self._is_checked:
            return
        if body is None:
            # Without a type a schema takes null too (OpenAPI 3.0.3, Schema Object, `nullable`); connexion refuses it.
            if "type" in self._schema and not self._nullable:
                raise BadRequestProblem("Request body must not be empty")
            return
        # In a large body the search for further errors would take long.
        most = 1 if self._is_large else _MOST_ERRORS
        error = best_match(itertools.islice(self._validator.iter_errors(body), most))
        if error is not None:
            raise BadRequestProblem(detail=f"{error.message}{format_error_with_path(exception=error)}")


class MsgpackValidator(StrictJsonValidator):
    """The same for MessagePack, against the same schema: an array is a value of any schema that says nothing of type."""

    media_type = MSGPACK


def body_validators(max_values: int) -> Mapping[str, type[StrictJsonValidator]]:
    """Return the validators of bodies that hold so many values, by their media types."""
    return {
        each.media_type: type(each.__name__, (each,), {"max_values": max_values})
        for each in (StrictJsonValidator, MsgpackValidator)
    }


def in_short(value: Any) -> Any:
    """Return an equal value, whose long texts, lists and objects write only their beginnings."""
    if isinstance(value, str | bytes):
        return value if len(value) <= _LONG_TEXT else (_Text if isinstance(value, str) else _Bytes)(value)  # type: ignore[arg-type]
    if isinstance(value, list):
        items = [in_short(each) for each in value]
        return items if len(items) <= _LONG_LIST else _List(items)
    if isinstance(value, dict):
        members = {key: in_short(each) for key, each in value.items()}
        return members if len(members) <= _LONG_LIST else _Dict(members)
    return value


_LONG_TEXT: Final = 200
_LONG_LIST: Final = 20


class _Text(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return f"{self[:_LONG_TEXT]!r}… ({len(self)} characters)"


class _Bytes(bytes):
    def __repr__(self) -> str:
        return f"{self[:_LONG_TEXT]!r}… ({len(self)} bytes)"


class _List(list[Any]):
    def __repr__(self) -> str:
        return f"[{', '.join(map(repr, self[:_LONG_LIST]))}, … ({len(self)} items)]"


class _Dict(dict[Any, Any]):
    def __repr__(self) -> str:
        shown = ", ".join(f"{key[:_LONG_TEXT]!r}: {self[key]!r}" for key in itertools.islice(self, _LONG_LIST))
        return f"{{{shown}, … ({len(self)} members)}}"


def _instead(body: bytes, receive: Receive) -> Receive:
    is_sent = False

    async def receive_instead() -> Message:
        nonlocal is_sent
        if is_sent:
            return await receive()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_instead
