"""Counting of requests that connexion serves, by wrapping `receive` and `send`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ...runtime.shared.traffic import NONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...runtime.shared.traffic import Traffic
    from ..asgi import Message, Receive, Send


class Counting:
    """Counts one request; its `receive` and `send` replace the given ones.

    Args:
        traffic: returns the counters, when the reply has ended.
        receive: the ASGI receive function.
        send: the ASGI send function.
        operation_id: the operation, as far as it is known.
        has_content: whether bodies are sent; they are not in replies to HEAD.

    Attributes:
        operation_id: the operation; may be set later.
    """

    def __init__(
        self,
        traffic: Callable[[], Traffic],
        receive: Receive,
        send: Send,
        operation_id: str = NONE,
        *,
        has_content: bool = True,
    ) -> None:
        self.operation_id = operation_id
        self._traffic = traffic
        self._receive = receive
        self._send = send
        self._has_content = has_content
        self._began = time.perf_counter()
        self._status = self._received = self._sent = 0

    async def receive(self) -> Message:
        """Receive a message."""
        message = await self._receive()
        if message["type"] == "http.request" and (body := message.get("body")):
            self._received += len(body)
            # The time is measured from the last byte of the request.
            self._began = time.perf_counter()
        return message

    async def send(self, message: Message) -> None:
        """Send a message; count the request after the last one."""
        self._status = message.get("status", self._status)
        if self._has_content:
            self._sent += len(message.get("body", b""))
        if message["type"] == "http.response.body" and not message.get("more_body"):
            seconds = time.perf_counter() - self._began
            self._traffic().count(self.operation_id, self._status, seconds, self._received, self._sent)
        await self._send(message)
