"""A router's connections to a shard."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from gym_http_server.errors import ShardUnreachableError
from gym_http_server.router.connections import CONNECT_SECONDS, ConnectionPool
from gym_http_server.router.shards import Shard


async def test_a_shard_that_is_lost_ends_connections_that_are_being_made() -> None:
    """Who waits for one is told at once what was found out, not after the time-out of the connection."""
    with contextlib.ExitStack() as stack:
        # A listener whose queue is full answers no further connection, as a machine that is cut off.
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        pool = ConnectionPool(Shard("001", f"http://127.0.0.1:{listener.getsockname()[1]}", "a"))
        connecting = asyncio.ensure_future(pool.connect())
        await asyncio.sleep(0)
        async with asyncio.timeout(CONNECT_SECONDS / 2):
            pool.fail("it has not answered for 3 s")
            with pytest.raises(ShardUnreachableError, match="it has not answered for 3 s"):
                await connecting
