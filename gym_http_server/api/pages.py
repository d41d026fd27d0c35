"""The pages: a WSGI app beside the API, served from a few threads that no client can hold.

A request takes a thread once its body is whole, and only for as long as a part of its reply is made. While a body comes, or the
client reads what it was sent, no thread waits for it, so that slow clients delay nobody else's pages.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from a2wsgi.wsgi import build_environ

from ..runtime.messages import JSON
from ..support.threads import DaemonThreads
from .content.negotiation import HTML, acceptable
from .guard.proxy import root_path
from .headers import combined
from .normalizer import ClientDisconnected, read_body, send_problem
from .problems import HttpProblem, problem_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed.wsgi import WSGIApplication

    from .normalizer import Receive, Scope, Send

WORKERS: Final = 10
"""How many threads there are."""

PROBLEM: Final = "gym_http_server.problem"
"""In the WSGI environ of a request: the `HttpProblem` that a page is to tell of, whatever was asked for; None for none."""

PART_SECONDS: Final = 60.0
"""How long a part of a reply may take to be made, the wait for a thread included."""

LARGEST_FORM: Final = 1 << 14
"""The largest body of a page's request, in bytes: the only form there is takes a key and a path."""


class Pages:
    """An ASGI app that serves a WSGI app.

    Args:
        app: the WSGI app.
        max_body: the largest body of any request, in bytes; that of a page's has `LARGEST_FORM` at most, too.
    """

    def __init__(self, app: WSGIApplication, max_body: int) -> None:
        self._app = app
        self._max_body = max_body
        self._threads = DaemonThreads(WORKERS, "pages")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or answer the problem with it."""
        try:
            body = await self._body(scope, receive)
        except ClientDisconnected:
            return
        except HttpProblem as error:
            await self.refuse(error, scope, send)
            return
        await self._reply(_environ(scope, body), send)

    async def refuse(self, problem: HttpProblem, scope: Scope, send: Send) -> None:
        """Answer a request with a problem: as a page, where a browser asks for one, and as problem details elsewhere."""
        if acceptable(combined(scope["headers"], b"accept"), (JSON, HTML))[:1] == [HTML]:
            await self._reply({**_environ(scope, b""), PROBLEM: problem}, send)
        else:
            await send_problem(problem_of(problem), send)

    async def _reply(self, environ: dict[str, Any], send: Send) -> None:
        reply = _Reply(self._app, environ)
        has_begun = False
        try:
            part = await self._in_thread(reply.begin)
            has_begun = True
            await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
            while part is not None:
                await send({"type": "http.response.body", "body": part, "more_body": True})
                part = await self._in_thread(reply.next_part)
            await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            # A thread is still at it, so that nothing is closed under its hands.
            if not has_begun:
                await send_problem(problem_of(_late()), send)
        except BaseException:
            reply.close()
            raise
        else:
            reply.close()

    def stop(self) -> None:
        """End the threads, without waiting for those that are making a page."""
        self._threads.shutdown()

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        if self._max_body <= LARGEST_FORM:
            return await read_body(scope, receive, self._max_body)
        return await read_body(scope, receive, LARGEST_FORM, setting=None)

    async def _in_thread(self, call: Callable[[], bytes | None]) -> bytes | None:
        return await self._threads.within(PART_SECONDS, call)


class _Reply:
    """The reply of a WSGI app to one request, part by part.

    Args:
        app: the WSGI app.
        environ: the request.

    Attributes:
        status, headers: its head, once it has begun.
    """

    def __init__(self, app: WSGIApplication, environ: dict[str, Any]) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._app = app
        self._environ = environ
        self._written: list[bytes] = []
        self._whole: Iterable[bytes] = ()
        self._parts: Iterator[bytes] = iter(())

    def begin(self) -> bytes | None:
        """Return the first part, or None where there is none."""
        self._whole = self._app(self._environ, self._start)
        self._parts = iter(self._whole)
        return self.next_part()

    def next_part(self) -> bytes | None:
        """Return the next part, or None after the last."""
        return self._written.pop(0) if self._written else next(self._parts, None)

    def close(self) -> None:
        """Let go of what the parts are read from."""
        getattr(self._whole, "close", lambda: None)()

    def _start(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: object = None,  # noqa: ARG002 -- PEP 3333's signature; nothing is sent before the first part
        /,
    ) -> Callable[[bytes], object]:
        self.status = int(status.split(" ", 1)[0])
        self.headers = [
            (name.strip().lower().encode("latin-1"), value.strip().encode("latin-1")) for name, value in headers
        ]
        return self._written.append


def _late() -> HttpProblem:
    detail = f"the page was not made within {PART_SECONDS:g} s: what it shows is kept where the server has no answer from; try again"
    return HttpProblem(504, "page-timeout", detail, limit=PART_SECONDS)


def _environ(scope: Scope, body: bytes) -> dict[str, Any]:
    """Return the request as PEP 3333 has it, with the whole body."""
    framing = (b"content-length", b"transfer-encoding")
    headers = [(name, value) for name, value in scope["headers"] if name not in framing]
    if body:
        headers.append((b"content-length", b"%d" % len(body)))
    # a2wsgi names an ASGI server's messages, and what a body is read from, by its own types.
    request: Any = {**scope, "headers": headers}
    stream: Any = io.BytesIO(body)
    # The links of every page, its files, cookies and redirects begin with it.
    return {**build_environ(request, stream), "SCRIPT_NAME": root_path(scope)}
