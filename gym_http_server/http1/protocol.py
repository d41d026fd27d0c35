"""The HTTP/1.1 protocol of a connection: uvicorn's, with a system call and a timer less for each request, and mended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ..api.hot_path import ABANDON, ERROR, REPLY
from ..api.problems import Problem
from ..api.request import HEADER, sent_id
from ..api.telemetry.access_log import REFUSED
from .transport import JoiningTransport

if TYPE_CHECKING:
    import asyncio

    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from ..api.normalizer import Scope
    from ..errors import GymHttpServerError
    from .configuration import Configuration

NOTHING, HEAD, BODY = range(3)
"""What of a request is arriving."""

LONGEST_HEAD = 1 << 16
"""Maximum bytes of a request head; likewise of the extensions and trailers of a chunked body, between two parts of its data."""

PIECE = 1 << 12
"""What came elsewhere is parsed in pieces of so many bytes."""


class LongHead(Exception):
    """Ends the parsing of a request whose head is complete and too long."""


class Beginning(NamedTuple):
    """What a connection begins with that was served elsewhere before.

    Attributes:
        rest: what is to be written to it: the end of a reply.
        closes: it is to be closed then.
        data: what has come and is not answered.
        error: what the first request in it is to be answered with.
        waits_since: since when the client is waited for, by the loop's clock; 0 for not known.
    """

    rest: bytes = b""
    closes: bool = False
    data: bytes = b""
    error: GymHttpServerError | None = None
    waits_since: float = 0.0


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol.

    - Head and body of a response go out in one write. The client would otherwise wake up for each, and for the head in
      vain.
    - The ASGI extension `hot_path.REPLY` sends a whole reply in one call; two messages and their checks take as long as
      all else that is done for a step.
    - The timer that closes an idle connection runs on while requests come, instead of being cancelled and started anew
      by each. A connection is idle until a request begins.
    - A request to upgrade to another protocol is served as it is without that (RFC 9110, 7.8). Java's HttpClient and
      `curl --http2` send one; the parser would take the body for the other protocol's bytes.
    - A client that shuts its sending side down gets the answers to what it sent.
    - Bytes that are no HTTP request are answered with problem details, after the answers to the requests before them.
    - A head or a body that takes too long to arrive is answered with 408. There is a timer only where a part of a request
      has come and the rest has not.
    - The ASGI extension `hot_path.ABANDON` ends a request that a stop of the server has cut short: with 503, or, where its
      reply has begun, with the connection.

    Args:
        beginning: what the connection begins with, where it was served elsewhere before.
        **options: uvicorn's own.
    """

    config: Configuration
    longest_head = LONGEST_HEAD

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
        # One for all requests: a function for each would be a reference cycle for each.
        self._extensions: dict[str, Any] = {REPLY: self._reply, ABANDON: self._abandon}
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
        if self._arrival_timer is not None:
            self._arrival_timer.cancel()
            self._arrival_timer = None

    def data_received(self, data: bytes) -> None:
        """Serve what came."""
        self._begin()
        self._parse(data)

    @property
    def is_between(self) -> bool:
        """Whether no request is under way, not even the beginning of one."""
        is_answered = self.cycle is None or self.cycle.response_complete
        return is_answered and not self._arriving and self._beginning is None

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
            # In pieces, for it may have come back for how long a head is, and only what comes after its first counts.
            for start in range(0, len(beginning.data), PIECE):
                if not self.transport.is_closing():
                    self._parse(beginning.data[start : start + PIECE])
        if 0 < beginning.waits_since < self.loop.time() and not self.transport.is_closing():
            self._go_on_waiting(beginning.waits_since)

    def _go_on_waiting(self, since: float) -> None:
        """Count the time that the client was waited for elsewhere, so that it has no time-out twice."""
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
                # A loop, for in a pipeline each request may ask for it.
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                continue
            except httptools.HttpParserError as error:
                if not (self._arriving == HEAD and self._undone > LONGEST_HEAD):
                    self.send_400_response(str(error))
                    return
            break
        if self._arriving:
            self._await_rest()

    def _expect_head(self, size: int) -> None:
        """Note whether a head that is complete with so many bytes more has to be measured."""
        self._may_be_long = self._arriving == HEAD or size > LONGEST_HEAD

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio has it
        """Keep a connection, whose client sends no more, until it has its answers."""
        self._begin()
        whole = self._whole()
        if self.scheme == "https" or not whole:
            return False
        whole[-1].keep_alive = False
        return True

    def _whole(self) -> list[RequestResponseCycle]:
        """Return the requests that have come whole and are not answered yet, in their order."""
        cycles = [self._under_way, *(cycle for cycle, _ in reversed(self.pipeline))]
        return [each for each in cycles if each is not None and not (each.response_complete or each.more_body)]

    def on_message_begin(self) -> None:
        """Note that the head of a request begins."""
        self._arriving, self._arriving_since, self._undone = HEAD, None, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Start the request whose head is complete."""
        if not self.parser.should_upgrade():
            if self._may_be_long and (size := head_size(self.url, self.headers)) > LONGEST_HEAD:
                self._undone = size
                raise LongHead
            self._idle_since = None
            self._arriving, self._arriving_since, self._undone = BODY, None, 0
            self.scope["extensions"] = self._extensions if self._error is None else self._with_error()
            super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """Drop the trailers that may follow: they are not among the headers that the request is served by (RFC 9110, 6.5)."""
        self.headers = []

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._undone = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Give the request the end of its body."""
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
            # Its time begins when nobody before it is served any more, or is answered in its stead.
            self._arriving_since = self.loop.time()
            if self._undone > self.longest_head:
                self.loop.call_soon(self._look_again)
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection where it has been idle for long enough."""
        self._idle_timer = None
        if self._idle_since is None or self._arriving:
            return  # a request is under way; its end starts the timer anew
        remaining = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if remaining > 0:
            self._idle_timer = self.loop.call_later(remaining, self.timeout_keep_alive_handler)
        else:
            # A call may have held the loop up for that long. What has come meanwhile is read before the next timers.
            self._idle_timer = self.loop.call_later(0.001, self._close_idle, self._idle_since)

    def _close_idle(self, idle_since: float) -> None:
        self._idle_timer = None
        if self._idle_since == idle_since and not self._arriving:
            super().timeout_keep_alive_handler()
        else:
            self.timeout_keep_alive_handler()

    @property
    def _waits_for_rest(self) -> bool:
        """Whether it lies with the client alone that the rest has not come: nobody before is served, and it is read."""
        return not (self.flow.read_paused or self.flow.write_paused or self._whole())

    def _await_rest(self) -> None:
        """See to it that the rest of a request, of which a part has come, takes neither forever nor all room."""
        if self._arriving_since is None:
            self._arriving_since = self.loop.time()
        if self._undone > self.longest_head:
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
            # As with an idle connection: what has come while the loop was held up is read first.
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
        """Answer a request that takes too long to arrive, and close the connection."""
        what, setting = ("head", "header_timeout") if self._arriving == HEAD else ("body", "body_timeout")
        seconds = self._time_to_arrive
        detail = (
            f"the {what} did not arrive within {seconds:g} s: send it faster, or start the server with a larger "
            f"--{setting.replace('_', '-')}"
        )
        self._give_up(Problem(408, "request-timeout", detail, limit=seconds, setting=setting))

    def on_long_request(self) -> None:
        """Answer a request whose head, or what is of no use in its body, is too long, and close the connection."""
        if self._whole():
            # Those before it are answered first, and no more is read meanwhile.
            self.flow.pause_reading()
            return
        if self._arriving == HEAD:
            detail = f"the head has more than {LONGEST_HEAD} bytes: send fewer and shorter headers"
        else:
            detail = (
                f"the chunked body has more than {LONGEST_HEAD} bytes of extensions or trailers at a time: send none of "
                "them, they are not read"
            )
        self._give_up(Problem(431, "request-header-fields-too-large", detail, limit=LONGEST_HEAD))

    def _give_up(self, problem: Problem) -> None:
        """Answer the request whose rest is not waited for with a problem, unless it has an answer."""
        if self._arriving == BODY:
            if self.cycle.response_complete:
                self.transport.close()
                return
            if self.cycle.response_started:
                self.cycle.keep_alive = False
                self.flow.pause_reading()
                return
            # Who waits for the body learns that it does not come.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._refuse(problem, self.cycle if self._arriving == BODY else None)

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not an HTTP request, and close the connection."""
        if whole := self._whole():
            # Their answers are on the way, and this one would be taken for one of them.
            whole[-1].keep_alive = False
            self.flow.pause_reading()
            return
        self._give_up(Problem(400, "malformed-request", f"these bytes are not an HTTP/1.1 request: {msg}"))

    def _refuse(self, problem: Problem, cycle: RequestResponseCycle | None = None) -> None:
        """Answer a request with a problem, and close the connection; `cycle` is its, where the app has it."""
        scope: Scope = {"headers": [], "client": self.client}
        if cycle is not None or self._arriving:
            scope = self.scope if cycle is None else cycle.scope  # type: ignore[assignment]  # uvicorn's is stricter
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
        """Send a whole reply with status 200, or return False where that is to go the usual way."""
        cycle = self._under_way
        assert cycle is not None, "there is a request to reply to"  # noqa: S101 -- for the type checker
        if self.flow.write_paused or cycle.response_started:
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

    def _abandon(self) -> None:
        """End the request under way, because the server stops, and the connection."""
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
    """Return the bytes of a request line and its header lines, but for the method, the version and optional white space."""
    return len(url) + sum(len(name) + len(value) + len(b": \r\n") for name, value in headers)
