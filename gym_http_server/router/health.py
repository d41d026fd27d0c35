"""The health of a shard, which its router asks for each second.

A killed process is noticed by its connections. A machine that is lost, or a process that hangs, closes none: it is noticed because
it does not answer. However busy a shard is, it answers this request.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from ..errors import ShardUnreachableError
from .exchanges import ask

if TYPE_CHECKING:
    from collections.abc import Callable

    from .connections import ConnectionPool
    from .exchanges import WholeReply

PING_SECONDS: Final = 1.0
"""Time between two requests, and time limit of each."""

MAX_MISSED_PINGS: Final = 3
"""Requests without an answer after which a shard is taken for lost: 5 s at most after its last sign."""


async def watch(
    pool: ConnectionPool,
    key: bytes,
    on_answer: Callable[[ConnectionPool, WholeReply, float], None],
    on_loss: Callable[[ConnectionPool, str], None],
) -> None:
    """Ask a shard for its health until this is cancelled.

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
                reply = await ask(pool, "GET", b"/v1/health", key=key)
            missed = 0
            on_answer(pool, reply, began)
        except TimeoutError:
            missed += 1
            if missed == MAX_MISSED_PINGS:
                on_loss(pool, f"it has not answered for {MAX_MISSED_PINGS * PING_SECONDS:g} s")
        except ShardUnreachableError as error:
            on_loss(pool, error.facts["reason"])
        await asyncio.sleep(max(0.0, began + PING_SECONDS - loop.time()))
