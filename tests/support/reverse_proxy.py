"""A reverse proxy in front of a server, below a path prefix, that may change what passes."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

SECONDS: Final = 60
HOP_BY_HOP: Final = {"connection", "keep-alive", "content-length", "transfer-encoding", "date", "server"}


@dataclass
class Passing:
    """A request as it goes to the server, and its reply as it comes from there."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int = 0
    reply_headers: dict[str, str] | None = None
    reply: bytes = b""


Change = Callable[[Passing], None]


def nothing(_: Passing) -> None:
    """Change nothing."""


class ReverseProxy:
    """Passes requests below its prefix on, and adds headers to the replies as proxies do.

    Args:
        address: the server's.
        prefix: of the paths here.
        before: changes a request on its way there; one whose status it sets is answered here.
        after: changes a reply on its way back.
    """

    def __init__(
        self, address: tuple[str, int], prefix: str = "", before: Change = nothing, after: Change = nothing
    ) -> None:
        proxy = self
        self._connections = threading.local()
        self._address = address

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            timeout = SECONDS

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if not self.path.startswith(f"{prefix}/"):
                    self._answer(404, {"content-type": "text/html"}, b"<h1>nothing here</h1>")
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                passing = Passing(self.command, self.path.removeprefix(prefix), headers, body)
                before(passing)
                if not passing.status:
                    proxy.pass_on(passing)
                after(passing)
                self._answer(passing.status, passing.reply_headers or {}, passing.reply)

            def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                kept = {name: value for name, value in headers.items() if name not in HOP_BY_HOP}
                length = {} if status == 204 else {"Content-Length": str(len(body))}
                for name, value in {**kept, **length, "Via": "1.1 tests", "X-Served-By": "tests"}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- its signature
                pass

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 -- its names

        class Proxy(ThreadingHTTPServer):
            daemon_threads = False

            def handle_error(self, *_: Any) -> None:
                """A client that goes away is what some tests do."""

        self._server = Proxy(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self._server.server_port}{prefix}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(SECONDS)
        self._server.server_close()

    def pass_on(self, passing: Passing) -> None:
        """Have the server answer a request."""
        connection = http.client.HTTPConnection(*self._address, timeout=SECONDS)
        try:
            connection.putrequest(passing.method, passing.path, skip_host=True, skip_accept_encoding=True)
            for name, value in passing.headers.items():
                connection.putheader(name, value)
            connection.endheaders(passing.body or None)
            response = connection.getresponse()
            passing.status = response.status
            passing.reply_headers = {name.lower(): value for name, value in response.getheaders()}
            passing.reply = response.read()
        finally:
            connection.close()
