"""`Caller`: the operations of the contract, with every reply validated against it."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ..client.http.body import msgpack_body, msgpack_value
from ..client.operations import Operations
from .contract import check_reply
from .exchange import JSON, Answer, Exchange, Nonconformity, NotServed, Request, shown
from .ledger import ENVS, KEY, is_creation

if TYPE_CHECKING:
    from .implementation import Implementation

MSGPACK = "application/msgpack"

_OK = 200

LIMITS = {413: "over a limit there", 429: "no room there"}
"""What an implementation answers that has a limit, as the contract has it, in words."""

REFUSALS = {400: "not served there", **LIMITS}
"""What it answers where it does not make what it is asked for."""


class Caller(Operations):
    """One method per operation of the contract, as the Python client has them.

    Each raises `Nonconformity` where the reply is not one that the contract declares, or an error; `NotServed` where an
    environment is not to be had, or a limit of the implementation stands in the way.

    Args:
        implementation: whom to ask.
        packed: speak MessagePack in the operations of a training loop.
    """

    def __init__(self, implementation: Implementation, *, packed: bool = False) -> None:
        self._implementation = implementation
        self._packed = packed

    def exchange(self, request: Request) -> Exchange:
        """Send a request; return it with its answer, which is one that the contract declares."""
        exchange = self._implementation.ask(request)
        answer, path = exchange.answer, unquote(request.path.partition("?")[0])
        try:
            _hold_encoding(request, answer)
            check_reply(request.method, path, answer.status, answer.headers, answer.body)
        except Nonconformity as error:
            raise Nonconformity(error.expected, error.came, exchange) from None
        return exchange

    def sample(self, instance_id: str) -> Any:
        """Return an action of an instance, or None where there is none of that id."""
        answer = self.exchange(Request.of("GET", f"{ENVS}{instance_id}/action_space/sample")).answer
        return answer.json["action"] if answer.status == _OK else None

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        hot: bool = False,
        repeatable: bool = False,  # noqa: ARG002 -- nothing is sent again here
        keyed: bool = False,  # noqa: ARG002 -- as above
    ) -> dict[str, Any]:
        request = _request(method, path, body, packed=hot and self._packed)
        if is_creation(method, path):
            # Without an answer it can be asked for again, to close what it made.
            request.headers[KEY] = str(uuid.uuid4())
        return self.members(request)

    def members(self, request: Request) -> dict[str, Any]:
        """Send a request and return the members of the reply, which is to be a 200."""
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


def _hold_encoding(request: Request, answer: Answer) -> None:
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
