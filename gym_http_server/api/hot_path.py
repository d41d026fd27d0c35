"""The hot path: requests of a training loop, plain and valid, answered without connexion's stack.

Only a request that is not yet executed falls through to that stack, with its body replayed. Once the handler was called,
its reply or its error, rendered by the same function as everywhere, is the answer.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from .compression import HOT
from .edge import send_problem
from .hot_operations import HotOperation, HotOperations, NotPlainError
from .problems import problem_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .edge import App, Message, Receive, Scope, Send
    from .handlers import Handler

with warnings.catch_warnings():
    # See problems.py.
    warnings.simplefilter("ignore")
    from connexion.middleware.abstract import SpecMiddleware


class HotPath(SpecMiddleware):  # type: ignore[misc]  # connexion has no types
    """An ASGI middleware that serves the operations that the contract marks; connexion hands it the contract.

    Args:
        app: what all other requests fall through to.
        handlers: the handler of every operation, by operationId.
        max_body: the largest body, in bytes.
    """

    def __init__(self, app: App, handlers: Mapping[str, Handler], max_body: int) -> None:
        self._app = app
        self._handlers = handlers
        self._max_body = max_body
        self._operations = HotOperations({}, handlers)

    def add_api(self, specification: Mapping[str, Any], **_: Any) -> None:
        """Compile the contract's marked operations."""
        self._operations = HotOperations(specification["paths"], self._handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or let it fall through."""
        found = self._operations.find(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        operation, parameters = found
        arguments: dict[str, Any] = {**parameters}
        received: list[Message] = []
        try:
            accept, value = await self._read(operation, scope, receive, received)
        except NotPlainError:
            await self._app({**scope, HOT: True}, _replay(received, receive), send)
            return
        if operation.takes_accept:
            arguments["accept"] = accept
        if operation.takes_body:
            arguments["body"] = value
        try:
            response = await operation.handler(**arguments)
        except Exception as error:  # noqa: BLE001 -- every error becomes a problem
            await send_problem(problem_of(error), send)
            return
        headers = [
            (b"content-type", response.media_type.encode("latin-1")),
            (b"content-length", b"%d" % len(response.body)),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    async def _read(
        self, operation: HotOperation, scope: Scope, receive: Receive, received: list[Message]
    ) -> tuple[str | None, Any]:
        """Return the Accept header and the body's value; every message that was received is in `received`.

        Raises:
            NotPlainError: the request is to fall through.
        """
        accept: str | None = None
        content_type: bytes | None = None
        for name, value in scope["headers"]:
            if name == b"accept":
                accept = value.decode("latin-1") if accept is None else accept
            elif name == b"content-type":
                content_type = value
            elif not operation.takes_body and name in (b"content-length", b"transfer-encoding"):
                raise NotPlainError
        if not operation.takes_body:
            return accept, None
        body, more = b"", True
        while more:
            message = await receive()
            received.append(message)
            if message["type"] != "http.request":
                raise NotPlainError
            part = message.get("body", b"")
            body = body + part if body else part
            if len(body) > self._max_body:
                raise NotPlainError
            more = message.get("more_body", False)
        return accept, operation.read(content_type, body)


def _replay(received: list[Message], receive: Receive) -> Receive:
    messages = iter(received)

    async def replay() -> Message:
        for message in messages:
            return message
        return await receive()

    return replay
