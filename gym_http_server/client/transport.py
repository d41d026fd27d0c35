"""HTTP exchanges over one kept-alive connection per thread.

When a request is sent again. A server closes connections that idle too long, so a kept-alive connection is looked at
before it is used: if its end, or anything else, can already be read, it is replaced before a byte is sent. The server
may still close it between that look and the request. If then the request could not be handed to the system whole, the
server cannot have read all of it, so it was not executed and is sent once more on a new connection. If it was handed
over whole and no answer came, nothing proves that it was not executed: only requests that change nothing are sent
again, the others raise `ConnectionError` and say so. On a new connection nothing is ever sent twice.
"""

from __future__ import annotations

import http.client
import os
import select
import sys
import threading
import weakref
from typing import Any
from urllib.parse import SplitResult, urlsplit

from .problem import ServerProblem

JSON = "application/json"
DEFAULT_PORT = 5000
CONNECT_TIMEOUT = 10.0


class Transport:
    """Sends requests to one server; threads may share it.

    Args:
        url: where the server is, such as `http://127.0.0.1:5000`; a path in it is put before every request's path.
        timeout: seconds to wait for an answer; None waits for ever.

    Raises:
        ValueError: `url` is not the address of a server.
    """

    def __init__(self, url: str, timeout: float | None) -> None:
        parts = _split(url)
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._prefix = parts.path.rstrip("/")
        self._timeout = timeout
        self._local = threading.local()
        self._lock = threading.Lock()
        # Weak, so that the connection of a thread that has ended is closed with it and not kept here.
        self._connections: weakref.WeakSet[_Connection] = weakref.WeakSet()

    def exchange(
        self, method: str, path: str, content: bytes | None = None, *, accept: str = JSON, repeatable: bool = False
    ) -> bytes:
        """Send a request and return the body of the reply.

        Args:
            method: the HTTP method.
            path: the path, percent-encoded.
            content: a JSON body, or None for a request without one.
            accept: the media type to ask for.
            repeatable: the request changes nothing, so it may be sent again if no answer came.

        Raises:
            ServerProblem: the server answered with an error.
            ConnectionError: the server cannot be reached, or the connection ended before the answer.
            TimeoutError: no answer came in time; the server may still be at it.
        """
        headers = {"Accept": accept, "User-Agent": "gym-http-server-client"}
        if content is not None:
            headers["Content-Type"] = JSON
        connection = self._connection()
        try:
            if connection.is_reusable():
                try:
                    return self._attempt(connection, method, path, content, headers)
                except _UnansweredError as error:
                    if error.sent_whole and not repeatable:
                        raise
            self._connect(connection)
            return self._attempt(connection, method, path, content, headers)
        except ServerProblem:
            raise
        except BaseException:
            # An interrupted exchange too (Ctrl-C): its answer must not be read as that of the next request.
            connection.close()
            raise

    def close(self) -> None:
        """Close the connections of all threads, none of which may be in an exchange. A later exchange opens a new one."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.close()

    def _connection(self) -> _Connection:
        connection: _Connection | None = getattr(self._local, "connection", None)
        # A forked process would share the socket with its parent, and each would read the other's answers.
        if connection is None or connection.pid != os.getpid():
            kind = _TLSConnection if self._tls else _Connection
            connection = kind(self._host, self._port, timeout=self._timeout)
            self._local.connection = connection
            with self._lock:
                self._connections.add(connection)
        return connection

    def _connect(self, connection: _Connection) -> None:
        connection.close()
        try:
            connection.open(self._timeout)
        except OSError as error:
            port = "" if self._port == DEFAULT_PORT else f" --port {self._port}"
            raise ConnectionError(
                f"cannot connect to {self.url} ({error.strerror or error}): is the server running there? "
                f"This starts one: gym-http-server{port}"
            ) from error

    def _attempt(
        self, connection: _Connection, method: str, path: str, content: bytes | None, headers: dict[str, str]
    ) -> bytes:
        request = f"{method} {self.url}{path}"
        sent_whole = False
        try:
            try:
                connection.write(method, self._prefix + path, content, headers)
                sent_whole = True
            except (BrokenPipeError, ConnectionResetError):
                # A server that refuses a large body answers before it has read it all: look for that answer.
                pass
            response = connection.getresponse()
        except TimeoutError as error:
            raise TimeoutError(f"{request}: no answer in time ({error}; the timeout is {self._timeout} s)") from error
        except ConnectionError as error:
            raise _UnansweredError(request, sent_whole=sent_whole) from error
        except http.client.HTTPException as error:
            raise ConnectionError(f"{request}: what answers there does not speak HTTP ({error!r})") from error
        try:
            body = response.read()
        except TimeoutError as error:
            raise TimeoutError(
                f"{request}: the answer stopped in the middle ({error}; the timeout is {self._timeout} s)"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionError(f"{request}: the connection ended in the middle of the answer ({error!r})") from error
        if not sent_whole:
            connection.close()
        if response.status >= http.client.MULTIPLE_CHOICES:
            raise ServerProblem.of(response.status, response.reason, body)
        return body


class _UnansweredError(ConnectionError):
    """The connection ended before a byte of the answer came."""

    def __init__(self, request: str, *, sent_whole: bool) -> None:
        doubt = "whether the server executed it is not known" if sent_whole else "the server did not execute it"
        super().__init__(f"{request}: the server closed the connection without an answer; {doubt}")
        self.sent_whole = sent_whole


class _Connection(http.client.HTTPConnection):
    """A connection of one thread of one process, closed when nothing refers to it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pid = os.getpid()
        self._held: list[bytes] | None = None

    def __del__(self) -> None:
        self.close()

    def open(self, timeout: float | None) -> None:
        """Connect; http.client switches Nagle's algorithm off."""
        # A host that swallows packets should not cost as long as an environment may take to answer.
        self.timeout = CONNECT_TIMEOUT if timeout is None else min(timeout, CONNECT_TIMEOUT)
        self.connect()
        self.sock.settimeout(timeout)

    def is_reusable(self) -> bool:
        """Return whether the connection is open and there is nothing on it to read, not even its end."""
        if self.sock is None:
            return False
        if sys.platform != "win32":
            poll = select.poll()  # select.select refuses descriptors over 1023
            poll.register(self.sock, select.POLLIN)
            return not poll.poll(0)
        return not select.select([self.sock], [], [], 0)[0]

    def send(self, data: Any) -> None:
        """Send `data`, or hold it while `write` collects a request."""
        if self._held is None:
            super().send(data)
        else:
            self._held.append(data)

    def write(self, method: str, path: str, content: bytes | None, headers: dict[str, str]) -> None:
        """Send a request, head and body in one write: http.client makes two, and the server is woken by each."""
        self._held = []
        try:
            self.request(method, path, content, headers)
            data = b"".join(self._held)
        finally:
            self._held = None
        self.sock.sendall(data)


class _TLSConnection(_Connection, http.client.HTTPSConnection):
    """The same over TLS, with the system's certificates."""


def _split(url: str) -> SplitResult:
    wrong = ValueError(f"{url!r} is not the address of a server: give one such as http://127.0.0.1:{DEFAULT_PORT}")
    if any(character.isspace() for character in url):
        raise wrong
    try:
        parts = urlsplit(url)
        usable = parts.port != 0
    except ValueError as error:
        raise wrong from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None or not usable:
        raise wrong
    if parts.query or parts.fragment:
        raise wrong
    return parts
