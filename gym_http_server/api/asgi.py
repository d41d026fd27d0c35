"""ASGI's types, names of extensions of a scope, and replaying of messages. Imports nothing: every module here needs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

REPLY = "gym_http_server.reply"
"""ASGI extension of `http1/protocol.py`: `reply(media_type, body)` sends a whole response with status 200 in one call, or returns
False and sends nothing."""

ERROR = "gym_http_server.error"
"""ASGI extension of `http1/protocol.py`: the error to answer this request with, because it was executed elsewhere."""

ABANDON = "gym_http_server.abandon"
"""ASGI extension of `http1/protocol.py`: a function that ends the current request, because the server stops."""

CONTEXT = "connexion_context"
"""The ASGI extension from which connexion takes further arguments of a handler, by name."""

HOT: Final = "gym_http_server.hot"
"""Key in the scope of a hot operation's request that fell through to connexion."""


def without_reply(scope: Scope) -> Scope:
    """Return a scope without `REPLY`, which would bypass a middleware that wraps `send`."""
    extensions = {name: value for name, value in scope.get("extensions", {}).items() if name != REPLY}
    return {**scope, "extensions": extensions}


def whole_body(body: bytes) -> Message:
    """Return the message that has a whole body."""
    return {"type": "http.request", "body": body, "more_body": False}


def replay(messages: Iterable[Message], receive: Receive) -> Receive:
    """Return a `receive` that repeats messages before it receives further ones."""
    repeated = iter(messages)

    async def receive_again() -> Message:
        return next(repeated, None) or await receive()

    return receive_again
