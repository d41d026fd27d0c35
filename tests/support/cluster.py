"""A router before real shards: ordinary servers, each in a process of its own."""

from __future__ import annotations

import contextlib
import json
from types import TracebackType
from typing import Any

from .serving import Server

KEY = "the-cluster's-own-key-of-a-test"


class TestCluster:
    """A router and its shards; `with TestCluster() as cluster` ends them all.

    Args:
        shards: number of shards.
        room: maximum number of instances of each.
        options: options of the router.
        shard_options: options of each shard.
    """

    __test__ = False

    def __init__(
        self, shards: int = 2, room: int = 256, options: tuple[str, ...] = (), shard_options: tuple[str, ...] = ()
    ) -> None:
        self.prefixes = [f"{number + 1:03x}" for number in range(shards)]
        self._room = room
        self._options = options
        self._shard_options = shard_options
        self._stack = contextlib.ExitStack()
        self.shards: dict[str, Server] = {}

    def __enter__(self) -> TestCluster:  # noqa: PYI034 -- no subclass
        for prefix in self.prefixes:
            options = ("--shard", prefix, "--api-key", KEY, "--max-envs", str(self._room), *self._shard_options)
            shard = self.shards[prefix] = self._stack.enter_context(Server(*options))
            shard.key = KEY
        self.router = self._stack.enter_context(self.start_router())
        return self

    def start_router(self, *options: str) -> Server:
        """Start a router."""
        listed = [(prefix, shard.url, self._room) for prefix, shard in self.shards.items()]
        environment = {"ROUTED_SHARDS": json.dumps(listed), "ROUTED_KEY": KEY}
        return Server(*self._options, *options, module="tests.support.routing", environment=environment)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> Any:
        return self._stack.__exit__(kind, value, traceback)
