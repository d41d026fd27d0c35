"""`Implementation`: the server under test, which is asked nothing that the ledger forbids.

Whatever the kit creates there is closed at the end, also after a failure or a signal.
"""

from __future__ import annotations

import contextlib
import http.client
import signal
import ssl
import zlib
from typing import TYPE_CHECKING, Any, Self

from ..client.http.address import Address
from .exchange import Answer, Exchange, NoAnswer, Request, Sent
from .ledger import ENVS, Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

_BAD_REQUEST = 400
_ZLIB = frozenset({"gzip", "deflate"})
_ANY_HEADER_WBITS = 47
"""zlib's `wbits` that accepts gzip's header and its own."""


class Implementation:
    """An implementation of the contract, at a URL.

    Args:
        url: its URL; a path in it prefixes the path of every request.
        api_key: sent with every request as `Authorization: Bearer …`; None for none.
        timeout: seconds to wait for an answer.
        results: the directory on its machine for recordings; None for a new one below its first results root.

    Attributes:
        address: the parts of the URL.
        requests: number of requests sent, without closes at the end.
        ledger: the instances and recordings that the kit created.
        has_gone: the implementation stopped answering, so nothing can be closed.

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
        self._signal: signal.Signals | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Its URL, without a final slash."""
        return self.address.url

    @property
    def key_headers(self) -> dict[str, str]:
        """The header with the key; empty without a key."""
        return {} if self._api_key is None else {"Authorization": f"Bearer {self._api_key}"}

    def interrupt(self, number: int, frame: Any) -> None:
        """Handle a signal: the next request raises KeyboardInterrupt, so that no creation is left without its answer.

        Raises:
            KeyboardInterrupt: a second signal came, which does not wait.
        """
        if self._signal is not None:
            signal.default_int_handler(number, frame)
        self._signal = signal.Signals(number)

    def admit(self, method: str, path: str) -> None:
        """Check and count a request that is about to be sent.

        Raises:
            KeyboardInterrupt: a signal came.
            PermissionError: the ledger forbids the request.
        """
        if self._signal is not None:
            raise KeyboardInterrupt(f"stopped before the end by {self._signal.name}")
        self.ledger.permit(method, path)
        self.requests += 1

    def ask(self, request: Request) -> Exchange:
        """Send a request and return it with its answer.

        Raises:
            NoAnswer: the connection failed, or the answer took too long.
        """
        self.admit(request.method, request.path)
        return self._exchange(request)

    def abandon(self, request: Request) -> None:
        """Send a request on a new connection and close that before an answer can come."""
        self.admit(request.method, request.path)
        connection = self._connection()
        try:
            self._send(connection, request)
        finally:
            connection.close()

    def sent(self, request: Request) -> Sent:
        """Return a request with the curl command that repeats it."""
        curl = request.curl(self.url, has_key=self._api_key is not None)
        return Sent(request, self.ledger.with_variable(curl))

    @contextlib.contextmanager
    def closing(self) -> Iterator[None]:
        """Close at the end the instances that were created meanwhile."""
        before = self.ledger.alive
        try:
            yield
        finally:
            self.close_instances(but=before)

    def close(self) -> None:
        """Close the kit's instances, including those whose creation had no answer, and the connection."""
        if self.has_gone:
            self._kept.close()
            return
        unanswered, self.ledger.unanswered = self.ledger.unanswered, []
        try:
            with contextlib.suppress(NoAnswer):
                for creation in unanswered:
                    self._exchange(creation)
            self.close_instances()
        finally:
            self._kept.close()

    def close_instances(self, but: frozenset[str] = frozenset()) -> None:
        """Close the kit's instances.

        Args:
            but: instances to leave open.
        """
        for instance_id in () if self.has_gone else self.ledger.alive - but:
            # The checks report what is wrong with a close; here the other instances have to be closed, too.
            with contextlib.suppress(NoAnswer):
                answer = self._exchange(Request("POST", f"{ENVS}{instance_id}/close/")).answer
                if answer.status == _BAD_REQUEST:
                    self.ledger.forget(instance_id)

    def _exchange(self, request: Request) -> Exchange:
        try:
            answer = self._answer(request)
        except (OSError, http.client.HTTPException, KeyboardInterrupt) as error:
            self.ledger.note_silence(request)
            if isinstance(error, KeyboardInterrupt):
                raise
            reason = f"no answer within {self.timeout:g} s" if isinstance(error, TimeoutError) else _words(error)
            raise NoAnswer("an answer", reason, self.sent(request)) from error
        self.ledger.note(request, answer)
        return Exchange(request, self.sent(request).curl, answer)

    def _answer(self, request: Request) -> Answer:
        was_kept = self._kept.sock is not None
        try:
            return self._attempt(request)
        except ConnectionError:
            if not was_kept:
                raise
            # A server may close an idle connection: browsers, too, send such a request once more.
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
    """Return a decompressed body; a body that cannot be decompressed is left for the checks."""
    if headers.get("content-encoding", "").lower() not in _ZLIB:
        return body
    try:
        return zlib.decompress(body, wbits=_ANY_HEADER_WBITS)
    except zlib.error:
        return body


def _words(error: Exception) -> str:
    return f"the connection failed ({error or type(error).__name__})"
