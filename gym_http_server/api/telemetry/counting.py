"""Counting a request that goes through the whole stack, by what passes on its way in and out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ...runtime.shared.traffic import NONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...runtime.shared.traffic import Traffic
    from ..normalizer import Message, Receive, Send


class Counting:
    """One request; `receive` and `send` are to be used in place of those given.

    Args:
        traffic: tells where to count it, when its reply has ended.
        receive: ASGI's function of that name.
        send: likewise.
        operation_id: the operation that it is for, as far as that is known.
        has_content: whether the bodies that pass are sent; those of replies to HEAD are not.

    Attributes:
        operation_id: the operation; it can be told later.
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
            # What counts is the time from the last byte of the request.
            self._began = time.perf_counter()
        return message

    async def send(self, message: Message) -> None:
        """Send a message, and count the request where it is the last."""
        self._status = message.get("status", self._status)
        if self._has_content:
            self._sent += len(message.get("body", b""))
        if message["type"] == "http.response.body" and not message.get("more_body"):
            seconds = time.perf_counter() - self._began
            self._traffic().count(self.operation_id, self._status, seconds, self._received, self._sent)
        await self._send(message)
