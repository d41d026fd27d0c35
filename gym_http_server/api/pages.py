"""The pages: a WSGI app beside the API, served by a few threads that no slow client can occupy.

A request takes a thread only after its body is complete, and only while a part of its reply is produced. No thread waits while a
client sends or reads.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any, Final

from ..runtime.messages import JSON
from ..support.threads import DaemonThreads
from .content.headers import HTML, acceptable, combined
from .guard.proxy import root_path
from .normalizer import ClientDisconnected, read_body, send_problem
from .problems import HttpProblem, problem_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed.wsgi import WSGIApplication

    from .asgi import Receive, Scope, Send

MAX_THREADS: Final = 10
"""Number of threads."""

PROBLEM: Final = "gym_http_server.problem"
"""Key in the WSGI environ: status, detail and headers of the problem to show as a page, whatever was requested."""

PART_SECONDS: Final = 60.0
"""Time limit for producing a part of a reply, including the wait for a thread."""

MAX_FORM_BYTES: Final = 1 << 14
"""Maximum bytes of a page's request body: the only form takes a key and a path."""


class Pages:
    """An ASGI app that serves a WSGI app.

    Args:
        app: the WSGI app.
        max_body: maximum size of any request's body in bytes; for pages `MAX_FORM_BYTES` applies, too.
    """

    def __init__(self, app: WSGIApplication, max_body: int) -> None:
        self._app = app
        self._max_body = max_body
        self._threads = DaemonThreads(MAX_THREADS, "pages")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or answer it with a problem."""
        try:
            body = await self._body(scope, receive)
        except ClientDisconnected:
            return
        except HttpProblem as error:
            await self.refuse(error, scope, send)
            return
        await self._reply(_environ(scope, body), send)

    async def refuse(self, problem: HttpProblem, scope: Scope, send: Send) -> None:
        """Answer a request with a problem: as a page if the client prefers HTML, else as problem details."""
        if acceptable(combined(scope["headers"], b"accept"), (JSON, HTML))[:1] == [HTML]:
            shown = problem.status, problem.detail, problem.headers
            await self._reply({**_environ(scope, b""), PROBLEM: shown}, send)
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
            # A thread still uses the reply, so it is not closed.
            if not has_begun:
                await send_problem(problem_of(_late()), send)
        except BaseException:
            reply.close()
            raise
        else:
            reply.close()

    def stop(self) -> None:
        """End the threads without waiting for those that produce a page."""
        self._threads.shutdown()

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        if self._max_body <= MAX_FORM_BYTES:
            return await read_body(scope, receive, self._max_body)
        return await read_body(scope, receive, MAX_FORM_BYTES, setting=None)

    async def _in_thread(self, call: Callable[[], bytes | None]) -> bytes | None:
        return await self._threads.within(PART_SECONDS, call)


class _Reply:
    """The reply of a WSGI app to one request, part by part. `status` and `headers` are set once it has begun."""

    def __init__(self, app: WSGIApplication, environ: dict[str, Any]) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._app = app
        self._environ = environ
        self._written: list[bytes] = []
        self._whole: Iterable[bytes] = ()
        self._parts: Iterator[bytes] = iter(())

    def begin(self) -> bytes | None:
        """Return the first part, or None for an empty reply."""
        self._whole = self._app(self._environ, self._start)
        self._parts = iter(self._whole)
        return self.next_part()

    def next_part(self) -> bytes | None:
        """Return the next part, or None after the last."""
        return self._written.pop(0) if self._written else next(self._parts, None)

    def close(self) -> None:
        """Close the iterable of parts."""
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
    """Return the WSGI environ (PEP 3333) of a request with its whole body."""
    server_name, server_port = scope.get("server") or ("localhost", 80)
    client_address, client_port = scope.get("client") or (None, None)
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": root_path(scope),  # the prefix of every link, file, cookie and redirect
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server_name,
        "SERVER_PORT": str(server_port or 0),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if client_address is not None:
        environ |= {"REMOTE_ADDR": client_address, "REMOTE_PORT": str(client_port)}
    for name, value in scope["headers"]:
        if name in (b"content-length", b"transfer-encoding"):
            continue  # the body is whole, however it was framed
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if name == b"content-type" else f"HTTP_{key}"
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return {**environ, "CONTENT_LENGTH": str(len(body))} if body else environ
