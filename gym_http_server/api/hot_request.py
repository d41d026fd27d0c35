"""The synchronous core of the hot path: from the head and body of a plain request to the arguments of an instance's call.

The server's middleware (`hot_path.py`) and environments' processes (`handover/`) both use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .call import NAME, Call
from .hot_operations import NotPlainError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..runtime.idempotency import IdempotencyKey
    from .asgi import Scope
    from .hot_operations import HotOperation


class HotRequest:
    """The head of a plain request. Equal heads make equal objects, so it can be kept and used again.

    Attributes:
        operation: its operation.
        instance_id: the instance in its path.
        key: its Idempotency-Key; None without one.
        content_type: its Content-Type; None without one.
    """

    __slots__ = ("_accept", "_parameters", "content_type", "instance_id", "key", "operation")

    def __init__(
        self,
        operation: HotOperation,
        parameters: Mapping[str, str],
        headers: Iterable[tuple[bytes, bytes]],
        max_body: int,
    ) -> None:
        """Read the headers of a request for an operation.

        Args:
            operation: the operation.
            parameters: the parameters of the path.
            headers: the headers, with names in lower case.
            max_body: maximum size of a body in bytes.

        Raises:
            NotPlainError: an unexpected, compressed or too long body, a repeated Content-Type or key, or an invalid key.
        """
        accept: str | None = None
        content_type: bytes | None = None
        key: str | None = None
        has_body = operation.takes_body or operation.ignores_body
        for name, value in headers:
            if name == b"content-type":
                if content_type is not None:
                    raise NotPlainError
                content_type = value
            elif name == b"accept":
                accept = value.decode("latin-1") if accept is None else f"{accept}, {value.decode('latin-1')}"
            elif name == b"content-length":
                if not has_body or int(value) > max_body:  # the parser lets only digits pass
                    raise NotPlainError
            elif name == b"content-encoding" or (not has_body and name == b"transfer-encoding"):
                raise NotPlainError
            elif name == NAME and operation.key is not None:
                if key is not None or operation.key.fullmatch(value) is None:
                    raise NotPlainError
                key = value.decode("latin-1")
        self.operation = operation
        self.content_type = content_type
        self.key = key
        self._accept = accept
        self._parameters = dict(parameters)
        self.instance_id = self._parameters.pop("instance_id")

    def read(self, body: bytes) -> Any:
        """Parse and validate the body; None if the operation takes none.

        Raises:
            NotPlainError: the body is not plain and valid.
        """
        operation = self.operation
        return operation.read(self.content_type, body) if operation.takes_body else None

    def arguments(self, value: Any, identity: IdempotencyKey | None, scope: Scope) -> dict[str, Any]:
        """Return the arguments of the instance's call `operation.call`.

        Args:
            value: the result of `read`.
            identity: identity of the request, from its key.
            scope: the ASGI scope.

        Raises:
            InvalidValueError: a value is not possible.
        """
        call = Call(self._accept, identity, scope)
        if self.operation.takes_body:
            return self.operation.plan(call, body=value, **self._parameters)
        return self.operation.plan(call, **self._parameters)
