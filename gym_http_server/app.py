"""The application: wires contract, handlers, engine and console together."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from .api.asgi import ABANDON, App, Receive, Scope, Send
from .api.connexion_app import MiddlewarePosition, make_connexion_app
from .api.content.compression import Compression
from .api.guard.gate import Gate
from .api.guard.guesses import Guesses
from .api.guard.proxy import TrustedProxies, root_path
from .api.guard.security import CHALLENGE, COOKIE, SESSION_SECONDS, Access, Guard, Sessions
from .api.handlers import Handler, handler_table
from .api.hot_operations import HotOperations
from .api.hot_path import HotPath
from .api.normalizer import METRICS, Normalizer, send_problem
from .api.pages import Pages
from .api.problems import HttpProblem, problem_of
from .api.refusals import REFUSALS
from .api.request import CURRENT, RequestContext
from .api.telemetry.access_log import AccessLog, log_refused
from .config import Settings
from .console import ConsoleView, Door, create_console
from .contract import Contract, load_contract
from .engines import make_engine
from .instances.directory import Instances
from .instances.idle import Reaper
from .results.scoreboard import Results
from .runtime.operations import OPERATIONS
from .runtime.registry.registry import Registry
from .runtime.shared.traffic import NONE, Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .engines.process.fork_server import Entry
    from .engines.process.fork_server_process import ForkServerProcess
    from .errors import GymHttpServerError
    from .runtime.idempotency import IdempotencyKey

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
        engine: the engine that runs them.
        results: the evaluations of recordings.
        registry: the environments that can be made.

    Raises:
        AccessError: a trusted proxy is not an address or network.
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
        self.results = Results(settings)
        self.registry = Registry(settings)
        self.engine = make_engine(settings, entry, fork_server)
        self._contract = load_contract()
        traffic = Traffic(operations=(*(each.operation_id for each in OPERATIONS), NONE))
        self.instances = Instances(settings, self.engine, traffic)
        self._reaper = Reaper(self.instances, settings.idle_timeout)
        handlers = handler_table(settings, self.instances, shut_down, self.results, self.registry)
        self.operations = HotOperations(self._contract.resolved_paths(), handlers, settings.max_values)
        self._api = make_api(
            self._contract,
            handlers,
            settings,
            traffic_of=self.instances.traffic,
            on_lost=self.instances.note_loss,
            traffic=traffic,
            validate_responses=validate_responses,
            operations=self.operations if hot_path else None,
        )
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
        view = ConsoleView(self.engine.name, self.instances)
        console = create_console(view, self.results, door, self.registry)
        self._console = Pages(console, settings.max_body)
        self._pages = compressed(self._console, settings)
        self._documents = compressed(self._document, settings)
        guard = Guard(access, self._is_page, sessions)
        self._app: App = Gate(self._dispatch, guard, self._refuse, self._count_refused, Guesses())
        self._logs_access = settings.access_log
        if self._logs_access:
            self._app = AccessLog(self._app, self._contract)
        if settings.trusted_proxy:
            self._app = TrustedProxies(self._app, settings.trusted_proxy)
        self._running = False

    async def start(self) -> None:
        """Start the engine; idempotent.

        Raises:
            StartError: the engine cannot be started.
        """
        if not self._running:
            await self.engine.start()
            self._reaper.start()
            self._running = True

    async def stop(self, *, at_once: bool = False, seconds: float | None = None) -> None:
        """Close every environment and stop the engine; idempotent.

        Args:
            at_once: do not wait for calls in execution; the engine ends the environments.
            seconds: time limit for closing, after which the engine ends the environments; None for `shutdown_timeout`.
        """
        if self._running:
            self._running = False
            self.registry.stop()
            try:
                async with asyncio.timeout(self.settings.shutdown_timeout if seconds is None else seconds):
                    await self._reaper.stop(at_once=at_once)
                    if not at_once:
                        await self.instances.close_all()
            except TimeoutError:
                logger.warning(
                    "the time of the stop is over (--shutdown-timeout): environments that are not closed are ended"
                )
            finally:
                await self.engine.stop()
                self._console.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"{scope['type']} is not served: only HTTP is")
        request = RequestContext()
        request.scope = scope
        CURRENT.set(request)
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            # uvicorn cancels at the end of a shutdown; it would log this and answer without a reason.
            abandon = scope.get("extensions", {}).get(ABANDON)
            if abandon is None:
                raise
            abandon()
        finally:
            request.scope = None

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app_for(scope["path"])(scope, receive, send)

    def _app_for(self, path: str) -> App:
        # Before Flask, which serves the rest: mounted in connexion's router it would answer these paths with HTML.
        if path == "/v1" or path.startswith("/v1/") or path in METRICS:
            return self._api
        if path in ("/openapi.yaml", "/openapi.json"):
            return self._documents
        return self._pages

    def _is_page(self, path: str) -> bool:
        return self._app_for(path) is not self._api

    async def _document(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        if scope["method"] not in ("GET", "HEAD"):
            detail = f"{scope['method']} is not served at {scope['path']!r}: it takes GET, HEAD"
            problem = HttpProblem(405, "method-not-allowed", detail, headers={"allow": "GET, HEAD"})
            await self._refuse(problem, scope, send)
            return
        is_yaml = scope["path"].endswith(".yaml")
        body = self._contract.yaml_at(root_path(scope)) if is_yaml else self._contract.json_at(root_path(scope))
        media_type = b"application/yaml" if is_yaml else b"application/json"
        headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def on_refused(self, status: int, sent: int, scope: Scope | None) -> None:
        """Note a request that the protocol answered; see `http1.configuration.Refuse`."""
        self._count_refused(status, sent)
        # `{}` and not None, which would mean the current request.
        REFUSALS.note(status, HTTPStatus(status).phrase, scope or {})
        if scope is not None and self._logs_access:
            log_refused(status, sent, scope)

    def _count_refused(self, status: int, sent: int) -> None:
        self.instances.totals.traffic.count(NONE, status, 0.0, 0, sent)

    async def _refuse(self, problem: HttpProblem, scope: Scope, send: Send) -> None:
        """Answer a request with a problem, as a page or as problem details by its path."""
        if self._is_page(scope["path"]):
            await self._console.refuse(problem, scope, send)
        else:
            await send_problem(problem_of(problem), send)

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


def make_api(
    contract: Contract,
    handlers: Mapping[str, Handler],
    settings: Settings,
    *,
    traffic_of: Callable[[str], Traffic],
    on_lost: Callable[[str, IdempotencyKey, GymHttpServerError], None],
    traffic: Traffic,
    validate_responses: bool,
    operations: HotOperations | None,
) -> App:
    """Return the app of all operations of the contract.

    Args:
        contract: the contract.
        handlers: the handler of every operation, by operationId.
        settings: the server's settings.
        traffic_of: returns the counters of an instance, for hot requests, by instance_id.
        on_lost: called with instance_id, key and error when an instance was lost during a keyed request.
        traffic: counters of all other requests.
        validate_responses: validate every reply of connexion against the contract.
        operations: the operations of the hot path; None to serve all by connexion.
    """
    connexion_app = make_connexion_app(contract, handlers, settings.max_values, validate_responses=validate_responses)
    app: App = connexion_app
    if operations is not None:
        app = HotPath(operations, settings.max_body, connexion_app, traffic_of, on_lost)
    if settings.compression == "remote":
        connexion_app.add_middleware(Compression, position=MiddlewarePosition.BEFORE_EXCEPTION)
    elif settings.compression == "all":
        app = Compression(app, everywhere=True)
    # The last middleware is the closest to connexion.
    connexion_app.add_middleware(
        Normalizer,
        position=MiddlewarePosition.BEFORE_EXCEPTION,
        contract=contract,
        max_body=settings.max_body,
        traffic=traffic,
    )
    return app


def compressed(app: App, settings: Settings) -> App:
    """Return an app with compression as the settings say; for apps off the hot path."""
    return app if settings.compression == "off" else Compression(app, everywhere=settings.compression == "all")
