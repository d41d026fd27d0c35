"""How a router asks shards for their load: each second, and at once where a request waits for it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from ..agents.shard_status import PATH
from ..errors import ShardUnreachableError
from .exchanges import WholeReply, ask

if TYPE_CHECKING:
    from collections.abc import Callable

    from .connections import ConnectionPool

STATUS: Final = PATH.encode()

PING_SECONDS: Final = 1.0
"""Time between two requests, and time limit of each."""

MAX_MISSED_PINGS: Final = 3
"""Requests without an answer after which a shard is taken for lost: 5 s at most after its last sign."""

LOOK_SECONDS: Final = 0.25
"""Time limit for shards to tell their load to a request that waits for it."""


class Looks:
    """Looks at all shards at once, one look at a time for all who have asked meanwhile.

    Args:
        pools: returns the pools of the shards that answer.
        key: returns the key that they accept.
        on_answer: called with each answer, and when it was asked for, by the loop's clock.
    """

    def __init__(
        self,
        pools: Callable[[], list[ConnectionPool]],
        key: Callable[[], bytes],
        on_answer: Callable[[ConnectionPool, WholeReply, float], None],
    ) -> None:
        self._pools = pools
        self._key = key
        self._on_answer = on_answer
        self._latest: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def now(self) -> None:
        """Have each shard tell its load; those that do not answer at once keep what they told."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._look(self._latest))
        await asyncio.shield(self._next)

    async def _look(self, latest: asyncio.Task[None] | None) -> None:
        if latest is not None:
            await asyncio.wait([latest])
        self._latest, self._next = self._next, None
        tasks = [asyncio.ensure_future(self._look_at(pool)) for pool in self._pools()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=LOOK_SECONDS)
            for task in late:
                task.cancel()

    async def _look_at(self, pool: ConnectionPool) -> None:
        began = asyncio.get_running_loop().time()
        with contextlib.suppress(ShardUnreachableError):  # `watch` finds it, too
            self._on_answer(pool, await ask(pool, "GET", STATUS, key=self._key()), began)


async def watch(
    pool: ConnectionPool,
    key: bytes,
    on_answer: Callable[[ConnectionPool, WholeReply, float], None],
    on_loss: Callable[[ConnectionPool, str], None],
) -> None:
    """Ask a shard for its load each second, until this is cancelled.

    A killed process is noticed by its connections. A machine that is lost, or a process that hangs, closes none: it is noticed
    because it does not answer. However busy a shard is, it answers this request.

    Args:
        pool: the connections to the shard.
        key: the key that it accepts.
        on_answer: called with each answer, and when it was asked for, by the loop's clock.
        on_loss: called with the reason each time that it is found not to answer.
    """
    loop, missed = asyncio.get_running_loop(), 0
    while True:
        began = loop.time()
        try:
            async with asyncio.timeout(PING_SECONDS):
                reply = await ask(pool, "GET", STATUS, key=key)
            missed = 0
            on_answer(pool, reply, began)
        except TimeoutError:
            missed += 1
            if missed == MAX_MISSED_PINGS:
                on_loss(pool, f"it has not answered for {MAX_MISSED_PINGS * PING_SECONDS:g} s")
        except ShardUnreachableError as error:
            on_loss(pool, error.facts["reason"])
        await asyncio.sleep(max(0.0, began + PING_SECONDS - loop.time()))
