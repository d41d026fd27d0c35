"""`ShardStatus`: what a shard tells the routers of its cluster each second. It is no operation: the contract is for clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..api.asgi import App, Receive, Scope, Send

PATH: Final = "/shard/status"


class Load(NamedTuple):
    """What is on a server.

    Attributes:
        instances: number of live instances.
        making: number of instances that are being made.
        empty_sessions: number of sessions of agents that have none, and may make one here at any time.
        waiting: number of instances that wait for an OpenEnv client to come back.
    """

    instances: int
    making: int
    empty_sessions: int
    waiting: int

    @property
    def taken(self) -> int:
        """Number of places that are taken."""
        return self.instances + self.making + self.empty_sessions


class ShardStatus:
    """ASGI middleware of a shard that answers the requests of routers for its load.

    Args:
        app: the wrapped app.
        load: returns the load.
    """

    def __init__(self, app: App, load: Callable[[], Load]) -> None:
        self._app = app
        self._load = load

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["path"] != PATH:
            await self._app(scope, receive, send)
            return
        body = orjson.dumps(self._load()._asdict())
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
