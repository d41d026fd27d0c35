"""The current request: serves it; its id and instance, for log records."""

from __future__ import annotations

import asyncio
import contextvars
import re
import secrets
from typing import TYPE_CHECKING, Final

from .asgi import link_of

if TYPE_CHECKING:
    from .asgi import App, Message, Receive, Scope, Send

REQUEST_ID_HEADER: Final = b"x-request-id"
"""The header with the request's id, set by a client or proxy and returned in the reply."""

_PLAIN: Final = re.compile(rb"[!-~]{1,128}")
_OF_INSTANCE: Final = re.compile(r"/v1/envs/([0-9a-f]{8})(?:/|$)")


class RequestContext:
    """A request while it is served. Created for every request, so everything is computed on demand.

    Attributes:
        scope: the ASGI scope, set by the creator, because an `__init__` would cost as much as all else. None once the
            request is served: tasks that it started, such as a reader of an environment's output, keep its context.
    """

    __slots__ = ("_id", "scope")

    scope: Scope | None
    _id: str

    @property
    def request_id(self) -> str | None:
        """The id that the client sent, or a new one of 16 hex digits; None once the request is served."""
        if self.scope is None:
            return None
        if not hasattr(self, "_id"):
            self._id = sent_id(self.scope) or new_id()
        return self._id

    @property
    def instance_id(self) -> str | None:
        """The instance_id in the path; None without one, and once the request is served."""
        return None if self.scope is None else instance_in(self.scope["path"])


CURRENT: Final[contextvars.ContextVar[RequestContext | None]] = contextvars.ContextVar("request", default=None)
"""The request that is served in this context."""


async def serve_request(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve a request with `app`, as the current one.

    Raises:
        ValueError: it is none of HTTP.
    """
    if scope["type"] != "http":
        raise ValueError(f"{scope['type']} is not served: only HTTP is")
    request = RequestContext()
    request.scope = scope
    CURRENT.set(request)
    try:
        await app(scope, receive, send)
    except asyncio.CancelledError:
        # uvicorn cancels at the end of a shutdown; it would log this and answer without a reason.
        abandon = link_of(scope).abandon
        if abandon is None:
            raise
        abandon()
    finally:
        request.scope = None


def current_id() -> str:
    """Return the id of the current request, or a new id without one."""
    request = CURRENT.get()
    return (request.request_id if request is not None else None) or new_id()


def new_id() -> str:
    """Return a new random id of 16 hex digits."""
    return secrets.token_hex(8)


def sent_id(scope: Scope) -> str | None:
    """Return the id that the client sent if it is 1 to 128 visible ASCII characters, else None."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID_HEADER and _PLAIN.fullmatch(value):
            return str(value, "ascii")
    return None


def instance_in(path: str) -> str | None:
    """Return the instance_id in a path, or None."""
    match = _OF_INSTANCE.match(path)
    return match[1] if match else None


def echoing(request_id: str, send: Send) -> Send:
    """Return a `send` that adds the request's id to the head of the reply, unless present."""

    async def send_with_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            if all(name != REQUEST_ID_HEADER for name, _ in headers):
                message = {**message, "headers": [*headers, (REQUEST_ID_HEADER, request_id.encode("ascii"))]}
        await send(message)

    return send_with_id
