"""What handlers take beside parameters and body: Accept, Idempotency-Key, Instance-Hold, client. What they return: encoded replies.

Format of the key: draft-ietf-httpapi-idempotency-key-header; the value is compared verbatim, quoted or not.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..runtime.idempotency import ONCE, IdempotencyKey
from ..runtime.messages import JSON, Reply
from ..runtime.sharing.holds import HOLD
from ..runtime.values.encoding import json_bytes
from .content.bodies import LARGE_BODY_BYTES, READERS
from .content.headers import form_of, has_header, wants_html_only
from .refusals import client_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from .asgi import Scope

KEY_HEADER: Final = "Idempotency-Key"
HOLD_HEADER: Final = "Instance-Hold"
KEY_NAME: Final = KEY_HEADER.lower().encode()
LOOKUP_NAME: Final = b"idempotency-lookup"
"""The header with which the router of a cluster asks a shard whether it knows an Idempotency-Key."""
HOLD_NAME: Final = HOLD_HEADER.lower().encode()

_KNOWN: Final = frozenset(("type", "minLength", "maxLength", "pattern", "title", "description", "example"))


class Call(NamedTuple):
    """What every handler is told of its request.

    Attributes:
        accept: the Accept header; None without one.
        key: identity of the request, from its Idempotency-Key; None without one.
        scope: the ASGI scope; None in tests.
        hold: the token in its Instance-Hold; None without one.
    """

    accept: str | None = None
    key: IdempotencyKey | None = None
    scope: Scope | None = None
    hold: str | None = None

    @property
    def client(self) -> str | None:
        """The client's address; None if it is not known."""
        return client_of(self.scope)

    @property
    def is_lookup(self) -> bool:
        """Whether a router only asks what an earlier request with the same key was answered, and nothing is to be executed."""
        return self.scope is not None and has_header(self.scope, LOOKUP_NAME)

    def arguments(self, **arguments: Any) -> dict[str, Any]:
        """Return the arguments of an instance's call: those given, the media type of the reply, the key and the hold."""
        arguments.update(form_of(self.accept))
        if self.key is not None:
            arguments[ONCE] = self.key
        return arguments if self.hold is None else self.held(arguments)

    def held(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return arguments of an instance's call with the hold."""
        return arguments if self.hold is None else {**arguments, HOLD: self.hold}


class AcceptedReply(Reply):
    """The reply of an operation that goes on after it, with status 202."""


class StreamedReply(NamedTuple):
    """A successful reply that is made while it is sent.

    Attributes:
        parts: its parts. An error in one ends the connection, which tells the client that the reply is incomplete.
        media_type: its media type.
        headers: further headers of HTTP.
    """

    parts: AsyncIterator[bytes]
    media_type: str
    headers: Mapping[str, str]


def header_patterns(parameters: Iterable[Mapping[str, Any]]) -> dict[bytes, re.Pattern[bytes]]:
    """Return the patterns of the headers that an operation with these parameters takes, by name in lower case.

    Raises:
        ValueError: there is another header parameter, or a schema has an unknown keyword.
    """
    patterns = {}
    for parameter in parameters:
        if parameter["in"] != "header":
            continue
        schema = parameter["schema"]
        is_known = parameter["name"] in (KEY_HEADER, HOLD_HEADER) and not schema.keys() - _KNOWN
        if not is_known or schema["type"] != "string":
            names = f"{KEY_HEADER} or {HOLD_HEADER}"
            raise ValueError(f"the parameter {parameter['name']!r} of a hot operation is not a plain {names}")
        size = f"(?=.{{{schema.get('minLength', 0)},{schema.get('maxLength', 1 << 16)}}}$)"
        patterns[parameter["name"].lower().encode()] = re.compile(f"{size}{schema.get('pattern', '')}".encode())
    return patterns


async def idempotency_key_of(key: str, operation_id: str, body: bytes) -> IdempotencyKey:
    """Return the identity of a keyed request; the digest of a large body is computed in a thread."""
    if len(body) <= LARGE_BODY_BYTES:
        return IdempotencyKey.of(key, operation_id, body)
    return await asyncio.get_running_loop().run_in_executor(READERS, IdempotencyKey.of, key, operation_id, body)


def json_reply(value: Any, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a value as JSON."""
    return Reply(json_bytes(value), JSON, headers or {})


def void_reply(accept: str | None) -> Reply:
    """Return an empty result: `{}`, with type HTML for a client that accepts nothing else."""
    return Reply(b"{}", "text/html; charset=utf-8" if wants_html_only(accept) else JSON)
