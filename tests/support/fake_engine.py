"""An engine whose environments take no time and do nothing, for tests of what is above it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

from gym_http_server.engines.base import Engine, Worker
from gym_http_server.runtime.messages import CreateRequest, Description, Reply
from gym_http_server.runtime.shared.usage import Usage


class FakeWorker(Worker):
    def __init__(self) -> None:
        self.usage = Usage()
        self.description = Description("Fake-v0", "fake 1", None, {}, {})

    async def call(self, operation: str, arguments: Mapping[str, Any]) -> Reply:
        raise NotImplementedError

    async def close(self, *, at_once: bool = False) -> None:  # noqa: ARG002 -- the seam's signature
        self.loss = "it was closed"


class FakeEngine(Engine):
    """`making` are the ids of those that are being made, in their order, until `gate` is set."""

    name = "fake"
    REQUEST: ClassVar[CreateRequest] = CreateRequest("CartPole-v1")

    def __init__(self, *, is_open: bool = True) -> None:
        self.gate = asyncio.Semaphore(10_000 if is_open else 0)
        self.making: list[str] = []
        self.asked: list[Any] = []

    async def start(self) -> None:
        pass

    async def create(self, instance_id: str, request: CreateRequest, call_timeout: float) -> Worker:  # noqa: ARG002 -- the seam's signature
        self.making.append(instance_id)
        self.asked.append(request.seed)
        try:
            await self.gate.acquire()
        finally:
            self.making.remove(instance_id)
        return FakeWorker()

    async def stop(self) -> None:
        pass
