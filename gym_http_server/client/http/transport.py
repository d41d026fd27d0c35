"""`Transport`: HTTP exchanges over one kept-alive connection per thread.

Retries. A server closes connections that idle too long, so a kept-alive connection is checked before use: if its end, or
anything else, can be read, it is replaced before a byte is sent. (Not a moment after a reply.) It may still break later. Then the request is sent again,
on a new connection and after a delay that doubles each time, if it cannot be executed twice: it changes nothing, it has an
`Idempotency-Key`, the server could not be reached, or the system did not take all of it, so that the server cannot have
read it whole. Otherwise `ServerConnectionError` says so. A request whose answer does not come in time is not sent again:
the server may still be executing it.

Cost. The head of a request is built once for each path and sent with the body in one write; a reply is usually one read.
In processor time of the client's process, medians of 9 interleaved rounds, `RemoteEnv.step` takes 25 µs more than the same
step over a bare socket in JSON, 45 in MessagePack and 29 for a frame of Pong.
"""

from __future__ import annotations

import itertools
import os
import random
import secrets
import threading
import time
import weakref
from typing import TYPE_CHECKING

from .address import DEFAULT_PORT, Address
from .connection import Connection, SilentError
from .problem import ServerConnectionError, ServerProblem
from .reply import BrokenError, EndedError, HttpReply

if TYPE_CHECKING:
    import ssl

JSON = "application/json"
MSGPACK = "application/msgpack"

MAX_RETRIES = 4
_FIRST_DELAY_SECONDS = 0.05  # the maximum before the first retry

_JITTER = random.Random()  # noqa: S311 -- no secret; not the global generator, which a program may have seeded

_MAX_CACHED_HEADS = 1024
_FIRST_ERROR_STATUS = 300  # redirects, which no operation has, are errors too

_pid = os.getpid()
"""The id of this process, noted at a fork: to ask the system is a system call for each request."""


class Transport:
    """Sends requests to one server; threads may share it.

    Args:
        url, api_key, timeout, retries: as for `Client`.
        silence: as for `Connection`; a machine that does not answer is not tried again.

    Raises:
        ValueError: `url` is not the address of a server, or `api_key` cannot be in a header.
    """

    def __init__(
        self, url: str, api_key: str | None, timeout: float | None, retries: int, *, silence: float | None = None
    ) -> None:
        self._address = Address.of(url)
        if retries < 0:
            raise ValueError(f"retries is {retries}, expected 0 or more")
        if timeout is not None and not timeout > 0:
            raise ValueError(f"the timeout is {timeout}, expected seconds above 0, or None to wait for ever")
        self.retries, self._timeout, self._silence = retries, timeout, silence
        # Requests.
        self._keys = _IdempotencyKeys()
        self._common_fields = (
            f"Host: {self._address.authority}\r\nAccept-Encoding: identity\r\nUser-Agent: gym-http-server-client\r\n"
            + ("" if api_key is None else f"Authorization: Bearer {_token(api_key)}\r\n")
        )
        self._heads: dict[tuple[str, str, str, str | None], bytes] = {}
        self._instance_fields: dict[str, dict[str, str]] = {}
        """Further fields of requests for an instance, by the path before its operations."""
        # Connections.
        self._tls: ssl.SSLContext | None = _tls() if self._address.is_secure else None
        self._local = _Local()
        self._lock = threading.Lock()
        # Weak, so that a connection is closed with its thread.
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()

    @property
    def url(self) -> str:
        """The server's address, without a final slash."""
        return self._address.url

    @property
    def timeout(self) -> float | None:
        """Seconds to wait for an answer; None waits for ever."""
        return self._timeout

    @property
    def is_secure(self) -> bool:
        """Whether requests are encrypted."""
        return self._address.is_secure

    def new_key(self) -> bytes:
        """Return a new field `Idempotency-Key`, with its line break."""
        return self._keys.new(_pid)

    def exchange(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        media_type: str = JSON,
        accept: str = JSON,
        repeatable: bool = False,
        keyed: bool = False,
        key: bytes = b"",
    ) -> bytes | bytearray:
        """Send a request and return the body of the reply, in a buffer of its own where it is large.

        Args:
            method: the HTTP method.
            path: the path, percent-encoded.
            content: the body; None sends no body.
            media_type: the media type of the body.
            accept: the media type to ask for.
            repeatable: as for `OperationBase._call`.
            keyed: as for `OperationBase._call`.
            key: the field `Idempotency-Key`; by default a new one.

        Raises:
            ServerProblem: the server answered with an error.
            ServerConnectionError: the server cannot be reached, or the connection ended before the answer.
            TimeoutError: no answer came in time; the server may still be executing the request.
        """
        pid = _pid
        data = self._request(method, path, content, media_type, accept, key or (self._keys.new(pid) if keyed else b""))
        can_repeat = (repeatable or keyed) and self.retries > 0
        attempts = 0
        while True:
            try:
                # A forked process shares the socket with its parent, and each would read the other's answers.
                connection = self._local.connection
                if connection is None or connection.pid != pid or not connection.is_reusable(can_repeat=can_repeat):
                    connection = self._new_connection()
                reply = self._attempt(connection, method, path, data)
                break
            except ServerConnectionError as error:
                self._drop_connection()
                if attempts == self.retries or not (error.is_harmless or repeatable or keyed):
                    raise
                if error.is_silence and self._silence is not None:
                    raise
            except BaseException:
                # After an interrupted exchange too (Ctrl-C): the next request must not read its answer.
                self._drop_connection()
                raise
            # At random, so that the clients of a lost server do not all come back at the same moment.
            time.sleep(_FIRST_DELAY_SECONDS * 2**attempts * _JITTER.uniform(0.5, 1.0))
            attempts += 1
        if not reply.is_kept:
            self._drop_connection()
        if reply.status >= _FIRST_ERROR_STATUS:
            raise ServerProblem.of(reply.status, reply.reason, reply.body)
        return reply.body

    def hold(self, path: str, token: str | None) -> None:
        """Send a token in the header `Instance-Hold` with every request whose path begins with `path`; None sends none."""
        self._set_field(path, "Instance-Hold", token)

    def held(self, path: str) -> str | None:
        """Return the token that `hold` was given for `path`."""
        return self._instance_fields.get(path, {}).get("Instance-Hold")

    def authorize(self, path: str, api_key: str | None) -> None:
        """Send a key with every request whose path begins with `path`; None sends none."""
        self._set_field(path, "Authorization", None if api_key is None else f"Bearer {_token(api_key)}")

    def _set_field(self, path: str, name: str, value: str | None) -> None:
        fields = self._instance_fields.get(path, {})
        if fields.get(name) != value:
            # New objects: other threads may be reading or filling the old ones.
            changed = {key: text for key, text in {**fields, name: value}.items() if text is not None}
            everything = {**self._instance_fields, path: changed}
            self._instance_fields = {its: named for its, named in everything.items() if named}
            self._heads = {}

    def close(self) -> None:
        """Close the connections of all threads, none of which may be in an exchange. A later exchange opens a new connection."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.close()

    def _request(
        self, method: str, path: str, content: bytes | None, media_type: str, accept: str, key: bytes
    ) -> bytes:
        form = (method, path, accept, None if content is None else media_type)
        heads = self._heads
        head = heads.get(form)
        if head is None:
            head = self._head(*form)
            if len(heads) >= _MAX_CACHED_HEADS:  # each instance has its own paths
                heads.clear()
            heads[form] = head
        if content is None:
            return b"%b\r\n%b\r\n" % (head, key)
        return b"%b%d\r\n%b\r\n%b" % (head, len(content), key, content)

    def _head(self, method: str, path: str, accept: str, media_type: str | None) -> bytes:
        head = f"{method} {self._address.prefix}{path} HTTP/1.1\r\n{self._common_fields}Accept: {accept}\r\n"
        for instance, fields in self._instance_fields.items():
            if path.startswith(instance):
                head += "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        if media_type is not None:
            return f"{head}Content-Type: {media_type}\r\nContent-Length: ".encode()
        return head.removesuffix("\r\n").encode() if method == "GET" else f"{head}Content-Length: 0".encode()

    def _new_connection(self) -> Connection:
        """Replace this thread's connection."""
        self._drop_connection()
        try:
            connection = Connection(self._address, self._tls, self._timeout, self._silence)
        except OSError as error:
            port = "" if self._address.port == DEFAULT_PORT else f" --port {self._address.port}"
            raise ServerConnectionError(
                f"cannot connect to {self.url} ({error.strerror or error}): is the server running there? "
                f"This starts one: gym-http-server{port}",
                is_harmless=True,
                is_silence=not isinstance(error, ConnectionRefusedError),
            ) from error
        self._local.connection = connection
        with self._lock:
            self._connections.add(connection)
        return connection

    def _drop_connection(self) -> None:
        connection = self._local.connection
        if connection is not None:
            self._local.connection = None
            connection.close()

    def _attempt(self, connection: Connection, method: str, path: str, data: bytes) -> HttpReply:
        sent_whole = False
        try:
            try:
                connection.send(data)
                sent_whole = True
            except (BrokenPipeError, ConnectionResetError):
                # A server that refuses a large body answers before it has read it all: look for that answer.
                pass
            reply = connection.receive()
        except TimeoutError as error:
            raise TimeoutError(
                f"{method} {self.url}{path}: no answer in time ({error}; the timeout is {self._timeout} s)"
            ) from error
        except BrokenError as error:
            raise ServerConnectionError(f"{method} {self.url}{path}: {error}", is_harmless=False) from error
        except OSError as error:
            doubt = "whether the server executed it is not known" if sent_whole else "the server did not execute it"
            ended = "the server closed the connection without an answer"
            if not isinstance(error, EndedError):
                ended = f"the connection failed ({error})"
            raise ServerConnectionError(
                f"{method} {self.url}{path}: {ended}; {doubt}",
                is_harmless=not sent_whole,
                is_silence=isinstance(error, SilentError),
            ) from error
        return reply if sent_whole else reply._replace(is_kept=False)


def _after_fork_in_child() -> None:
    global _pid
    _pid = os.getpid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class _Local(threading.local):
    """The connection of a thread."""

    connection: Connection | None = None


class _IdempotencyKeys:
    """Makes unique `Idempotency-Key` fields; threads may share it."""

    def __init__(self) -> None:
        self._pid = 0

    def new(self, pid: int) -> bytes:
        """Return a new field of this process, with its line break."""
        if self._pid != pid:
            # After a fork both processes would use the same keys.
            self._prefix = b"Idempotency-Key: %b-" % secrets.token_hex(8).encode()
            self._count = itertools.count()
            self._pid = pid
        return b"%b%d\r\n" % (self._prefix, next(self._count))


def _token(api_key: str) -> str:
    # The message does not repeat the key: messages end up in logs.
    if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise ValueError(
            "the API key cannot be sent: it is to be visible ASCII characters, without spaces or line breaks"
        )
    return api_key


def _tls() -> ssl.SSLContext:
    import ssl  # most clients do not need it, and it takes as long to load as all the rest

    return ssl.create_default_context()
