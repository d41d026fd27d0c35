"""The hot path: answers plain and valid requests of a training loop without connexion.

A request falls through to connexion, with its body replayed, only before it is executed. Once the handler was called, its
reply or its error, rendered by `problem_of` like any other, is the answer.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from ..runtime.shared.receive_buffer import READ_SIZE
from .asgi import ERROR, HOT, REPLY, replay
from .call import NAME, Call, idempotency_key_of
from .content.bodies import READERS
from .hot_operations import NotPlainError
from .normalizer import send_problem
from .problems import problem_of
from .telemetry.counting import Counting

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..errors import GymHttpServerError
    from ..runtime.idempotency import IdempotencyKey
    from ..runtime.shared.traffic import Traffic
    from .asgi import App, Message, Receive, Scope, Send
    from .hot_operations import HotOperation, HotOperations

MAX_LOOP_BODY_BYTES = READ_SIZE
"""Maximum bytes of a body that is parsed on the event loop; a longer one is parsed in a thread. An environment's process, which
has no such threads, gives longer requests back first."""


class HotPath:
    """An ASGI app that serves the operations marked in the contract.

    Args:
        operations: the compiled operations.
        max_body: maximum size of a body in bytes.
        app: serves all other requests.
        traffic_of: returns the counters of an instance, by its instance_id.
        on_lost: called with instance_id, key and error when an instance was lost during a keyed request.
    """

    def __init__(
        self,
        operations: HotOperations,
        max_body: int,
        app: App,
        traffic_of: Callable[[str], Traffic],
        on_lost: Callable[[str, IdempotencyKey, GymHttpServerError], None] | None = None,
    ) -> None:
        self._operations = operations
        self._max_body = max_body
        self._app = app
        self._traffic_of = traffic_of
        self._on_lost = on_lost

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: C901, PLR0912, PLR0915 -- each call of a function would cost every step a microsecond
        """Answer the request, or pass it on."""
        found = self._operations.find(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        operation, arguments = found
        received: list[Message] = []
        body = b""
        try:
            accept, content_type, key = _headers(scope, operation, self._max_body)
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
                if len(body) > MAX_LOOP_BODY_BYTES:
                    loop = asyncio.get_running_loop()
                    arguments["body"] = await loop.run_in_executor(READERS, operation.read, content_type, body)
                else:
                    arguments["body"] = operation.read(content_type, body)
            elif operation.ignores_body:
                await self._pass_over(receive, received)
        except NotPlainError:
            await self._fall_through(found, scope, received, receive, send)
            return
        identity: IdempotencyKey | None = None
        if key is not None:
            sent = b"".join(each.get("body", b"") for each in received) if operation.ignores_body else body
            identity = await idempotency_key_of(key, operation.operation_id, sent)
        extensions = scope.get("extensions")
        traffic = self._traffic_of(arguments["instance_id"])
        began = time.perf_counter()
        try:
            if extensions and ERROR in extensions:
                if identity is not None and self._on_lost is not None:
                    self._on_lost(arguments["instance_id"], identity, extensions[ERROR])
                raise extensions[ERROR]  # noqa: TRY301 -- rendered as those of the handler are
            reply = await operation.handler(call=Call(accept, identity, scope), **arguments)
        except Exception as error:  # noqa: BLE001 -- every error becomes a problem
            problem = problem_of(error, scope)
            seconds = time.perf_counter() - began
            traffic.count(operation.operation_id, problem.status, seconds, len(body), len(problem.body))
            await send_problem(problem, send)
            return
        seconds = time.perf_counter() - began
        traffic.count(operation.operation_id, 200, seconds, len(body), len(reply.body))
        media_type = reply.media_type.encode("latin-1")
        if extensions and REPLY in extensions and extensions[REPLY](media_type, reply.body):
            return
        headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(reply.body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _fall_through(
        self,
        found: tuple[HotOperation, dict[str, Any]],
        scope: Scope,
        received: list[Message],
        receive: Receive,
        send: Send,
    ) -> None:
        """Pass a request on to the next app, and count its response."""
        operation, arguments = found
        instance_id = arguments["instance_id"]
        counting = Counting(
            lambda: self._traffic_of(instance_id), replay(received, receive), send, operation.operation_id
        )
        await self._app({**scope, HOT: True}, counting.receive, counting.send)

    async def _pass_over(self, receive: Receive, received: list[Message]) -> None:
        """Receive a body that the operation ignores.

        Raises:
            NotPlainError: the client disconnected, or the body is over the limit.
        """
        received.append(await receive())
        await self._read_on(receive, received)

    async def _read_on(self, receive: Receive, received: list[Message]) -> None:
        """Receive the remaining parts of a body.

        Raises:
            NotPlainError: the client disconnected, or the body is over the limit.
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


def _headers(scope: Scope, operation: HotOperation, max_body: int) -> tuple[str | None, bytes | None, str | None]:
    """Return Accept, Content-Type and Idempotency-Key.

    Raises:
        NotPlainError: an unexpected, compressed or too long body, a repeated Content-Type or key, or an invalid key.
    """
    accept: str | None = None
    content_type: bytes | None = None
    key: str | None = None
    takes_body = operation.takes_body or operation.ignores_body
    for name, value in scope["headers"]:
        if name == b"content-type":
            if content_type is not None:
                raise NotPlainError
            content_type = value
        elif name == b"accept":
            accept = value.decode("latin-1") if accept is None else f"{accept}, {value.decode('latin-1')}"
        elif name == b"content-length":
            if not takes_body or int(value) > max_body:  # the parser lets only digits pass
                raise NotPlainError
        elif name == b"content-encoding" or (not takes_body and name == b"transfer-encoding"):
            raise NotPlainError
        elif name == NAME and operation.key is not None:
            if key is not None or operation.key.fullmatch(value) is None:
                raise NotPlainError
            key = value.decode("latin-1")
    return accept, content_type, key
