"""connexion's validators of request bodies, with the strict parsers of `content/bodies.py`."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, ClassVar, Final

from jsonschema.exceptions import best_match

from ...runtime.messages import JSON, MSGPACK
from ..asgi import replay, whole_body
from ..connexion_parts import BadRequestProblem, JSONRequestBodyValidator, format_error_with_path
from ..problems import HttpProblem
from .bodies import LARGE_BODY_BYTES, READERS, parse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from ..asgi import Receive, Scope

BODY_VALUE: Final = "gym_http_server.value"
"""Key in the scope: the parsed body. Otherwise connexion would parse it again, on the event loop."""

_MAX_ERRORS: Final = 10
"""Number of errors of a small body among which the best one is chosen for the reply."""

_ANSWERS_MALFORMED: Final = "x-answers-malformed"
"""Mark of a schema whose operation answers malformed JSON itself: its body is then the problem."""


class StrictJsonValidator(JSONRequestBodyValidator):  # type: ignore[misc]  # connexion has no types
    """connexion's validator of JSON bodies, with `parse` as its parser.

    Attributes:
        media_type: media type of the bodies.
        max_values: maximum number of values in a body.
    """

    media_type: ClassVar[str] = JSON
    max_values: ClassVar[int]
    _is_large = False

    async def wrap_receive(self, receive: Receive, *, scope: Scope) -> tuple[Receive, Scope]:
        """Read and validate the body, and leave its value in the scope."""
        self._is_checked = False
        receive, scope = await super().wrap_receive(receive, scope=scope)
        if not self._is_checked:  # no body, or a default
            return receive, scope
        body = whole_body(b"null" if self._value is None else b"0")
        return replay([body], receive), {**scope, BODY_VALUE: self._value}

    async def _parse(self, stream: AsyncGenerator[bytes, None], scope: Scope) -> Any:  # noqa: ARG002 -- connexion's signature
        # Without empty parts: joining a single part makes no copy.
        body = b"".join([part async for part in stream if part])
        if not body:
            return None
        if len(body) <= LARGE_BODY_BYTES:
            self._parse_and_validate(body)
        else:
            await asyncio.get_running_loop().run_in_executor(READERS, self._parse_and_validate, body)
        return self._value

    def _parse_and_validate(self, body: bytes) -> None:
        try:
            self._value = parse(self.media_type, body, self.max_values)
        except HttpProblem as problem:
            if problem.status != 400 or not self._schema.get(_ANSWERS_MALFORMED):
                raise
            self._value = problem
        self._is_large = len(body) > LARGE_BODY_BYTES
        # The text of an error has the whole value.
        shown = in_short(self._value) if self._is_large else self._value
        self._validate(shown)
        self._is_checked = True

    def _validate(self, body: Any) -> None:
        if self._is_checked:
            return
        if body is None:
            # A schema without a type allows null (OpenAPI 3.0.3, Schema Object, `nullable`); connexion refuses it.
            if "type" in self._schema and not self._nullable:
                raise BadRequestProblem("Request body must not be empty")
            return
        # In a large body, searching for further errors takes long.
        most = 1 if self._is_large else _MAX_ERRORS
        error = best_match(itertools.islice(self._validator.iter_errors(body), most))
        if error is not None:
            raise BadRequestProblem(detail=f"{error.message}{format_error_with_path(exception=error)}")


class MsgpackValidator(StrictJsonValidator):
    """The same for MessagePack and the same schema; an array is valid for any schema without a type."""

    media_type = MSGPACK


def body_validators(max_values: int) -> Mapping[str, type[StrictJsonValidator]]:
    """Return the validators by media type, for bodies of at most `max_values` values."""
    return {
        each.media_type: type(each.__name__, (each,), {"max_values": max_values})
        for each in (StrictJsonValidator, MsgpackValidator)
    }


def in_short(value: Any) -> Any:
    """Return an equal value whose long texts, lists and objects have a shortened `repr`."""
    if isinstance(value, str | bytes):
        return value if len(value) <= _MAX_TEXT_CHARS else (_Text if isinstance(value, str) else _Bytes)(value)  # type: ignore[arg-type]
    if isinstance(value, list):
        items = [in_short(each) for each in value]
        return items if len(items) <= _MAX_ITEMS else _List(items)
    if isinstance(value, dict):
        members = {key: in_short(each) for key, each in value.items()}
        return members if len(members) <= _MAX_ITEMS else _Dict(members)
    return value


_MAX_TEXT_CHARS: Final = 200
_MAX_ITEMS: Final = 20


class _Text(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return f"{self[:_MAX_TEXT_CHARS]!r}… ({len(self)} characters)"


class _Bytes(bytes):
    def __repr__(self) -> str:
        return f"{self[:_MAX_TEXT_CHARS]!r}… ({len(self)} bytes)"


class _List(list[Any]):
    def __repr__(self) -> str:
        return f"[{', '.join(map(repr, self[:_MAX_ITEMS]))}, … ({len(self)} items)]"


class _Dict(dict[Any, Any]):
    def __repr__(self) -> str:
        shown = ", ".join(f"{key[:_MAX_TEXT_CHARS]!r}: {self[key]!r}" for key in itertools.islice(self, _MAX_ITEMS))
        return f"{{{shown}, … ({len(self)} members)}}"
