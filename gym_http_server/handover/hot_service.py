"""The hot path in an environment's process: the same compiled operations, guard and problems as in the server."""

from __future__ import annotations

import dataclasses
import email.utils
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httptools

from .. import __version__
from ..agents.operations import error_of
from ..api.content.headers import has_header
from ..api.content.paths import Lookups, OptionsCheck
from ..api.guard.security import Access, Guard
from ..api.handlers import guard_of, plan_table
from ..api.hot_operations import HotOperation, HotOperations, HotRequest, NotPlainError
from ..api.problems import HttpProblem, problem_of
from ..errors import GymHttpServerError
from ..runtime.idempotency import IdempotencyKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..api.call import Call
    from ..config import Settings
    from ..runtime.messages import Reply
    from ..runtime.served.base import Served
    from ..runtime.shared.traffic import Traffic
    from .request_parser import ParsedRequest


class Head(NamedTuple):
    """The head of a request that is served here.

    Attributes:
        request: what it asks.
        scope: its ASGI scope, for Accept, errors and logs.
        keep_alive: whether the connection stays open after the reply.
        key: its Idempotency-Key; None without one.
    """

    request: HotRequest
    scope: dict[str, Any]
    keep_alive: bool
    key: str | None

    def with_key(self, key: bytes) -> Head | None:
        """Return this head with another key; None if the key is not valid."""
        pattern = self.request.operation.key
        if pattern is None or pattern.fullmatch(key) is None:
            return None
        return Head(self.request, self.scope, self.keep_alive, key.decode("latin-1"))


class HotService:
    """Serves requests of the hot path with one environment. Created before the fork, without the environment.

    Args:
        settings: the server's settings.
        access: the access rules.
        paths: the paths of the contract that are compiled.

    Attributes:
        settings: the server's settings.
    """

    def __init__(self, settings: Settings, access: Access, paths: Mapping[str, Any]) -> None:
        self.settings = settings
        self._operations = HotOperations(paths, plan_table(settings), settings.max_values)
        self._guard = Guard(access)
        self._options = OptionsCheck(guard_of(settings), Lookups(settings.call_timeout))
        self._replies = ReplyHeads()

    def take_key(self, digest: str) -> None:
        """Take only the key with this digest from now on, that of the instance of this process; none changes nothing."""
        if digest:
            self._guard = Guard(dataclasses.replace(self._guard.access, key_digest=digest))

    def admit(self, request: ParsedRequest, instance_id: str, client: tuple[str, int] | None) -> Head | None:
        """Return the head of a request; None for one that only the server serves.

        Those are requests that the guard refuses, that are not of the hot path or for another instance, and requests with an
        Origin, whose reply needs CORS headers.
        """
        try:
            scope = request.scope(client)
        except (ValueError, httptools.HttpParserError):
            return None
        if self._guard.refusal(scope) is not None or has_header(scope, b"origin"):
            return None
        found = self._operations.find(request.method, scope["path"])
        if found is None or found[1]["instance_id"] != instance_id:
            return None
        try:
            hot = HotRequest(*found, request.headers, self.settings.max_body)
        except NotPlainError:
            return None
        return Head(hot, scope, request.keep_alive, hot.key)

    def read(self, head: Head, body: bytes) -> Any:
        """Parse and validate a body.

        Raises:
            NotPlainError: only the server serves the request.
        """
        if len(body) > self.settings.max_body:
            raise NotPlainError
        return head.request.read(body)

    def answer(self, head: Head, value: Any, body: bytes, environment: Served, traffic: Traffic) -> tuple[bytes, bytes]:
        """Execute a request; return head and body of the reply.

        Args:
            head: the head of the request.
            value: the result of `read`.
            body: the body.
            environment: the environment.
            traffic: counts the request.
        """
        request = head.request
        operation = request.operation
        received = len(body) if operation.takes_body else 0
        began = time.perf_counter()
        try:
            identity = None if head.key is None else IdempotencyKey.of(head.key, operation.operation_id, body)
            arguments = request.arguments(value, identity, head.scope)
            reply = self._call(environment, operation, arguments)
        except Exception as error:  # noqa: BLE001 -- every error becomes a problem
            problem = problem_of(error, head.scope)
            seconds = time.perf_counter() - began
            traffic.count(operation.operation_id, problem.status, seconds, received, len(problem.body))
            return self._replies.of(problem.status, problem.headers, len(problem.body), head.keep_alive), problem.body
        seconds = time.perf_counter() - began
        traffic.count(operation.operation_id, 200, seconds, received, len(reply.body))
        return self._replies.ok(reply.media_type, len(reply.body), head.keep_alive), reply.body

    def execute(
        self,
        environment: Served,
        traffic: Traffic,
        call: Call,
        operation_id: str,
        body: Mapping[str, Any],
        received: int,
    ) -> Reply:
        """Execute an operation for a message of a WebSocket and count it; return its reply.

        Args:
            environment: the environment.
            traffic: counts the operation.
            call: what a plan is told of a request.
            operation_id: its operationId.
            body: its body.
            received: the size of the message in bytes.

        Raises:
            NotPlainError: only the server executes it.
            GymHttpServerError: the error with which a client would have been answered.
            HttpProblem: the same.
        """
        operation = self._operations.named(operation_id)
        if operation is None or not operation.is_valid(body):
            raise NotPlainError
        began = time.perf_counter()
        try:
            reply = self._call(environment, operation, operation.plan(call, body=body))
        except Exception as error:
            problem = problem_of(error, call.scope)
            traffic.count(operation_id, problem.status, time.perf_counter() - began, received, len(problem.body))
            if isinstance(error, GymHttpServerError | HttpProblem):
                raise
            raise error_of(problem.body) from error
        traffic.count(operation_id, 200, time.perf_counter() - began, received, len(reply.body))
        return reply

    def _call(self, environment: Served, operation: HotOperation, arguments: Mapping[str, Any]) -> Reply:
        if options := arguments.get("options"):
            # It may block on the file system: nobody else is served here, and `call_timeout` ends it.
            self._options.check_here(options)
        return environment.call(operation.call, arguments).within(self.settings.max_reply)


class ReplyHeads:
    """Heads of replies, with the server's default headers."""

    def __init__(self) -> None:
        self._second = 0
        self._default = b""

    def ok(self, media_type: str, size: int, keep_alive: bool) -> bytes:
        """Return the head of a reply with status 200 and a body of `size` bytes."""
        second = int(time.time())
        if second != self._second:
            self._renew(second)
        close = b"" if keep_alive else _CLOSE
        fields = (self._ok, media_type.encode("latin-1"), size, close)
        return b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b\r\n" % fields

    def of(self, status: int, headers: Mapping[str, str], size: int, keep_alive: bool) -> bytes:
        """Return the head of another reply."""
        self._renew(int(time.time()))
        lines = [*headers.items(), ("content-length", str(size))]
        fields = b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in lines)
        return _status_line(status) + self._default + fields + (b"" if keep_alive else _CLOSE) + b"\r\n"

    def _renew(self, second: int) -> None:
        self._second = second
        date = email.utils.formatdate(second, usegmt=True)
        self._default = f"date: {date}\r\nserver: gym-http-server/{__version__}\r\n".encode()
        self._ok = _status_line(200) + self._default


_CLOSE: Final = b"connection: close\r\n"


def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
