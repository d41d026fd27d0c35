"""The request that is being served: its id, and the instance that it is for, for whatever is logged meanwhile."""

from __future__ import annotations

import contextvars
import re
import secrets
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .normalizer import Message, Scope, Send

HEADER: Final = b"x-request-id"
"""The header that a client, or a proxy before the server, names a request with; replies have it too."""

_PLAIN: Final = re.compile(rb"[!-~]{1,128}")
_OF_INSTANCE: Final = re.compile(r"/v1/envs/([0-9a-f]{8})(?:/|$)")


class Request:
    """A request while it is being served; made for each, so nothing is looked at before it is asked for.

    Attributes:
        scope: its ASGI scope, for its maker to set: an `__init__` would take as long as all else. None once the request
            is served. What was begun meanwhile, such as a reader of an environment's output, lives on in the request's
            context and is not about it any more.
    """

    __slots__ = ("_id", "scope")

    scope: Scope | None
    _id: str

    @property
    def request_id(self) -> str | None:
        """The id that the client gave it, or one of 16 hex digits; None once it is served."""
        if self.scope is None:
            return None
        if not hasattr(self, "_id"):
            self._id = sent_id(self.scope) or new_id()
        return self._id

    @property
    def instance_id(self) -> str | None:
        """The instance in its path; None where there is none, and once it is served."""
        return None if self.scope is None else instance_in(self.scope["path"])


CURRENT: Final[contextvars.ContextVar[Request | None]] = contextvars.ContextVar("request", default=None)
"""The request that is being served in this context."""


def current_id() -> str:
    """Return the id of the request that is being served, or a new one where there is none."""
    request = CURRENT.get()
    return (request.request_id if request is not None else None) or new_id()


def new_id() -> str:
    """Return an id that no other request has: 16 hex digits."""
    return secrets.token_hex(8)


def sent_id(scope: Scope) -> str | None:
    """Return the id that the client sent, where it is 1 to 128 visible ASCII characters."""
    for name, value in scope["headers"]:
        if name == HEADER and _PLAIN.fullmatch(value):
            return str(value, "ascii")
    return None


def instance_in(path: str) -> str | None:
    """Return the instance_id in a path, or None where there is none."""
    match = _OF_INSTANCE.match(path)
    return match[1] if match else None


def echoing(request_id: str, send: Send) -> Send:
    """Return a `send` that adds the request's id to the head of its reply, where it is not there yet."""

    async def send_with_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            if all(name != HEADER for name, _ in headers):
                message = {**message, "headers": [*headers, (HEADER, request_id.encode("ascii"))]}
        await send(message)

    return send_with_id
