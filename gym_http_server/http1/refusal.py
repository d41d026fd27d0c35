"""Replies to requests that the app cannot answer: malformed, late, too long, or ended by a stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from ..api.problems import Problem
from ..api.request import REQUEST_ID_HEADER, sent_id
from ..api.telemetry.access_log import REFUSED
from .arrival import BODY

if TYPE_CHECKING:
    from collections.abc import Callable

    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

    from ..api.asgi import Scope
    from .arrival import Arrival
    from .configuration import Configuration


class Refuser:
    """Answers requests of a connection with problem details in place of the app, and closes the connection."""

    def __init__(
        self,
        protocol: HttpToolsProtocol,
        config: Configuration,
        arrival: Arrival,
        complete_requests: Callable[[], list[RequestResponseCycle]],
    ) -> None:
        self._protocol = protocol
        self._config = config
        self._arrival = arrival
        self._complete_requests = complete_requests

    def refuse_malformed(self, reason: str) -> None:
        """Answer bytes that are not an HTTP request with 400, unless replies to earlier requests are pending."""
        if pending := self._complete_requests():
            # The reply would be taken for one of theirs.
            pending[-1].keep_alive = False
            self._protocol.flow.pause_reading()
        else:
            detail = f"these bytes are not an HTTP/1.1 request: {reason}"
            self._refuse_incomplete(Problem(400, "malformed-request", detail))

    def refuse_arriving(self, problem: Problem) -> None:
        """Answer the request that is arriving, after those before it."""
        if self._complete_requests():
            self._protocol.flow.pause_reading()
        else:
            self._refuse_incomplete(problem)

    def refuse_stopped(self, cycle: RequestResponseCycle) -> None:
        """End a request because the server stops: with 503, or by closing the connection if its reply has begun."""
        if cycle.response_started or self._protocol.transport.is_closing():
            self._protocol.transport.close()
        else:
            seconds = self._config.timeout_graceful_shutdown
            detail = (
                "the server is stopping and has ended this request; whether it was executed is not known: send it to the next "
                f"server, or start that with a larger --shutdown-timeout than {seconds} s"
            )
            self._answer(Problem(503, "server-stopping", detail, limit=seconds, setting="shutdown_timeout"), cycle)
        cycle.disconnected = True  # uvicorn expects no response then

    def _refuse_incomplete(self, problem: Problem) -> None:
        if self._arrival.part != BODY:
            self._answer(problem, None)
            return
        cycle = self._protocol.cycle
        if cycle.response_complete:
            self._protocol.transport.close()
        elif cycle.response_started:
            cycle.keep_alive = False
            self._protocol.flow.pause_reading()
        else:
            # The app may be waiting for the body: it gets a disconnect.
            cycle.disconnected = True
            cycle.message_event.set()
            self._answer(problem, cycle)

    def _answer(self, problem: Problem, cycle: RequestResponseCycle | None) -> None:
        """Send a problem and close the connection; `cycle` is the request if the app has it."""
        protocol = self._protocol
        scope: Scope = {"headers": [], "client": protocol.client}
        if cycle is not None or self._arrival.part:
            scope = protocol.scope if cycle is None else cycle.scope  # type: ignore[assignment]  # uvicorn's type is stricter
        content = b"" if cycle is not None and scope["method"] == "HEAD" else problem.body
        sent = problem.status, len(content)
        if cycle is not None:
            scope["state"][REFUSED] = sent
        if self._config.on_refused is not None:
            self._config.on_refused(*sent, scope if cycle is None else None)
        headers = {**problem.headers, "content-length": str(len(problem.body)), "connection": "close"}
        if (request_id := sent_id(scope)) is not None:
            headers[REQUEST_ID_HEADER.decode()] = request_id
        given = ((name.encode(), value.encode("latin-1")) for name, value in headers.items())
        lines = [*protocol.server_state.default_headers, *given]
        head = b"".join(b"%b: %b\r\n" % line for line in lines)
        protocol.transport.write(STATUS_LINE[problem.status] + head + b"\r\n" + content)
        protocol.transport.close()
