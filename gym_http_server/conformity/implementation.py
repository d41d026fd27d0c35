"""`Implementation`: what is checked, at its URL. Every request of the kit comes by here.

A deployment is somebody's. So what goes there is looked at first (`permit`), what it makes is written down (`note`), and all
of that is closed at the end, whatever happened in between.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import secrets
import ssl
import zlib
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote

from ..client.address import Address
from .exchange import Answer, Exchange, Request, Sent
from .interrupt import whole
from .nonconformity import NoAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVS = "/v1/envs/"
MOST_ALIVE = 31
"""How many instances the kit has at once; a deployment has others to serve."""

NOBODY = "no-instance-"
"""What the ids begin with that the kit invents; no implementation gives such a one."""

_OK, _REDIRECT, _BAD_REQUEST = 200, 300, 400
_ZLIB = frozenset({"gzip", "deflate"})
_ANY_HEADER = 47
"""What makes zlib take gzip's format and its own."""

_NOBODIES = frozenset({"bad_id"})
"""The unknown id that old clients' sessions ask for."""

_COULD_BE_AN_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_OF_AN_INSTANCE = re.compile(r"/v1/envs/([^/]+)(/.*)?", re.DOTALL)


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

    Raises:
        ValueError: `url` is not the address of a server.
    """

    def __init__(self, url: str, api_key: str | None = None, timeout: float = 60.0, results: str | None = None) -> None:
        self.address = Address.of(url)
        self.timeout = timeout
        self.requests = 0
        self.tls = ssl.create_default_context() if self.address.is_secure else None
        self._api_key = api_key
        self._kept = self._connection()
        self._made: dict[str, str] = {}
        self._alive: set[str] = set()
        self._results = results or f"conformity-{secrets.token_hex(4)}"
        self._directories = 0

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

    @property
    def recordings(self) -> str | None:
        """The directory on its machine below which the kit has recorded, or None where it has not."""
        return self._results if self._directories else None

    def fresh_directory(self) -> str:
        """Return the name of a directory that is not there yet, relative to the first of the results roots."""
        self._directories += 1
        return f"{self._results}/{self._directories}"

    def could_be_anothers(self, instance_id: str) -> bool:
        """Return whether there may be an instance of this id that the kit did not make."""
        if instance_id in self._made or instance_id in _NOBODIES or instance_id.startswith(NOBODY):
            return False
        return _COULD_BE_AN_ID.fullmatch(instance_id) is not None

    def permit(self, method: str, path: str) -> None:
        """Refuse a request that a deployment has to be spared.

        Raises:
            PermissionError: it would stop the server, touch an instance that the kit did not make, or make one too many.
        """
        plain = unquote(path.partition("?")[0]).rstrip("/")
        if plain.endswith("/v1/shutdown"):
            raise PermissionError(f"{method} {path} would stop the server")
        if _is_creation(method, path) and len(self._alive) >= MOST_ALIVE:
            raise PermissionError(f"the kit keeps no more than {MOST_ALIVE} instances at once")
        named = _OF_AN_INSTANCE.fullmatch(plain)
        if named is not None and self.could_be_anothers(named[1]):
            raise PermissionError(f"{method} {path} may touch an instance that is not the kit's")

    def note(self, request: Request, answer: Answer) -> None:
        """Write down what an answer says was made or closed."""
        if not _OK <= answer.status < _REDIRECT:
            return
        path = unquote(request.path.partition("?")[0]).rstrip("/")
        if _is_creation(request.method, path):
            made = _member(answer.body, "instance_id")
            if made is not None:
                self._made[made] = _member(request.body, "env_id") or "?"
                self._alive.add(made)
        named = _OF_AN_INSTANCE.fullmatch(path)
        if named is not None and (request.method, named[2]) in {("POST", "/close"), ("DELETE", None)}:
            self._alive.discard(named[1])

    def ask(self, request: Request) -> Exchange:
        """Send a request and return it with its answer.

        Raises:
            NoAnswer: the connection failed, or no answer came in time.
        """
        with self.sending(request.method, request.path):
            try:
                answer = self._answer(request)
            except (OSError, http.client.HTTPException) as error:
                reason = f"no answer within {self.timeout:g} s" if isinstance(error, TimeoutError) else _words(error)
                raise NoAnswer("an answer", reason, self.sent(request)) from error
            self.note(request, answer)
        return Exchange(request, self._curl(request), answer)

    @contextlib.contextmanager
    def sending(self, method: str, path: str) -> Iterator[None]:
        """Send a request within this: it may be sent, is counted, and what it makes is noted before anything else happens.

        Raises:
            PermissionError: it may not be sent.
        """
        self.permit(method, path)
        self.requests += 1
        with whole() if _is_creation(method, path) else contextlib.nullcontext():
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
        return self.with_variable(request.curl(self.url, has_key=self._api_key is not None))

    def with_variable(self, command: str) -> str:
        """Return a command with `$instance_id` for an instance of the kit, which is closed by the time it is read."""
        named = re.search(r"/v1/envs/([A-Za-z0-9._~-]+)", command)
        if named is None or named[1] not in self._made:
            return command
        return f"{command.replace(named[1], '$instance_id')}  # that of a new {self._made[named[1]]}, after a reset"

    @contextlib.contextmanager
    def closing(self) -> Iterator[None]:
        """Close at the end what was made meanwhile."""
        before = self.alive
        try:
            yield
        finally:
            self.close_instances(but=before)

    def close(self) -> None:
        """Close every instance that the kit made, and the connection."""
        try:
            self.close_instances()
        finally:
            self._kept.close()

    @property
    def alive(self) -> frozenset[str]:
        """The ids of the instances that the kit made and has not closed."""
        return frozenset(self._alive)

    def close_instances(self, but: frozenset[str] = frozenset()) -> None:
        """Close the instances that the kit made.

        Args:
            but: those to leave.
        """
        for each in self.alive - but:
            # The others are to be closed, too; what is wrong with a close is what the checks tell.
            with contextlib.suppress(NoAnswer):
                answer = self.ask(Request("POST", f"{ENVS}{each}/close/")).answer
                if answer.status == _BAD_REQUEST:
                    self._alive.remove(each)

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


def _is_creation(method: str, path: str) -> bool:
    return (method, unquote(path.partition("?")[0]).rstrip("/")) == ("POST", ENVS.rstrip("/"))


def _plain(body: bytes, headers: dict[str, str]) -> bytes:
    """Return a body without its encoding; one that cannot be undone is left for the checks."""
    if headers.get("content-encoding", "").lower() not in _ZLIB:
        return body
    try:
        return zlib.decompress(body, wbits=_ANY_HEADER)
    except zlib.error:
        return body


def _member(body: bytes, name: str) -> str | None:
    try:
        value = json.loads(body)[name]
    except (ValueError, TypeError, KeyError, IndexError):
        return None
    return value if isinstance(value, str) else None


def _words(error: Exception) -> str:
    return f"the connection failed ({error or type(error).__name__})"
