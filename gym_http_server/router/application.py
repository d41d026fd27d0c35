"""The router as an ASGI app: wires cluster, operations and pages together, behind the same guard as a server."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from ..agents.openenv.root import AtRoot
from ..api.content.compression import compressed
from ..api.guard.gate import Gate
from ..api.guard.guesses import Guesses
from ..api.guard.proxy import TrustedProxies
from ..api.guard.security import CHALLENGE, COOKIE, SESSION_SECONDS, Access, Guard, Sessions
from ..api.pages import Pages
from ..api.refusals import REFUSALS
from ..api.request import serve_request
from ..api.routes import Routes, websocket_paths
from ..api.telemetry.access_log import AccessLog, log_refused
from ..console import Door, create_console
from ..contract import load_contract
from .agents.mcp import McpRoute
from .agents.openenv_tunnels import OpenenvTunnels
from .cluster import Cluster
from .fast_path.routing import FastPath
from .operations import ClusterOperations
from .pages import ClusterPages, ClusterView

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

    from ..api.asgi import App, Receive, Scope, Send
    from ..config import Settings
    from .fast_path.protocol import RouterProtocol
    from .shards import Shards


class RouterApplication:
    """What clients of a cluster talk to.

    Args:
        settings: the router's settings; where their `api_key` is empty, clients need no key.
        shards: the shards of the cluster.
        shut_down: stops the router; called by the operation `shutdownServer`.
        is_direct: whether createEnv tells where an instance can be reached directly.

    Attributes:
        settings: the router's settings.
        cluster: the cluster.
    """

    caveat = ""
    """What operators should know, for the log."""

    def __init__(
        self,
        settings: Settings,
        shards: Shards,
        *,
        shut_down: Callable[[], None] = lambda: None,
        is_direct: bool = True,
    ) -> None:
        self.settings = settings
        self.cluster = cluster = Cluster(settings, shards)
        contract = load_contract()
        access, sessions = Access.of(settings), Sessions()
        guard = Guard(access, sessions)
        self._fast_path = FastPath(settings, cluster, guard)

        def compress(app: App) -> App:
            return compressed(app, settings.compression)

        # Pages
        door = Door(
            is_locked=bool(access.key_digest),
            cookie=COOKIE,
            seconds=SESSION_SECONDS,
            challenge=CHALLENGE,
            accepts=access.accepts,
            begin=sessions.begin,
            end=sessions.end,
        )
        self._view = ClusterView(cluster)
        self._pages = Pages(create_console(self._view, door=door, is_router=True), settings.max_body)
        pages = ClusterPages(self._pages, cluster, settings.max_body)

        # Every request
        operations = ClusterOperations(settings, cluster, contract, shut_down, is_direct=is_direct)
        mcp = McpRoute(settings, cluster)
        websockets = OpenenvTunnels(settings, cluster) if settings.serves_openenv else None
        routes = Routes(compress(operations), mcp, pages, contract, compress, websockets)
        self._app: App = Gate(routes, guard, routes.refuse, lambda _status, _sent: None, Guesses())
        if settings.has_openenv_root:
            self._app = AtRoot(self._app)
        if settings.access_log:
            self._app = AccessLog(self._app, contract)
        if settings.trusted_proxy:
            self._app = TrustedProxies(self._app, settings.trusted_proxy)
        self._is_running = False

    @property
    def live(self) -> int:
        """Number of live instances that end with the router: none, unless it started the cluster."""
        return 0

    @property
    def websocket_paths(self) -> re.Pattern[bytes] | None:
        """As those of `Application`."""
        return websocket_paths(self.settings)

    @property
    def protocol(self) -> Callable[..., RouterProtocol]:
        """The factory of the protocol of a client's connection."""
        return self._fast_path.protocol

    async def start(self) -> None:
        """Join the cluster; idempotent.

        Raises:
            StartError: it cannot be joined.
        """
        if not self._is_running:
            self._is_running = True
            self._view.start()
            await self.cluster.start()

    async def stop(self, *, at_once: bool = False, seconds: float | None = None) -> None:  # noqa: ARG002 -- as a server's
        """Answer what is under way and leave the cluster; idempotent."""
        if self._is_running:
            self._is_running = False
            self._fast_path.stop()
            self._pages.stop()
            await self.cluster.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        await serve_request(self._app, scope, receive, send)

    def on_refused(self, status: int, sent: int, scope: Scope | None) -> None:
        """Note a request that the protocol answered; see `http1.configuration.Refuse`."""
        REFUSALS.note(status, HTTPStatus(status).phrase, scope or {})
        if scope is not None and self.settings.access_log:
            log_refused(status, sent, scope)
