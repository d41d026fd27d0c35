"""`Caller`: the operations of the contract, with every reply validated against it."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ..client.http.body import msgpack_body, msgpack_value
from ..client.operations import Operations
from .contract import check_reply
from .exchange import JSON, MSGPACK, Answer, Exchange, Nonconformity, NotServed, Request, shown
from .ledger import ENVS, KEY, is_creation

if TYPE_CHECKING:
    from .implementation import Implementation

LIMITS = {413: "over a limit there", 429: "no room there"}
"""Statuses of an implementation's limits."""

REFUSALS = {400: "not served there", **LIMITS}
"""Statuses of creations that an implementation refuses."""

_OK = 200


class Caller(Operations):
    """One method per operation of the contract, named as in the Python client.

    Each raises `Nonconformity` if the contract does not declare the reply or the reply is an error, and `NotServed` if the
    environment is not available or a limit of the implementation prevents the call.

    Args:
        implementation: answers the requests.
        packed: use MessagePack in the operations of a training loop.
    """

    def __init__(self, implementation: Implementation, *, packed: bool = False) -> None:
        self._implementation = implementation
        self._packed = packed

    def exchange(self, request: Request) -> Exchange:
        """Send a request, validate its answer against the contract, and return both."""
        exchange = self._implementation.ask(request)
        answer, path = exchange.answer, unquote(request.path.partition("?")[0])
        try:
            _check_encoding(request, answer)
            check_reply(request.method, path, answer.status, answer.headers, answer.body)
        except Nonconformity as error:
            raise Nonconformity(error.expected, error.came, exchange) from None
        return exchange

    def sample(self, instance_id: str) -> Any:
        """Return a sampled action of an instance, or None if its id is unknown."""
        answer = self.exchange(Request.of("GET", f"{ENVS}{instance_id}/action_space/sample")).answer
        return answer.json["action"] if answer.status == _OK else None

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        hot: bool = False,
        repeatable: bool = False,  # noqa: ARG002 -- requests are not repeated
        keyed: bool = False,  # noqa: ARG002 -- as above
    ) -> dict[str, Any]:
        request = _request(method, path, body, packed=hot and self._packed)
        if is_creation(method, path):
            # With a key the creation can be repeated if it has no answer, to close its instance.
            request.headers[KEY] = str(uuid.uuid4())
        return self.members(request)

    def members(self, request: Request) -> dict[str, Any]:
        """Send a request and return the members of its reply with status 200."""
        exchange = self.exchange(request)
        answer = exchange.answer
        if answer.status != _OK:
            known = REFUSALS if (request.method, request.path) == ("POST", ENVS) else LIMITS
            if answer.status in known:
                raise NotServed(f"{known[answer.status]}: {shown(answer.json['message'])}")
            raise Nonconformity("200", str(answer.status), exchange)
        return _value(answer, exchange)

    def _file(self, path: str, media_type: str) -> bytes:
        return self.exchange(Request("GET", path, {"Accept": media_type})).answer.body


def _check_encoding(request: Request, answer: Answer) -> None:
    encoding = answer.headers.get("content-encoding", "identity")
    if encoding != "identity" and "Accept-Encoding" not in request.headers:
        raise Nonconformity("nothing compressed, for no Accept-Encoding was sent", f"Content-Encoding: {encoding}")


def _request(method: str, path: str, body: dict[str, Any] | None, *, packed: bool) -> Request:
    media_type = MSGPACK if packed else JSON
    headers = {"Accept": media_type}
    if body is None:
        return Request(method, path, headers)
    content = msgpack_body(body) if packed else json.dumps(body).encode()
    return Request(method, path, {"Content-Type": media_type, **headers}, content)


def _value(answer: Answer, exchange: Exchange) -> dict[str, Any]:
    try:
        value = msgpack_value(answer.body) if answer.media_type == MSGPACK else json.loads(answer.body)
    except ValueError as error:
        raise Nonconformity(f"a body of {answer.media_type}", str(error), exchange) from None
    if not isinstance(value, dict):
        raise Nonconformity("an object", shown(value), exchange)
    return value
