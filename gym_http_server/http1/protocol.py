"""The HTTP/1.1 protocol of a connection: uvicorn's with fewer system calls and timers, limits on arrival, and fixes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ..api.asgi import LINK, ProtocolLink
from .arrival import BODY, HEAD, MAX_HEAD_BYTES, NOTHING, Arrival, WaitTimer, head_size
from .refusal import Refuser
from .transport import JoiningTransport

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
    from websockets.server import ServerProtocol

    from ..api.problems import Problem
    from ..errors import GymHttpServerError
    from .configuration import Configuration
    from .websocket import WebSocket

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


class Switched:
    """A connection that is no longer HTTP's; see `asgi.SwitchedConnection`."""

    def __init__(self, http: HttpToolsProtocol, transport: asyncio.Transport, received: bytes) -> None:
        self.transport = transport
        self.received = received
        self._http = http
        self._protocol: asyncio.Protocol | None = None

    def begin(self, protocol: asyncio.Protocol) -> None:
        """Let a protocol take the connection over."""
        self._protocol = protocol
        self._http.connections.discard(self._http)
        self._http.connections.add(protocol)  # type: ignore[arg-type]  # uvicorn only calls `shutdown`
        self.transport.set_protocol(protocol)

    def end(self, exc: Exception | None) -> None:
        """Release the connection."""
        self._http.connections.discard(self._protocol)
        self._http.connection_lost(exc)


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol.

    - Head and body of a response are one write, so that the client wakes up once.
    - The app can send a whole reply in one call (`asgi.ProtocolLink`); two messages and their checks would take as long as
      the rest of a step. It can also end a request that a stop cuts short.
    - The timer of an idle connection runs on while requests arrive, instead of being restarted by each. A connection is
      idle until a request begins.
    - An upgrade to a WebSocket is up to the app, where the configuration names the path. Any other is ignored (RFC 9110, 7.8):
      Java's HttpClient and `curl --http2` ask for one, and the parser would take the body for bytes of the other protocol.
    - A client that shuts down its sending side still gets its replies.
    - Malformed requests are answered with problem details, after the replies to earlier requests.
    - A head or body that arrives too slowly is answered with 408.
    - Anything but body data is limited to `MAX_HEAD_BYTES` (431). Trailers are dropped: a request is served by its head.

    Args:
        beginning: the state of a connection that another process served before, or None.
        **options: options of uvicorn.
    """

    config: Configuration
    max_head_bytes = MAX_HEAD_BYTES

    def __init__(self, *, beginning: Beginning | None = None, **options: Any) -> None:
        super().__init__(**options)
        # What another process left
        self._beginning = beginning
        self._error = beginning.error if beginning else None

        # Requests
        self._arrival = Arrival(self, self.config, self.max_head_bytes, self._complete_requests, self._refuse_arriving)
        self._refuser = Refuser(self, self.config, self._arrival, self._complete_requests)
        self._under_way: RequestResponseCycle | None = None
        self._behind_upgrade: bytes | None = None
        """What was received behind a request for a WebSocket; None without one."""

        # Replies; one link for all requests, because a function per request would be a reference cycle per request
        self._link = ProtocolLink(self._reply, self._abandon)
        self._default_headers: list[tuple[bytes, bytes]] | None = None
        self._default_head = b""

        # Idle time
        self._idle_since: float | None = None
        self._idle_timer = WaitTimer(self.loop, self._idle_seconds_left, self.timeout_keep_alive_handler)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take over a new connection."""
        self._joining = JoiningTransport(transport)
        super().connection_made(self._joining)  # type: ignore[arg-type]  # it has the methods that uvicorn calls
        self._idle_since = self.loop.time()
        self._idle_timer.start(self.timeout_keep_alive)
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
        self._idle_timer.stop()
        self._arrival.stop()

    def data_received(self, data: bytes) -> None:
        """Parse and serve received bytes."""
        if self._beginning is not None:
            self._begin()
        self._parse(data)

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio has it
        """Keep the connection of a client that sends no more until it has its replies."""
        self._begin()
        pending = self._complete_requests()
        if self.scheme == "https" or not pending:
            return False
        pending[-1].keep_alive = False
        return True

    @property
    def is_between(self) -> bool:
        """Whether no request is being served or arriving."""
        is_answered = self.cycle is None or self.cycle.response_complete
        return is_answered and not self._arrival.part and self._beginning is None

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
        # In pieces: a head may have come back for its length, and only bytes after its first piece count.
        for start in range(0, len(beginning.data), PARSED_PIECE_BYTES):
            if not self.transport.is_closing():
                self._parse(beginning.data[start : start + PARSED_PIECE_BYTES])
        # A time limit that began in the other process continues, so that it applies once.
        if 0 < beginning.waits_since < self.loop.time() and not self.transport.is_closing():
            if self._arrival.part:
                self._arrival.go_on_waiting(beginning.waits_since)
            elif self.is_between:
                self._idle_since = beginning.waits_since
                self._idle_timer.look()

    def _parse(self, data: bytes) -> None:
        if self._behind_upgrade is not None:
            self._behind_upgrade += data
            return
        arrival = self._arrival
        arrival.count(len(data))
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if self.parser.get_method() == b"CONNECT":
                    self._refuser.refuse_malformed("CONNECT is for proxies")
                    return
                if self._asks_for_websocket:
                    # Few bytes: no more are read until the app has decided.
                    self._behind_upgrade = data[upgrade.args[0] :]
                    self.flow.pause_reading()
                    return
                # In a loop: each request of a pipeline may ask for an upgrade.
                head = head_without_upgrade(self.parser, self.url, self.headers)
                data = head + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                continue
            except httptools.HttpParserError as error:
                if not (arrival.part == HEAD and arrival.size > MAX_HEAD_BYTES):
                    self._refuser.refuse_malformed(str(error))
                    return
            break
        if arrival.part:
            arrival.await_rest()

    def on_message_begin(self) -> None:
        """Note the beginning of a request head."""
        arrival = self._arrival
        arrival.part, arrival.since, arrival.size = HEAD, None, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Start a request whose head is complete."""
        asks_for_websocket = self._asks_for_websocket
        if self.parser.should_upgrade() and not asks_for_websocket:
            return
        arrival = self._arrival
        if arrival.may_be_long and (size := head_size(self.url, self.headers)) > MAX_HEAD_BYTES:
            arrival.size = size
            raise LongHead
        self._idle_since = None
        arrival.part, arrival.since, arrival.size = BODY, None, 0
        link = self._link
        if self._error is not None:
            link = dataclasses.replace(link, error=self._error)
            self._error = None
        if asks_for_websocket:
            link = dataclasses.replace(link, upgrade=self._upgrade, switch=self._switch)
        self.scope["extensions"] = {LINK: link}  # type: ignore[dict-item]  # ASGI says: values of any type
        super().on_headers_complete()
        if asks_for_websocket:
            # What follows are no requests.
            self.cycle.keep_alive = False

    def on_chunk_header(self) -> None:
        """Drop trailers that may follow: they are not headers of the request (RFC 9110, 6.5)."""
        self.headers = []

    def on_body(self, body: bytes) -> None:
        """Receive a part of the body."""
        self._arrival.size = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the body of the request."""
        if not self.parser.should_upgrade() or self._asks_for_websocket:
            self._arrival.part = NOTHING
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on to the next request of the pipeline, or wait for one."""
        self._joining.end_response()
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        arrival = self._arrival
        if arrival.part:
            arrival.restart()
            if arrival.is_too_long:
                self.loop.call_soon(arrival.await_rest)
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        self._idle_timer.start(self.timeout_keep_alive)

    def _complete_requests(self) -> list[RequestResponseCycle]:
        """Return the requests that have arrived and are not answered, in order."""
        cycles = [self._under_way, *(cycle for cycle, _ in reversed(self.pipeline))]
        return [each for each in cycles if each is not None and not (each.response_complete or each.more_body)]

    def _refuse_arriving(self, problem: Problem) -> None:
        self._refuser.refuse_arriving(problem)

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
            default_headers = self.server_state.default_headers
            if default_headers is not self._default_headers:  # a new list each second, for the date
                self._default_headers = default_headers
                self._default_head = STATUS_LINE[200] + b"".join(b"%b: %b\r\n" % line for line in default_headers)
            close = b"" if cycle.keep_alive else b"connection: close\r\n"
            fields = (self._default_head, media_type, len(body), close)
            head = b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b\r\n" % fields
            cycle.response_started = cycle.response_complete = True
            cycle.waiting_for_100_continue = False
            cycle.message_event.set()
            self._joining.write_whole(head, body)
            if not cycle.keep_alive:
                self.transport.close()
            cycle.on_response()
        return True

    @property
    def _asks_for_websocket(self) -> bool:
        paths = self.config.websockets
        if paths is None or not self.parser.should_upgrade() or not paths.fullmatch(self.url):
            return False
        fields = dict(self.headers)
        is_websocket = fields.get(b"upgrade", b"").strip().lower() == b"websocket"
        has_body = b"transfer-encoding" in fields or fields.get(b"content-length", b"0") != b"0"
        return is_websocket and not has_body and self.parser.get_method() == b"GET"

    def _upgrade(self) -> WebSocket:
        """Make the connection of the current request a WebSocket; see `asgi.ProtocolLink`."""
        # Not at the top: few servers need the library, and it takes 30 ms to import.
        from .websocket import Handshake

        cycle = self._under_way
        assert cycle is not None, "there is a request to upgrade"  # noqa: S101 -- for the type checker
        path = (cycle.scope["raw_path"] + b"?" + cycle.scope["query_string"]).decode("latin-1")
        # The rules of the setting are those of replies; a message is no reply off the hot path, so `remote` compresses none here.
        compresses = self.config.compression == "all"
        handshake = Handshake(path, cycle.scope["headers"], self.config.max_body, compresses=compresses)
        socket = self._make_websocket(self._joining.plain, handshake.protocol)
        switched = self._switch((name.encode(), value.encode("latin-1")) for name, value in handshake.headers)
        socket.begin(switched.received)
        return socket

    def _switch(self, headers: Iterable[tuple[bytes, bytes]]) -> Switched:
        """Answer the current request with 101; see `asgi.ProtocolLink`."""
        cycle = self._under_way
        assert cycle is not None, "there is a request to upgrade"  # noqa: S101 -- for the type checker
        cycle.response_started = cycle.response_complete = cycle.disconnected = True
        lines = [*self.server_state.default_headers, *headers]
        head = b"HTTP/1.1 101 Switching Protocols\r\n" + b"".join(b"%b: %b\r\n" % line for line in lines)
        self._joining.plain.write(head + b"\r\n")
        data, self._behind_upgrade = self._behind_upgrade or b"", None
        self.flow.resume_reading()
        return Switched(self, self._joining.plain, data)

    def _make_websocket(self, transport: asyncio.Transport, protocol: ServerProtocol) -> WebSocket:
        from .websocket import WebSocket

        return WebSocket(self, transport, protocol, self.config.body_timeout)

    def _abandon(self) -> None:
        """End the current request and the connection, because the server stops."""
        assert self._under_way is not None, "there is a request to end"  # noqa: S101 -- for the type checker
        self._refuser.refuse_stopped(self._under_way)

    def _idle_seconds_left(self) -> float | None:
        if self._idle_since is None or self._arrival.part:
            return None  # a request is being served or arriving; its end restarts the timer
        return self._idle_since + self.timeout_keep_alive - self.loop.time()


def head_without_upgrade(parser: httptools.HttpRequestParser, url: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return the bytes of a parsed head without its Upgrade header and the mention of it in Connection."""
    lines = [b"%b %b HTTP/%b" % (parser.get_method(), url, parser.get_http_version().encode())]
    for name, value in headers:
        if name == b"connection":
            tokens = (token.strip() for token in value.split(b","))
            lines.append(b"connection: " + b", ".join(each for each in tokens if each.lower() != b"upgrade"))
        elif name != b"upgrade":
            lines.append(name + b": " + value)
    return b"\r\n".join(lines) + b"\r\n\r\n"
