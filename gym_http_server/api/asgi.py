"""ASGI's types, what the HTTP protocol offers beyond ASGI, and replaying of messages. Every module here needs it."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    import asyncio

    from ..errors import GymHttpServerError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CONTEXT: Final = "connexion_context"
"""The ASGI extension from which connexion takes further arguments of a handler, by name."""

LINK: Final = "gym_http_server"
"""The ASGI extension with a `ProtocolLink`."""


class Stay(NamedTuple):
    """The time of a WebSocket in an environment's process.

    Attributes:
        note: what the process tells of the session; empty if it tells nothing.
        is_over: whether the session has ended.
        idle_since: since when nothing is asked, in seconds of the monotonic clock.
    """

    note: bytes
    is_over: bool
    idle_since: float


class MessageSocket(Protocol):
    """A WebSocket (`http1/websocket.py`).

    Attributes:
        received_bytes: size of all messages received.
        sent_bytes: size of all messages sent.
        is_serving: whether a message is being served; set by the app.
        is_ending: whether the server stops.
    """

    received_bytes: int
    sent_bytes: int
    is_serving: bool
    is_ending: bool

    @property
    def is_closed(self) -> bool:
        """Whether a close was sent or received, or the connection is lost."""

    @property
    def is_clean(self) -> bool:
        """Whether it was closed on purpose."""

    @property
    def unread(self) -> list[bytes]:
        """Texts that came before its end and were not received."""

    async def receive(self) -> bytes | None:
        """Return the next text in UTF-8; None if there is none any more."""

    async def send(self, message: bytes) -> None:
        """Send a text in UTF-8."""

    async def lend(self, instance_id: str, told: Callable[[], Mapping[str, Any]]) -> Stay | None:
        """Have the process of an instance serve the messages, until one comes that it does not serve, or none for a while.

        Args:
            instance_id: the instance.
            told: returns what the process has to know of the session, as plain values.

        Returns:
            What has become of the session; None at once if that does not pay or is not possible.

        Raises:
            GymHttpServerError: the environment was lost during a message.
        """

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it."""

    async def probe(self, seconds: float) -> bool:
        """Ping the client, and cut the connection if nothing is heard within `seconds`; return whether it goes on."""

    def leave(self, last: bytes) -> None:
        """End the connection without a close, behind these bytes."""


class SwitchedConnection(Protocol):
    """A connection whose request was answered with 101, for an app that speaks the other protocol itself.

    Attributes:
        transport: the connection.
        received: what was received behind the request.
    """

    transport: asyncio.Transport
    received: bytes

    def begin(self, protocol: asyncio.Protocol) -> None:
        """Let a protocol take the connection over; it has `shutdown`, which is called when the server stops."""

    def end(self, exc: Exception | None) -> None:
        """Release the connection, which is lost."""


class BinaryMessageError(Exception):
    """A message is binary where a text is expected."""


@dataclasses.dataclass(frozen=True, slots=True)
class ProtocolLink:
    """What this server's protocol (`http1/protocol.py`) and its apps tell each other beyond ASGI.

    Attributes:
        reply: `reply(media_type, body)` sends a whole response with status 200 in one call, or returns False and sends nothing;
            None behind a middleware that wraps `send`.
        abandon: ends the current request, because the server stops; None in another server.
        error: the error to answer this request with, because it was executed elsewhere; None to execute it.
        is_declined: the hot path has declined this request of one of its operations, and counts it.
        upgrade: makes the connection of this request a WebSocket, which ends the request; None where it asks for none. Raises
            `HttpProblem` for a malformed handshake.
        switch: the same for an app that passes the connection on: answers with 101 and these headers.
    """

    reply: Callable[[bytes, bytes], bool] | None = None
    abandon: Callable[[], None] | None = None
    error: GymHttpServerError | None = None
    is_declined: bool = False
    upgrade: Callable[[], MessageSocket] | None = None
    switch: Callable[[Iterable[tuple[bytes, bytes]]], SwitchedConnection] | None = None


_NONE: Final = ProtocolLink()


def link_of(scope: Scope) -> ProtocolLink:
    """Return the link of a request; an empty one in another server."""
    link: ProtocolLink = scope.get("extensions", {}).get(LINK, _NONE)
    return link


def with_link(scope: Scope, **changes: Any) -> Scope:
    """Return a scope whose link has other attributes."""
    link = dataclasses.replace(link_of(scope), **changes)
    return {**scope, "extensions": {**scope.get("extensions", {}), LINK: link}}


def whole_body(body: bytes) -> Message:
    """Return the message that has a whole body."""
    return {"type": "http.request", "body": body, "more_body": False}


def replay(messages: Iterable[Message], receive: Receive) -> Receive:
    """Return a `receive` that repeats messages before it receives further ones."""
    repeated = iter(messages)

    async def receive_again() -> Message:
        return next(repeated, None) or await receive()

    return receive_again
