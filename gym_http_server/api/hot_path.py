"""The hot path: requests of a training loop, plain and valid, answered without connexion's stack.

Only a request that is not yet executed falls through to that stack, with its body replayed. Once the handler was called,
its reply or its error, rendered by the same function as everywhere, is the answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .compression import HOT
from .edge import send_problem
from .hot_operations import NotPlainError
from .problems import problem_of

if TYPE_CHECKING:
    from .edge import App, Message, Receive, Scope, Send
    from .hot_operations import HotOperations

REPLY = "gym_http_server.reply"
"""An ASGI extension of our own HTTP protocol: a function of a media type and a body, which sends them with status 200 in
one go, or returns False and sends nothing."""

LARGE = 1 << 18
"""A body of more bytes is read in a thread, so that other requests need not wait for it."""


class HotPath:
    """An ASGI app that serves the operations that the contract marks.

    Args:
        operations: the compiled operations.
        max_body: the largest body, in bytes.
        app: what all other requests fall through to.
    """

    def __init__(self, operations: HotOperations, max_body: int, app: App) -> None:
        self._operations = operations
        self._max_body = max_body
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or let it fall through."""
        found = self._operations.find(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        operation, arguments = found
        received: list[Message] = []
        try:
            accept, content_type = _headers(scope, takes_body=operation.takes_body)
            if operation.takes_body:
                message = await receive()
                received.append(message)
                if message["type"] != "http.request" or message.get("more_body"):
                    await self._read_on(receive, received)
                    body = b"".join(each.get("body", b"") for each in received)
                else:
                    body = message["body"]
                if len(body) > self._max_body:
                    raise NotPlainError  # noqa: TRY301 -- one way to fall through
                if len(body) > LARGE:
                    arguments["body"] = await asyncio.to_thread(operation.read, content_type, body)
                else:
                    arguments["body"] = operation.read(content_type, body)
        except NotPlainError:
            await self._app({**scope, HOT: True}, _replay(received, receive), send)
            return
        if operation.takes_accept:
            arguments["accept"] = accept
        try:
            response = await operation.handler(**arguments)
        except Exception as error:  # noqa: BLE001 -- every error becomes a problem
            await send_problem(problem_of(error), send)
            return
        media_type = response.media_type.encode("latin-1")
        extensions = scope.get("extensions")
        if extensions and REPLY in extensions and extensions[REPLY](media_type, response.body):
            return
        headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(response.body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    async def _read_on(self, receive: Receive, received: list[Message]) -> None:
        """Receive the rest of a body that comes in parts.

        Raises:
            NotPlainError: the client went away, or the body is over the limit.
        """
        size = 0
        while True:
            message = received[-1]
            size += len(message.get("body", b""))
            if message["type"] != "http.request" or size > self._max_body:
                raise NotPlainError
            if not message.get("more_body"):
                return
            received.append(await receive())


def _headers(scope: Scope, *, takes_body: bool) -> tuple[str | None, bytes | None]:
    """Return Accept and Content-Type.

    Raises:
        NotPlainError: there is a body where none is taken, it is compressed, or there are two types.
    """
    accept: str | None = None
    content_type: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"content-type":
            if content_type is not None:
                raise NotPlainError
            content_type = value
        elif name == b"accept":
            accept = value.decode("latin-1") if accept is None else f"{accept}, {value.decode('latin-1')}"
        elif name == b"content-encoding" or (not takes_body and name in (b"content-length", b"transfer-encoding")):
            raise NotPlainError
    return accept, content_type


def _replay(received: list[Message], receive: Receive) -> Receive:
    messages = iter(received)

    async def replay() -> Message:
        for message in messages:
            return message
        return await receive()

    return replay
