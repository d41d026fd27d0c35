"""`Implementation`: the server under test. Every request of the kit passes through it.

A deployment is somebody's. So what goes there is looked at first and what it makes is written down (`ledger.py`), and all of
that is closed at the end, whatever happened in between.
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
import zlib
from typing import TYPE_CHECKING, Self

from ..client.http.address import Address
from .exchange import Answer, Exchange, NoAnswer, Request, Sent
from .interrupt import whole
from .ledger import ENVS, Ledger, is_creation

if TYPE_CHECKING:
    from collections.abc import Iterator

_BAD_REQUEST = 400
_ZLIB = frozenset({"gzip", "deflate"})
_ANY_HEADER = 47
"""What makes zlib take gzip's format and its own."""


class Implementation:
    """An implementation of the contract, at a URL.

    Args:
        url: where it is; a path in it is put before every request's path.
        api_key: sent with every request as `Authorization: Bearer …`; None sends none.
        timeout: seconds to wait for an answer.
        results: the directory on its machine to record below; one of its own under the first results root where it is None.

    Attributes:
        address: what the URL says.
        requests: how many were sent.
        ledger: what was made there.
        has_gone: it does not answer any more, so nothing is closed there.

    Raises:
        ValueError: `url` is not the address of a server, or `api_key` cannot be in a header.
    """

    def __init__(self, url: str, api_key: str | None = None, timeout: float = 60.0, results: str | None = None) -> None:
        if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
            raise ValueError("the key has characters that cannot be in a header")
        self.address = Address.of(url)
        self.timeout = timeout
        self.requests = 0
        self.tls = ssl.create_default_context() if self.address.is_secure else None
        self._api_key = api_key
        self._kept = self._connection()
        self.ledger = Ledger(results)
        self.has_gone = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where it is, without a final slash."""
        return self.address.url

    @property
    def key_headers(self) -> dict[str, str]:
        """The header with the key, where there is one."""
        return {} if self._api_key is None else {"Authorization": f"Bearer {self._api_key}"}

    def ask(self, request: Request) -> Exchange:
        """Send a request and return it with its answer.

        Raises:
            NoAnswer: the connection failed, or no answer came in time.
        """
        with self.sending(request.method, request.path):
            try:
                answer = self._answer(request)
            except (OSError, http.client.HTTPException) as error:
                self.ledger.note_silence(request)
                reason = f"no answer within {self.timeout:g} s" if isinstance(error, TimeoutError) else _words(error)
                raise NoAnswer("an answer", reason, self.sent(request)) from error
            self.ledger.note(request, answer)
        return Exchange(request, self._curl(request), answer)

    @contextlib.contextmanager
    def sending(self, method: str, path: str) -> Iterator[None]:
        """Send a request within this: it may be sent, is counted, and what it makes is noted before anything else happens.

        Raises:
            PermissionError: it may not be sent.
        """
        self.ledger.permit(method, path)
        self.requests += 1
        with whole() if is_creation(method, path) else contextlib.nullcontext():
            yield

    def abandon(self, request: Request) -> None:
        """Send a request on a connection of its own, and close that before an answer can come."""
        with self.sending(request.method, request.path):
            connection = self._connection()
            try:
                self._send(connection, request)
            finally:
                connection.close()

    def sent(self, request: Request) -> Sent:
        """Return a request with the command that sends it again."""
        return Sent(request, self._curl(request))

    def _curl(self, request: Request) -> str:
        return self.ledger.with_variable(request.curl(self.url, has_key=self._api_key is not None))

    @contextlib.contextmanager
    def closing(self) -> Iterator[None]:
        """Close at the end what was made meanwhile."""
        before = self.ledger.alive
        try:
            yield
        finally:
            self.close_instances(but=before)

    def close(self) -> None:
        """Close every instance that the kit made, also those whose creation had no answer, and the connection."""
        if self.has_gone:
            self._kept.close()
            return
        unanswered, self.ledger.unanswered = self.ledger.unanswered, []
        try:
            with contextlib.suppress(NoAnswer):
                for each in unanswered:
                    self.ask(each)
            self.close_instances()
        finally:
            self._kept.close()

    def close_instances(self, but: frozenset[str] = frozenset()) -> None:
        """Close the instances that the kit made.

        Args:
            but: those to leave.
        """
        for each in () if self.has_gone else self.ledger.alive - but:
            # The others are to be closed, too; what is wrong with a close is what the checks tell.
            with contextlib.suppress(NoAnswer):
                answer = self.ask(Request("POST", f"{ENVS}{each}/close/")).answer
                if answer.status == _BAD_REQUEST:
                    self.ledger.forget(each)

    def _answer(self, request: Request) -> Answer:
        was_kept = self._kept.sock is not None
        try:
            return self._attempt(request)
        except ConnectionError:
            if not was_kept:
                raise
            # A server may close a connection that idles; the request that met that is sent once more, as browsers do.
            return self._attempt(request)

    def _attempt(self, request: Request) -> Answer:
        try:
            self._send(self._kept, request)
            response = self._kept.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, _plain(response.read(), headers))
        except BaseException:
            self._kept.close()
            raise

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self.address.host, self.address.port
        if self.tls is None:
            return http.client.HTTPConnection(host, port, timeout=self.timeout)
        return http.client.HTTPSConnection(host, port, timeout=self.timeout, context=self.tls)

    def _send(self, connection: http.client.HTTPConnection, request: Request) -> None:
        path = self.address.prefix + request.path
        connection.putrequest(request.method, path, skip_host=True, skip_accept_encoding=True)
        length = {"Content-Length": str(len(request.body))} if request.body or request.method == "POST" else {}
        headers = {"Host": self.address.authority, **request.headers, **length, **self.key_headers}
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(request.body or None)


def _plain(body: bytes, headers: dict[str, str]) -> bytes:
    """Return a body without its encoding; one that cannot be undone is left for the checks."""
    if headers.get("content-encoding", "").lower() not in _ZLIB:
        return body
    try:
        return zlib.decompress(body, wbits=_ANY_HEADER)
    except zlib.error:
        return body


def _words(error: Exception) -> str:
    return f"the connection failed ({error or type(error).__name__})"
