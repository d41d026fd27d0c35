"""The HTTP/1.1 protocol of a connection: uvicorn's, with two system calls and a timer less for each request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from .api.problems import Problem

if TYPE_CHECKING:
    import asyncio

CONTINUE = b"HTTP/1.1 100 "

FEW = 1 << 16
"""A body of fewer bytes is copied behind its head, which is faster than handing over two pieces."""


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol.

    - Head and body of a response go out in one write. The client would otherwise wake up for each, and for the head in
      vain.
    - The timer that closes an idle connection runs on while requests come, instead of being cancelled and started anew
      by each.
    - Bytes that are no HTTP request are answered with problem details.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take over a new connection."""
        self._joining = JoiningTransport(transport)
        self._idle_since: float | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        super().connection_made(self._joining)  # type: ignore[arg-type]  # it has the methods that uvicorn calls

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of a connection that is closed."""
        super().connection_lost(exc)
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

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
        if remaining <= 0:
            super().timeout_keep_alive_handler()
        else:
            self._idle_timer = self.loop.call_later(remaining, self.timeout_keep_alive_handler)

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not an HTTP request."""
        problem = Problem(400, "malformed-request", f"these bytes are not an HTTP/1.1 request: {msg}")
        headers = {**problem.headers, "content-length": str(len(problem.body)), "connection": "close"}
        head = b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in headers.items())
        self.transport.write(STATUS_LINE[400] + head + b"\r\n" + problem.body)
        self.transport.close()


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

    def write(self, data: bytes) -> None:
        """Write bytes, after the head where one was kept back."""
        if self._head is not None:
            head, self._head = self._head, None
            if len(data) < FEW:
                self._transport.write(head + data)
            else:
                self._transport.writelines((head, data))
        elif self._expects_head and not data.startswith(CONTINUE):
            self._head, self._expects_head = data, False
        else:
            self._transport.write(data)

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
