"""The normalizer: rewrites every request into the one form that connexion handles correctly, or answers it with a problem.

- A path matches with and without its final slash. Unknown paths are 404, other methods 405 with all allowed ones.
- The body is read here, up to the limit (413). It is ignored if the contract declares none.
- The Content-Type of an empty body is dropped, a missing one is JSON, and one that the operation does not declare is a 415.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any

from werkzeug.http import parse_options_header

from ..runtime.messages import JSON
from ..runtime.operations import KEYED, TAKES_HOLD
from .asgi import CONTEXT, link_of, replay, whole_body
from .call import HOLD_NAME, KEY_NAME, Call, idempotency_key_of
from .content.headers import combined, mended
from .problems import HttpProblem, Problem, problem_of
from .request import echoing, sent_id
from .telemetry.counting import Counting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..contract import Contract, PathItem
    from ..runtime.shared.traffic import Traffic
    from .asgi import App, Receive, Scope, Send

DRAIN_FACTOR = 4
"""A body over the limit is read up to this multiple of it, so that the client finishes sending and reads the answer."""

IS_HEAD = "gym_http_server.is_head"
"""Key in the scope of an operation: whether the client wants no content, which a long reply need not make."""


class ClientDisconnected(Exception):
    """The client disconnected before its body was complete."""


class Normalizer:
    """ASGI middleware in front of connexion. It counts requests in `traffic`, except those that the hot path counts."""

    def __init__(self, app: App, contract: Contract, max_body: int, traffic: Traffic) -> None:
        self._app = app
        self._contract = contract
        self._max_body = max_body
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Normalize the request and pass it on, or answer it with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if (request_id := sent_id(scope)) is not None:
            send = echoing(request_id, send)
        counting = Counting(lambda: self._traffic, receive, send, has_content=scope["method"] != "HEAD")
        if not link_of(scope).is_declined:
            receive, send = counting.receive, counting.send
        try:
            operation, scope = self._route(scope)
            counting.operation_id = operation["operationId"]
            body = await read_body(scope, receive, self._max_body)
            media_types = self._contract.body_types(operation)
            scope = _with_body(scope, body if media_types else b"", media_types)
            # An ignored body counts, too: a retry with another body is another request.
            key = combined(scope["headers"], KEY_NAME) if operation["operationId"] in KEYED else None
            identity = None if key is None else await idempotency_key_of(key, operation["operationId"], body)
            accept = mended(combined(scope["headers"], b"accept"), scope["path"], scope["headers"])
            hold = combined(scope["headers"], HOLD_NAME) if operation["operationId"] in TAKES_HOLD else None
            context = {"call": Call(accept, identity, scope, hold)}
            scope = {**scope, "extensions": {**scope.get("extensions", {}), CONTEXT: context}}
        except ClientDisconnected:
            return
        except HttpProblem as error:
            await send_problem(problem_of(error), send)
            return
        await self._app(scope, replay([whole_body(scope["gym_http_server.body"])], receive), send)

    def _route(self, scope: Scope) -> tuple[dict[str, Any], Scope]:
        _, path, operation = operation_of(self._contract, scope)
        # connexion's router matches no newline. In JSON it is white space, and ids contain none.
        path = path.replace("\n", " ")
        # The HTTP protocol knows the original method and omits the content of a reply to HEAD.
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        is_head = scope["method"] == "HEAD"
        return operation, {**scope, "method": method, IS_HEAD: is_head, "path": path, "raw_path": path.encode()}


def operation_of(contract: Contract, scope: Scope) -> tuple[PathItem, str, dict[str, Any]]:
    """Return the path item of a request, its path as the contract has it, and its operation.

    Raises:
        HttpProblem: 404 or 405: there is none.
    """
    found = contract.match(scope["path"])
    if found is None:
        raise HttpProblem(
            404, "not-found", f"there is no path {scope['path']!r} here: see /openapi.yaml for those there are"
        )
    item, path = found
    operation = item.operation(scope["method"])
    if operation is None:
        allowed = ", ".join(item.methods)
        detail = f"{scope['method']} is not served at {path!r}: it takes {allowed}"
        raise HttpProblem(405, "method-not-allowed", detail, headers={"allow": allowed})
    return item, path, operation


async def read_body(scope: Scope, receive: Receive, limit: int, *, setting: str | None = "max_body") -> bytes:
    """Return the whole body.

    Args:
        scope: the ASGI scope.
        receive: the ASGI receive function.
        limit: maximum size in bytes.
        setting: the setting that raises the limit; None if it is fixed.

    Raises:
        HttpProblem: 413 for a body of more than `limit` bytes.
        ClientDisconnected: the body is incomplete.
    """
    declared = next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)
    parts: list[bytes] = []
    size, more = 0, declared <= limit * DRAIN_FACTOR
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        part = message.get("body", b"")
        size += len(part)
        if max(size, declared) > limit:
            parts.clear()
            if size > limit * DRAIN_FACTOR:
                break
        else:
            parts.append(part)
        more = message.get("more_body", False)
    if max(size, declared) > limit:
        remedy = f"start the server with a larger --{setting.replace('_', '-')}" if setting else "send a smaller one"
        detail = f"the body has more than {limit} bytes: {remedy}"
        facts = {"limit": limit, **({"setting": setting} if setting else {})}
        # If the body may continue, the connection cannot carry another request.
        headers = {"connection": "close"} if more or not size else None
        raise HttpProblem(413, "body-too-large", detail, headers=headers, **facts)
    return b"".join(parts)


async def send_problem(problem: Problem, send: Send) -> None:
    """Send a problem as an ASGI response."""
    headers = {**problem.headers, "content-length": str(len(problem.body))}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": raw})
    await send({"type": "http.response.body", "body": problem.body})


def check_coding(scope: Scope) -> None:
    """Check that the body is not compressed.

    Raises:
        HttpProblem: it is.
    """
    coding = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"content-encoding"), "")
    if coding.strip().lower() not in ("", "identity"):
        detail = f"a body with the Content-Encoding {coding!r} is not read here: send it as it is"
        raise HttpProblem(415, "unsupported-media-type", detail)


def _with_body(scope: Scope, body: bytes, media_types: Sequence[str]) -> Scope:
    """Return the scope with the headers of the body: type without parameters and length, or neither if it is empty."""
    dropped = (b"content-type", b"content-length", b"transfer-encoding")
    headers = [(name, value) for name, value in scope["headers"] if name not in dropped]
    if body:
        check_coding(scope)
        sent = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"content-type"), "")
        headers += [(b"content-type", _media_type(sent, media_types).encode()), (b"content-length", b"%d" % len(body))]
    return {**scope, "headers": headers, "gym_http_server.body": body}


def _media_type(content_type: str, media_types: Sequence[str]) -> str:
    name, options = parse_options_header(content_type)
    media_type = name.strip().lower() or JSON
    if media_type not in media_types:
        detail = f"a body of type {media_type!r} is not read here: send {' or '.join(media_types)}"
        raise HttpProblem(415, "unsupported-media-type", detail)
    if media_type != JSON:
        return media_type
    charset = options.get("charset", "utf-8")
    try:
        known = codecs.lookup(charset.strip("'\"")).name
    except (LookupError, ValueError):
        known = None
    if known not in ("utf-8", "ascii"):
        raise HttpProblem(415, "unsupported-media-type", f"the charset {charset!r} is not read here: JSON is UTF-8")
    return media_type
