"""The HTTP/1.1 protocol of a connection: uvicorn's, with a system call and a timer less for each request, and mended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from . import __version__
from .api.hot_path import ERROR, REPLY
from .api.problems import Problem

if TYPE_CHECKING:
    import asyncio

    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from .api.edge import App
    from .config import Settings
    from .errors import GymHttpServerError

CONTINUE = b"HTTP/1.1 100 "

FEW = 1 << 16
"""A body of fewer bytes is copied behind its head, which is faster than handing over two pieces."""


class Beginning(NamedTuple):
    """What a connection begins with that was served elsewhere before.

    Attributes:
        rest: what is to be written to it: the end of a reply.
        closes: it is to be closed then.
        data: what has come and is not answered.
        error: what the first request in it is to be answered with.
    """

    rest: bytes = b""
    closes: bool = False
    data: bytes = b""
    error: GymHttpServerError | None = None


def configuration(app: App, settings: Settings, http: Any) -> uvicorn.Config:
    """Return what uvicorn is to serve with.

    Args:
        app: the app.
        settings: the server's settings.
        http: makes the protocol of a connection.
    """
    return uvicorn.Config(
        app,
        http=http,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=settings.log_level in ("debug", "info"),
        server_header=False,
        headers=[("server", f"gym-http-server/{__version__}")],
        timeout_keep_alive=settings.keep_alive,
        timeout_graceful_shutdown=settings.shutdown_timeout,
        proxy_headers=False,
    )


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol.

    - Head and body of a response go out in one write. The client would otherwise wake up for each, and for the head in
      vain.
    - The ASGI extension `hot_path.REPLY` sends a whole reply in one call; two messages and their checks take as long as
      all else that is done for a step.
    - The timer that closes an idle connection runs on while requests come, instead of being cancelled and started anew
      by each. A connection is idle until the head of a request is complete.
    - A request to upgrade to another protocol is served as it is without that (RFC 9110, 7.8). Java's HttpClient and
      `curl --http2` send one; the parser would take the body for the other protocol's bytes.
    - A client that shuts its sending side down gets the answers to what it sent.
    - Bytes that are no HTTP request are answered with problem details, after the answers to the requests before them.

    Args:
        beginning: what the connection begins with, where it was served elsewhere before.
        **options: uvicorn's own.
    """

    def __init__(self, *, beginning: Beginning | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._beginning = beginning
        self._error = beginning.error if beginning else None
        self._has_begun = False
        self._under_way: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take over a new connection."""
        self._joining = JoiningTransport(transport)
        # One for all requests: a function for each would be a reference cycle for each.
        self._extensions: dict[str, Any] = {REPLY: self._reply}
        self._default: list[tuple[bytes, bytes]] | None = None
        self._head = b""
        super().connection_made(self._joining)  # type: ignore[arg-type]  # it has the methods that uvicorn calls
        self._idle_since: float | None = self.loop.time()
        self._idle_timer: asyncio.TimerHandle | None = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )
        if self._beginning is not None:
            # Not at once, for a transport that has not begun to read cannot be paused; what it reads may be faster.
            self.loop.call_soon(self._begin)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of a connection that is closed."""
        super().connection_lost(exc)
        # uvicorn tells the latest of a pipeline only.
        if self._under_way is not None and not self._under_way.response_complete:
            self._under_way.disconnected = True
            self._under_way.message_event.set()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def data_received(self, data: bytes) -> None:
        """Serve what came."""
        self._begin()
        self._parse(data)

    @property
    def is_between(self) -> bool:
        """Whether no request is under way, not even the beginning of one."""
        is_answered = self.cycle is None or self.cycle.response_complete
        return is_answered and not self._has_begun and self._beginning is None

    @property
    def is_writing(self) -> bool:
        """Whether there is something that the client has not taken yet."""
        return self._joining.get_write_buffer_size() > 0

    def _begin(self) -> None:
        if self._beginning is None:
            return
        beginning, self._beginning = self._beginning, None
        if self.transport.is_closing():
            return
        if beginning.rest:
            self._joining.write_whole(beginning.rest, b"")
        if beginning.closes:
            self.transport.close()
        elif beginning.data:
            self._parse(beginning.data)

    def _parse(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if self.parser.get_method() == b"CONNECT":
                    self.send_400_response("CONNECT is for proxies")
                    return
                # A loop, for in a pipeline each request may ask for it.
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                continue
            except httptools.HttpParserError as error:
                self.send_400_response(str(error))
            return

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio has it
        """Keep a connection, whose client sends no more, until it has its answers."""
        self._begin()
        cycles = [self._under_way, *(cycle for cycle, _ in reversed(self.pipeline))]
        whole = [each for each in cycles if each is not None and not (each.response_complete or each.more_body)]
        if self.scheme == "https" or not whole:
            return False
        whole[-1].keep_alive = False
        return True

    def on_message_begin(self) -> None:
        """Note that the head of a request begins."""
        self._has_begun = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Start the request whose head is complete."""
        if not self.parser.should_upgrade():
            self._idle_since = None
            self.scope["extensions"] = self._extensions if self._error is None else self._with_error()
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Give the request the end of its body."""
        if not self.parser.should_upgrade():
            self._has_begun = False
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on to the next request of the pipeline, or wait for one."""
        self._joining.end_response()
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection where it has been idle for long enough."""
        self._idle_timer = None
        if self._idle_since is None:
            return  # a request is under way; its end starts the timer anew
        remaining = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if remaining > 0:
            self._idle_timer = self.loop.call_later(remaining, self.timeout_keep_alive_handler)
        else:
            # A call may have held the loop up for that long. What has come meanwhile is read before the next timers.
            self._idle_timer = self.loop.call_later(0.001, self._close_idle, self._idle_since)

    def _close_idle(self, idle_since: float) -> None:
        self._idle_timer = None
        if self._idle_since == idle_since:
            super().timeout_keep_alive_handler()
        else:
            self.timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not an HTTP request, and close the connection."""
        if self._is_answering():
            # Its answer is on the way, and this one would be taken for it.
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        problem = Problem(400, "malformed-request", f"these bytes are not an HTTP/1.1 request: {msg}")
        headers = {**problem.headers, "content-length": str(len(problem.body)), "connection": "close"}
        lines = [*self.server_state.default_headers, *((k.encode(), v.encode("latin-1")) for k, v in headers.items())]
        head = b"".join(b"%b: %b\r\n" % line for line in lines)
        self.transport.write(STATUS_LINE[400] + head + b"\r\n" + problem.body)
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._under_way = cycle
        super()._start_asgi_task(cycle, app)

    def _reply(self, media_type: bytes, body: bytes) -> bool:
        """Send a whole reply with status 200, or return False where that is to go the usual way."""
        cycle = self._under_way
        assert cycle is not None, "there is a request to reply to"  # noqa: S101 -- for the type checker
        if self.flow.write_paused or self.access_log or cycle.response_started:
            return False
        if not cycle.disconnected:
            default = self.server_state.default_headers
            if default is not self._default:  # it is another list each second, for the date
                self._default = default
                self._head = STATUS_LINE[200] + b"".join(b"%b: %b\r\n" % line for line in default)
            close = b"" if cycle.keep_alive else b"connection: close\r\n"
            head = b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b\r\n" % (self._head, media_type, len(body), close)
            cycle.response_started = cycle.response_complete = True
            cycle.waiting_for_100_continue = False
            cycle.message_event.set()
            self._joining.write_whole(head, body)
            if not cycle.keep_alive:
                self.transport.close()
            cycle.on_response()
        return True

    def _is_answering(self) -> bool:
        """Return whether the latest request has come whole and is not answered yet."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def _with_error(self) -> dict[str, Any]:
        error, self._error = self._error, None
        return {**self._extensions, ERROR: error}

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        for name, value in self.headers:
            if name == b"connection":
                tokens = (token.strip() for token in value.split(b","))
                lines.append(b"connection: " + b", ".join(each for each in tokens if each.lower() != b"upgrade"))
            elif name != b"upgrade":
                lines.append(name + b": " + value)
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _unset_keepalive_if_required(self) -> None:
        """Do nothing: uvicorn's timer is not used."""


class JoiningTransport:
    """A transport that keeps the head of each response back until there is something of its body, or its end.

    Args:
        transport: what carries the bytes.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None
        self._expects_head = True
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.set_protocol = transport.set_protocol
        self.get_write_buffer_size = transport.get_write_buffer_size
        self.abort = transport.abort

    def write(self, data: bytes) -> None:
        """Write bytes, after the head where one was kept back."""
        if self._head is not None:
            head, self._head = self._head, None
            self.write_whole(head, data)
        elif self._expects_head and not data.startswith(CONTINUE):
            self._head, self._expects_head = data, False
        else:
            self._transport.write(data)

    def write_whole(self, head: bytes, body: bytes) -> None:
        """Write a head and what there is of its body."""
        if len(body) < FEW:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))

    def end_response(self) -> None:
        """Write the head of a response without a body; the next bytes are a head again."""
        if self._head is not None:
            self.write(b"")
        self._expects_head = True

    def close(self) -> None:
        """Close the connection after what was written."""
        if self._head is not None:
            self.write(b"")
        self._transport.close()
