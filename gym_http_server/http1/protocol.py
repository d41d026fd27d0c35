"""The HTTP/1.1 protocol of a connection: uvicorn's with fewer system calls and timers, limits on arrival, and fixes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ..api.asgi import ABANDON, ERROR, REPLY
from ..api.problems import Problem
from ..api.request import HEADER, sent_id
from ..api.telemetry.access_log import REFUSED
from .transport import JoiningTransport

if TYPE_CHECKING:
    import asyncio

    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from ..api.asgi import Scope
    from ..errors import GymHttpServerError
    from .configuration import Configuration

NOTHING, HEAD, BODY = range(3)
"""The part of a request that is arriving."""

MAX_HEAD_BYTES = 1 << 16
"""Maximum bytes of a request head, and of chunk extensions and trailers between two parts of a body."""

PARSED_PIECE_BYTES = 1 << 12
"""Size of the pieces in which bytes are parsed that another process received."""


class LongHead(Exception):
    """Stops the parser at a complete head that is too long."""


class Beginning(NamedTuple):
    """The state of a connection that another process served before.

    Attributes:
        rest: the unsent end of a reply, which is written first.
        closes: whether the connection is closed after that.
        data: received bytes of unanswered requests.
        error: the error with which the first of them is answered, or None.
        waits_since: since when the client is waited for, by the loop's clock; 0 if unknown.
    """

    rest: bytes = b""
    closes: bool = False
    data: bytes = b""
    error: GymHttpServerError | None = None
    waits_since: float = 0.0


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol.

    - Head and body of a response are one write, so that the client wakes up once.
    - The ASGI extension `asgi.REPLY` sends a whole reply in one call; two messages and their checks would take as long
      as the rest of a step.
    - The timer of an idle connection runs on while requests arrive, instead of being restarted by each. A connection is
      idle until a request begins.
    - An upgrade to another protocol is ignored (RFC 9110, 7.8): Java's HttpClient and `curl --http2` ask for one, and the
      parser would take the body for bytes of the other protocol.
    - A client that shuts down its sending side still gets its replies.
    - Malformed requests are answered with problem details, after the replies to earlier requests.
    - A head or body that arrives too slowly is answered with 408. The timer exists only while a request is incomplete, so
      a step pays nothing for it.
    - Anything but body data is limited to `MAX_HEAD_BYTES` (431). Trailers are dropped: a request is served by its head.
    - The ASGI extension `asgi.ABANDON` ends a request that a stop cuts short: with 503, or by closing the connection if
      its reply has begun.

    Args:
        beginning: the state of a connection that another process served before, or None.
        **options: options of uvicorn.
    """

    config: Configuration
    max_head_bytes = MAX_HEAD_BYTES

    def __init__(self, *, beginning: Beginning | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._beginning = beginning
        self._error = beginning.error if beginning else None
        self._arriving = NOTHING
        self._arriving_since: float | None = None
        self._undone = 0
        self._may_be_long = False
        self._arrival_timer: asyncio.TimerHandle | None = None
        self._under_way: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take over a new connection."""
        self._joining = JoiningTransport(transport)
        # One dict for all requests: a function per request would be a reference cycle per request.
        self._extensions: dict[str, Any] = {REPLY: self._reply, ABANDON: self._abandon}
        self._default: list[tuple[bytes, bytes]] | None = None
        self._head = b""
        super().connection_made(self._joining)  # type: ignore[arg-type]  # it has the methods that uvicorn calls
        self._idle_since: float | None = self.loop.time()
        self._idle_timer: asyncio.TimerHandle | None = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )
        if self._beginning is not None:
            # Later: a transport that does not read yet cannot be paused. `data_received` may come first.
            self.loop.call_soon(self._begin)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release a closed connection."""
        super().connection_lost(exc)
        # uvicorn notifies only the latest request of a pipeline.
        if self._under_way is not None and not self._under_way.response_complete:
            self._under_way.disconnected = True
            self._under_way.message_event.set()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        if self._arrival_timer is not None:
            self._arrival_timer.cancel()
            self._arrival_timer = None

    def data_received(self, data: bytes) -> None:
        """Parse and serve received bytes."""
        self._begin()
        self._parse(data)

    @property
    def is_between(self) -> bool:
        """Whether no request is being served or arriving."""
        is_answered = self.cycle is None or self.cycle.response_complete
        return is_answered and not self._arriving and self._beginning is None

    @property
    def is_writing(self) -> bool:
        """Whether there are unsent bytes."""
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
            # In pieces: a head may have come back for its length, and only bytes after its first piece count.
            for start in range(0, len(beginning.data), PARSED_PIECE_BYTES):
                if not self.transport.is_closing():
                    self._parse(beginning.data[start : start + PARSED_PIECE_BYTES])
        if 0 < beginning.waits_since < self.loop.time() and not self.transport.is_closing():
            self._go_on_waiting(beginning.waits_since)

    def _go_on_waiting(self, since: float) -> None:
        """Continue a time-out that began in another process, so that it applies once."""
        if self._arriving:
            if self._waits_for_rest and self._arrival_timer is not None:
                self._arriving_since = since
                self._arrival_timer.cancel()
                self._on_arrival_timer()
        elif self.is_between and self._idle_timer is not None:
            self._idle_since = since
            self._idle_timer.cancel()
            self.timeout_keep_alive_handler()

    def _parse(self, data: bytes) -> None:
        if self._arriving:
            self._undone += len(data)
        self._expect_head(len(data))
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if self.parser.get_method() == b"CONNECT":
                    self.send_400_response("CONNECT is for proxies")
                    return
                # In a loop: each request of a pipeline may ask for an upgrade.
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                continue
            except httptools.HttpParserError as error:
                if not (self._arriving == HEAD and self._undone > MAX_HEAD_BYTES):
                    self.send_400_response(str(error))
                    return
            break
        if self._arriving:
            self._await_rest()

    def _expect_head(self, size: int) -> None:
        """Note whether the length of a head that these bytes complete has to be checked."""
        self._may_be_long = self._arriving == HEAD or size > MAX_HEAD_BYTES

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio has it
        """Keep the connection of a client that sends no more until it has its replies."""
        self._begin()
        whole = self._whole()
        if self.scheme == "https" or not whole:
            return False
        whole[-1].keep_alive = False
        return True

    def _whole(self) -> list[RequestResponseCycle]:
        """Return the complete requests that are not answered yet, in order."""
        cycles = [self._under_way, *(cycle for cycle, _ in reversed(self.pipeline))]
        return [each for each in cycles if each is not None and not (each.response_complete or each.more_body)]

    def on_message_begin(self) -> None:
        """Note the beginning of a request head."""
        self._arriving, self._arriving_since, self._undone = HEAD, None, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Start a request whose head is complete."""
        if not self.parser.should_upgrade():
            if self._may_be_long and (size := head_size(self.url, self.headers)) > MAX_HEAD_BYTES:
                self._undone = size
                raise LongHead
            self._idle_since = None
            self._arriving, self._arriving_since, self._undone = BODY, None, 0
            self.scope["extensions"] = self._extensions if self._error is None else self._with_error()
            super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """Drop trailers that may follow: they are not headers of the request (RFC 9110, 6.5)."""
        self.headers = []

    def on_body(self, body: bytes) -> None:
        """Receive a part of the body."""
        self._undone = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the body of the request."""
        if not self.parser.should_upgrade():
            self._arriving = NOTHING
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on to the next request of the pipeline, or wait for one."""
        self._joining.end_response()
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self._arriving:
            # Its time limit starts when the requests before it are answered.
            self._arriving_since = self.loop.time()
            if self._undone > self.max_head_bytes:
                self.loop.call_soon(self._look_again)
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if it has been idle for `timeout_keep_alive`."""
        self._idle_timer = None
        if self._idle_since is None or self._arriving:
            return  # a request is being served or arriving; its end restarts the timer
        remaining = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if remaining > 0:
            self._idle_timer = self.loop.call_later(remaining, self.timeout_keep_alive_handler)
        else:
            # A call may have blocked the loop that long. Bytes that arrived meanwhile are read before the next timer.
            self._idle_timer = self.loop.call_later(0.001, self._close_idle, self._idle_since)

    def _close_idle(self, idle_since: float) -> None:
        self._idle_timer = None
        if self._idle_since == idle_since and not self._arriving:
            super().timeout_keep_alive_handler()
        else:
            self.timeout_keep_alive_handler()

    @property
    def _waits_for_rest(self) -> bool:
        """Whether only the client delays the rest: no earlier request is being served, and reading is not paused."""
        return not (self.flow.read_paused or self.flow.write_paused or self._whole())

    def _await_rest(self) -> None:
        """Limit the time and size of a request that is incomplete."""
        if self._arriving_since is None:
            self._arriving_since = self.loop.time()
        if self._undone > self.max_head_bytes:
            self.on_long_request()
            if self.transport.is_closing():
                return
        if self._arrival_timer is None:
            self._arrival_timer = self.loop.call_later(self._time_to_arrive, self._on_arrival_timer)

    @property
    def _time_to_arrive(self) -> float:
        timeout = self.config.header_timeout if self._arriving == HEAD else self.config.body_timeout
        return float(timeout)

    def _on_arrival_timer(self) -> None:
        self._arrival_timer = None
        since = self._arriving_since
        if not self._arriving or since is None or self.transport.is_closing():
            return
        now = self.loop.time()
        if not self._waits_for_rest:
            self._arriving_since = since = now
        remaining = since + self._time_to_arrive - now
        if remaining > 0:
            self._arrival_timer = self.loop.call_later(remaining, self._on_arrival_timer)
        else:
            # As with an idle connection: bytes that arrived while the loop was blocked are read first.
            self._arrival_timer = self.loop.call_later(0.001, self._end_late, since)

    def _end_late(self, since: float) -> None:
        self._arrival_timer = None
        if not (self._arriving and self._arriving_since == since and self._waits_for_rest):
            self._look_again()
        elif not self.transport.is_closing():
            self.on_late_request()

    def _look_again(self) -> None:
        if self._arriving and not self.transport.is_closing():
            self._await_rest()

    def on_late_request(self) -> None:
        """Answer a request that arrives too slowly with 408, and close the connection."""
        what, setting = ("head", "header_timeout") if self._arriving == HEAD else ("body", "body_timeout")
        seconds = self._time_to_arrive
        detail = (
            f"the {what} did not arrive within {seconds:g} s: send it faster, or start the server with a larger "
            f"--{setting.replace('_', '-')}"
        )
        self._give_up(Problem(408, "request-timeout", detail, limit=seconds, setting=setting))

    def on_long_request(self) -> None:
        """Answer a request whose head, chunk extensions or trailers are too long with 431, and close the connection."""
        if self._whole():
            # Earlier requests are answered first; reading is paused meanwhile.
            self.flow.pause_reading()
            return
        if self._arriving == HEAD:
            detail = f"the head has more than {MAX_HEAD_BYTES} bytes: send fewer and shorter headers"
        else:
            detail = (
                f"the chunked body has more than {MAX_HEAD_BYTES} bytes of extensions or trailers at a time: send none of "
                "them, they are not read"
            )
        self._give_up(Problem(431, "request-header-fields-too-large", detail, limit=MAX_HEAD_BYTES))

    def _give_up(self, problem: Problem) -> None:
        """Answer an incomplete request with a problem, unless its reply has begun."""
        if self._arriving == BODY:
            if self.cycle.response_complete:
                self.transport.close()
                return
            if self.cycle.response_started:
                self.cycle.keep_alive = False
                self.flow.pause_reading()
                return
            # The app may be waiting for the body: it gets a disconnect.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._refuse(problem, self.cycle if self._arriving == BODY else None)

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not an HTTP request, and close the connection."""
        if whole := self._whole():
            # Earlier replies are pending, and this one would be taken for one of them.
            whole[-1].keep_alive = False
            self.flow.pause_reading()
            return
        self._give_up(Problem(400, "malformed-request", f"these bytes are not an HTTP/1.1 request: {msg}"))

    def _refuse(self, problem: Problem, cycle: RequestResponseCycle | None = None) -> None:
        """Answer a request with a problem and close the connection; `cycle` is the request if the app has it."""
        scope: Scope = {"headers": [], "client": self.client}
        if cycle is not None or self._arriving:
            scope = self.scope if cycle is None else cycle.scope  # type: ignore[assignment]  # uvicorn's type is stricter
        content = b"" if cycle is not None and scope["method"] == "HEAD" else problem.body
        sent = problem.status, len(content)
        if cycle is not None:
            scope["state"][REFUSED] = sent
        if self.config.on_refused is not None:
            self.config.on_refused(*sent, scope if cycle is None else None)
        headers = {**problem.headers, "content-length": str(len(problem.body)), "connection": "close"}
        if (request_id := sent_id(scope)) is not None:
            headers[HEADER.decode()] = request_id
        lines = [*self.server_state.default_headers, *((k.encode(), v.encode("latin-1")) for k, v in headers.items())]
        head = b"".join(b"%b: %b\r\n" % line for line in lines)
        self.transport.write(STATUS_LINE[problem.status] + head + b"\r\n" + content)
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._under_way = cycle
        super()._start_asgi_task(cycle, app)

    def _reply(self, media_type: bytes, body: bytes) -> bool:
        """Send a whole reply with status 200, or return False if the app has to send it."""
        cycle = self._under_way
        assert cycle is not None, "there is a request to reply to"  # noqa: S101 -- for the type checker
        if self.flow.write_paused or cycle.response_started:
            return False
        if not cycle.disconnected:
            default = self.server_state.default_headers
            if default is not self._default:  # a new list each second, for the date
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

    def _abandon(self) -> None:
        """End the current request and the connection, because the server stops."""
        cycle = self._under_way
        assert cycle is not None, "there is a request to end"  # noqa: S101 -- for the type checker
        if cycle.response_started or self.transport.is_closing():
            self.transport.close()
        else:
            seconds = self.config.timeout_graceful_shutdown
            detail = (
                "the server is stopping and has ended this request; whether it was executed is not known: send it to the next "
                f"server, or start that with a larger --shutdown-timeout than {seconds} s"
            )
            self._refuse(Problem(503, "server-stopping", detail, limit=seconds, setting="shutdown_timeout"), cycle)
        cycle.disconnected = True  # uvicorn expects no response then

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


def head_size(url: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    """Return the bytes of URL and header lines, without method, version and optional white space."""
    return len(url) + sum(len(name) + len(value) + len(b": \r\n") for name, value in headers)
