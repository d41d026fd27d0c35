"""The application: wires contract, handlers, engine and console together."""

from __future__ import annotations

import asyncio
import functools
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from .agents.mcp.face import McpFace
from .agents.operations import InProcessOperations
from .agents.shard_status import Load, ShardStatus
from .api.connexion_app import MiddlewarePosition, make_connexion_app
from .api.content.compression import Compression, compressed
from .api.guard.gate import Gate
from .api.guard.guesses import Guesses
from .api.guard.proxy import RouterUrl, TrustedProxies
from .api.guard.security import CHALLENGE, COOKIE, SESSION_SECONDS, Access, Guard, Sessions
from .api.handlers import Execution, handler_table, plan_table
from .api.hot_operations import HotOperations
from .api.hot_path import HotPath
from .api.normalizer import Normalizer
from .api.pages import Pages
from .api.refusals import REFUSALS
from .api.request import serve_request
from .api.routes import Routes, websocket_paths
from .api.telemetry.access_log import AccessLog, log_refused
from .config import Settings
from .console import ConsoleView, Door, create_console
from .contract import load_contract
from .engines import make_engine
from .instances.directory import Instances
from .instances.idle import Reaper
from .interpreters.interpreters import Interpreters
from .results.scoreboard import Results
from .runtime.operations import OPERATIONS
from .runtime.registry.registry import Registry
from .runtime.shared.traffic import NONE, Traffic
from .verification.verifier import Replays

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

    from .agents.openenv.face import OpenenvFace
    from .api.asgi import App, Receive, Scope, Send
    from .engines.base import Engine
    from .engines.process.fork_server import Entry
    from .engines.process.fork_server_process import ForkServerProcess

logger = logging.getLogger(__name__)


class Application:
    """The server as an ASGI app: the API under `/v1`, its page under `/ui/`, its document, and the console.

    Args:
        settings: the server's settings; where their `api_key` is empty, no key is required.
        shut_down: stops the server; called by the operation `shutdownServer`.
        entry: the module that environments' processes run; None for the one that only answers the server.
        fork_server: the fork server's process, if it is already started.
        validate_responses: validate every reply of connexion against the contract; slow, for tests.
        hot_path: serve the operations of a training loop without connexion.

    Attributes:
        operations: the compiled operations of the hot path.
        instances: the live instances.
        in_process: executes operations in this process.
        results: the evaluations of recordings.
        replays: replays their trajectories.
        registry: the environments that can be made.
        interpreters: the interpreters besides the server's own Python.

    Raises:
        AccessError: a trusted proxy is not an address or network.
        ForbiddenDirectoryError: sessions of MCP are to be recorded outside the results roots.
        InterpreterOptionError: an interpreter is not named as it should be.
        TargetUnavailableError: the upload target cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        shut_down: Callable[[], None] = lambda: None,
        entry: Entry | None = None,
        fork_server: ForkServerProcess | None = None,
        validate_responses: bool = False,
        hot_path: bool = True,
    ) -> None:
        self.settings = settings
        contract = load_contract()

        # Environments and their results
        self.results = Results(settings)
        self.registry = Registry(settings)
        self.interpreters = Interpreters(settings)
        engine = make_engine(settings, entry, fork_server)
        traffic = Traffic(operations=(*(each.operation_id for each in OPERATIONS), NONE))
        self.instances = Instances(settings, engine, traffic)
        self._reaper = Reaper(self.instances, settings.idle_timeout)
        self.replays = Replays.of(settings, self.results, engine, self.interpreters)

        # Operations
        execution = Execution(settings, self.instances)
        handlers = handler_table(
            settings,
            self.instances,
            shut_down,
            self.results,
            self.registry,
            self.interpreters,
            execution,
            replays=self.replays,
            openenv=lambda: self.openenv,
        )
        self.operations = HotOperations(contract.resolved_paths(), plan_table(settings), settings.max_values)
        api = connexion_app = make_connexion_app(
            contract, handlers, settings.max_values, validate_responses=validate_responses
        )
        if hot_path:
            api = HotPath(self.operations, execution.execute, self.instances, settings.max_body, connexion_app)
        if settings.compression == "remote":
            connexion_app.add_middleware(Compression, position=MiddlewarePosition.BEFORE_EXCEPTION)
        elif settings.compression == "all":
            api = Compression(api, everywhere=True)
        # The last middleware is the closest to connexion.
        options = {"contract": contract, "max_body": settings.max_body, "traffic": traffic}
        connexion_app.add_middleware(Normalizer, position=MiddlewarePosition.BEFORE_EXCEPTION, **options)
        self.in_process = InProcessOperations(contract, self.operations, execution.execute, self.instances, lambda: api)

        # Pages
        access, sessions = Access.of(settings), Sessions()
        door = Door(
            is_locked=bool(access.key_digest),
            cookie=COOKIE,
            seconds=SESSION_SECONDS,
            challenge=CHALLENGE,
            accepts=access.accepts,
            begin=sessions.begin,
            end=sessions.end,
        )
        view = ConsoleView(engine.name, self.instances)
        pages = Pages(
            create_console(
                view,
                self.results,
                door,
                self.registry,
                self.interpreters,
                self.replays,
                is_shard=bool(settings.shard),
            ),
            settings.max_body,
        )

        # Every request
        if settings.mcp_record:
            self.results.recording_directory(settings.mcp_record)  # an error of the start, and not of each session
        mcp = McpFace(settings, self.in_process)
        websockets = self._serve_websocket if settings.serves_openenv else None
        routes = Routes(api, mcp, pages, contract, lambda app: compressed(app, settings.compression), websockets)
        guard = Guard(access, sessions, settings.api_key if settings.shard else "")
        served = ShardStatus(RouterUrl(routes), self.load) if settings.shard else routes
        self._app: App = Gate(served, guard, routes.refuse, self._count_refused, Guesses())
        if settings.has_openenv_root:
            from .agents.openenv.root import AtRoot  # few servers have it

            self._app = AtRoot(self._app)
        if settings.access_log:
            self._app = AccessLog(self._app, contract)
        if settings.trusted_proxy:
            self._app = TrustedProxies(self._app, settings.trusted_proxy)
        self._faces = mcp, pages
        self._is_running = False

    @property
    def engine(self) -> Engine:
        """The engine that runs the instances."""
        return self.instances.engine

    @property
    def caveat(self) -> str | None:
        """What operators should know of the engine, for the log; None if nothing."""
        return self.engine.caveat

    @property
    def live(self) -> int:
        """Number of live instances."""
        return len(self.instances.all())

    def load(self) -> Load:
        """Return what is on this server."""
        openenv = vars(self).get("openenv")
        empty, waiting = (0, 0) if openenv is None else (openenv.empty, openenv.waiting)
        return Load(self.live, self.instances.making, empty + self._faces[0].empty, waiting)

    @functools.cached_property
    def openenv(self) -> OpenenvFace:
        """What serves OpenEnv's clients."""
        # Not at the top: few servers have such clients.
        from .agents.openenv.face import OpenenvFace

        return OpenenvFace(self.settings, load_contract(), self.in_process)

    @property
    def websocket_paths(self) -> re.Pattern[bytes] | None:
        """Matches path and query of requests that may become WebSockets; None for none."""
        return websocket_paths(self.settings)

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.openenv.sockets(scope, receive, send)

    async def start(self) -> None:
        """Start the engine; idempotent.

        Raises:
            StartError: the engine cannot be started.
        """
        if not self._is_running:
            await self.interpreters.make()
            await self.engine.start()
            self._reaper.start()
            self._is_running = True

    async def stop(self, *, at_once: bool = False, seconds: float | None = None) -> None:
        """Close every environment and stop the engine; idempotent.

        Args:
            at_once: do not wait for calls in execution; the engine ends the environments.
            seconds: time limit for closing, after which the engine ends the environments; None for `shutdown_timeout`.
        """
        if self._is_running:
            self._is_running = False
            self.replays.stop()
            self.registry.stop()
            self.interpreters.stop()
            mcp, pages = self._faces
            try:
                async with asyncio.timeout(self.settings.shutdown_timeout if seconds is None else seconds):
                    await mcp.stop()
                    await self._reaper.stop(at_once=at_once)
                    if "openenv" in vars(self):
                        await self.openenv.stop()
                    if not at_once:
                        await self.instances.close_all()
            except TimeoutError:
                logger.warning(
                    "the time of the stop is over (--shutdown-timeout): environments that are not closed are ended"
                )
            finally:
                await self.engine.stop()
                pages.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        await serve_request(self._app, scope, receive, send)

    def on_refused(self, status: int, sent: int, scope: Scope | None) -> None:
        """Note a request that the protocol answered; see `http1.configuration.Refuse`."""
        self._count_refused(status, sent)
        # `{}` and not None, which would mean the current request.
        REFUSALS.note(status, HTTPStatus(status).phrase, scope or {})
        if scope is not None and self.settings.access_log:
            log_refused(status, sent, scope)

    def _count_refused(self, status: int, sent: int) -> None:
        self.instances.totals.traffic.count(NONE, status, 0.0, 0, sent)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await self.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})


def create_app(
    settings: Settings | None = None,
    *,
    shut_down: Callable[[], None] = lambda: None,
    validate_responses: bool = False,
    hot_path: bool = True,
) -> Application:
    """Return the ASGI app of a server; see `Application` for the arguments."""
    return Application(
        settings or Settings(), shut_down=shut_down, validate_responses=validate_responses, hot_path=hot_path
    )
