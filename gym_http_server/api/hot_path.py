"""The hot path: answers plain and valid requests of a training loop without connexion.

A request falls through to connexion, with its body replayed, only before it is executed. Once the instance was called, its
reply or its error, rendered by `problem_of` like any other, is the answer.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from .asgi import LINK, replay, with_link
from .call import idempotency_key_of
from .content.bodies import MAX_LOOP_BODY_BYTES, READERS
from .hot_operations import HotRequest, NotPlainError
from .normalizer import send_problem
from .problems import problem_of
from .telemetry.counting import Counting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..instances.directory import Instances
    from ..runtime.messages import Reply
    from .asgi import App, Message, Receive, Scope, Send
    from .hot_operations import HotOperation, HotOperations


class HotPath:
    """An ASGI app that serves the operations marked in the contract.

    Args:
        operations: the compiled operations.
        execute: executes a call of an instance: call, instance_id and arguments.
        instances: the live instances, with the counters of requests.
        max_body: maximum size of a body in bytes.
        app: serves all other requests.
    """

    def __init__(
        self,
        operations: HotOperations,
        execute: Callable[[str, str, dict[str, Any]], Awaitable[Reply]],
        instances: Instances,
        max_body: int,
        app: App,
    ) -> None:
        self._operations = operations
        self._execute = execute
        self._instances = instances
        self._max_body = max_body
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        found = self._operations.find(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        operation, parameters = found
        received: list[Message] = []
        body = b""
        try:
            request = HotRequest(operation, parameters, scope["headers"], self._max_body)
            if operation.takes_body or operation.ignores_body:
                message = await receive()
                received.append(message)
                body = message.get("body", b"")
                if message["type"] != "http.request" or message.get("more_body") or len(body) > self._max_body:
                    body = await self._whole_body(received, receive)
            if len(body) > MAX_LOOP_BODY_BYTES:
                value = await asyncio.get_running_loop().run_in_executor(READERS, request.read, body)
            else:
                value = request.read(body)
        except NotPlainError:
            await self._fall_through(operation, parameters["instance_id"], scope, received, receive, send)
            return
        identity = None if request.key is None else await idempotency_key_of(request.key, operation.operation_id, body)
        # An ignored body counts for the key only.
        size = len(body) if operation.takes_body else 0
        instance_id = request.instance_id
        extensions = scope.get("extensions")
        link = None if extensions is None else extensions.get(LINK)
        traffic = self._instances.traffic(instance_id)
        began = time.perf_counter()
        try:
            if link is not None and link.error is not None:
                if identity is not None:
                    self._instances.note_loss(instance_id, identity, link.error)
                raise link.error  # noqa: TRY301 -- rendered as those of the instance are
            reply = await self._execute(operation.call, instance_id, request.arguments(value, identity, scope))
        except Exception as error:  # noqa: BLE001 -- every error becomes a problem
            problem = problem_of(error, scope)
            traffic.count(operation.operation_id, problem.status, time.perf_counter() - began, size, len(problem.body))
            await send_problem(problem, send)
            return
        traffic.count(operation.operation_id, 200, time.perf_counter() - began, size, len(reply.body))
        media_type = reply.media_type.encode("latin-1")
        if link is not None and link.reply is not None and link.reply(media_type, reply.body):
            return
        headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(reply.body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _whole_body(self, received: list[Message], receive: Receive) -> bytes:
        """Receive the remaining messages of a body; return all of it.

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
                return b"".join(each.get("body", b"") for each in received)
            received.append(await receive())

    async def _fall_through(
        self,
        operation: HotOperation,
        instance_id: str,
        scope: Scope,
        received: list[Message],
        receive: Receive,
        send: Send,
    ) -> None:
        """Pass a request on to the next app, and count its response."""
        counting = Counting(
            lambda: self._instances.traffic(instance_id), replay(received, receive), send, operation.operation_id
        )
        await self._app(with_link(scope, is_declined=True), counting.receive, counting.send)
