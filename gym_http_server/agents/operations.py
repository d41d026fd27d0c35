"""Operations of the contract, executed in this process as if a client had sent them."""

from __future__ import annotations

import functools
import re
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

import orjson

from ..api.asgi import replay, whole_body
from ..api.call import Call
from ..api.problems import STATUS, TYPE_PREFIX, HttpProblem, problem_of, slug_of
from ..api.request import CURRENT, RequestContext
from ..contract import METHODS
from ..errors import GymHttpServerError
from ..runtime.messages import JSON, MSGPACK, Reply
from ..runtime.values.encoding import json_bytes
from ..runtime.values.packing import unpack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from ..api.asgi import App, Message, Scope
    from ..api.hot_operations import HotOperation, HotOperations
    from ..contract import Contract
    from ..instances.directory import Instances

_MEMBERS: Final = frozenset(("type", "title", "status", "detail", "message"))
"""Members of problem details that every problem has."""


class InProcessOperations:
    """Executes operations by their operationId.

    Operations of the hot path are called as the hot path calls them. All others pass connexion, with its validation.

    Args:
        contract: the contract.
        hot: the compiled operations of the hot path.
        execute: executes a call of an instance: call, instance_id and arguments.
        instances: the live instances, with the counters of requests.
        api: returns the ASGI app of the operations.
    """

    def __init__(
        self,
        contract: Contract,
        hot: HotOperations,
        execute: Callable[[str, str, dict[str, Any]], Awaitable[Reply]],
        instances: Instances,
        api: Callable[[], App],
    ) -> None:
        self.instances = instances
        self._hot = hot
        self._execute = execute
        self._api = api
        self._paths = {
            operation["operationId"]: (method.upper(), template)
            for template, item in contract.document["paths"].items()
            for method, operation in item.items()
            if method in METHODS
        }

    async def call(
        self,
        operation_id: str,
        body: Any = None,
        *,
        accept: str | None = None,
        client: str | None = None,
        **parameters: Any,
    ) -> Any:
        """Execute an operation; return the value of its JSON or MessagePack, or else the bytes of its reply.

        Args:
            operation_id: its operationId.
            body: the plain JSON value of its body; None for no body.
            accept: the Accept header; None without one.
            client: the address of the client, for the log.
            **parameters: the parameters of path and query.

        Raises:
            GymHttpServerError: the error with which a client would have been answered.
            HttpProblem: the same, for a request that is not valid.
        """
        reply = await self.reply(operation_id, body, accept=accept, client=client, **parameters)
        if reply.media_type == JSON:
            return orjson.loads(reply.body)
        return unpack(reply.body) if reply.media_type == MSGPACK else reply.body

    async def reply(
        self,
        operation_id: str,
        body: Any = None,
        *,
        accept: str | None = None,
        client: str | None = None,
        received: int = 0,
        **parameters: Any,
    ) -> Reply:
        """Execute an operation; return its encoded reply.

        Arguments and errors are those of `call`; `received` is counted as the size of a request of the hot path.
        """
        hot = self._hot.named(operation_id)
        if hot is not None and (body is None if not hot.takes_body else hot.is_valid(body)):
            call = Call(accept, None, {"type": "http", "headers": [], "client": client and (client, 0)})
            return await self.hot_reply(hot, call, parameters.pop("instance_id"), body, received, **parameters)
        return await self._send(operation_id, body, accept, client, parameters)

    async def hot_reply(
        self, hot: HotOperation, call: Call, instance_id: str, body: Any, received: int = 0, **parameters: Any
    ) -> Reply:
        """Execute an operation of the hot path and count it.

        Args:
            hot: the operation.
            call: what a handler is told of its request.
            instance_id: the instance.
            body: a valid body; None for none.
            received: the size of the request in bytes.
            **parameters: further parameters of the path.

        Raises:
            GymHttpServerError: the error with which a client would have been answered.
        """
        # Until the end: a call may close its instance, whose counters then join those of all.
        traffic = self.instances.traffic(instance_id)
        began = time.perf_counter()
        try:
            arguments = hot.plan(call, body=body, **parameters) if hot.takes_body else hot.plan(call, **parameters)
            reply = await self._execute(hot.call, instance_id, arguments)
        except Exception as error:
            problem = problem_of(error, call.scope)
            seconds = time.perf_counter() - began
            traffic.count(hot.operation_id, problem.status, seconds, received, len(problem.body))
            if not isinstance(error, GymHttpServerError | HttpProblem):
                raise error_of(problem.body) from error
            raise
        traffic.count(hot.operation_id, 200, time.perf_counter() - began, received, len(reply.body))
        return reply

    async def _send(
        self, operation_id: str, body: Any, accept: str | None, client: str | None, parameters: dict[str, Any]
    ) -> Reply:
        method, template = self._paths[operation_id]
        query = dict(parameters)
        path = re.sub(r"\{(\w+)\}", lambda name: str(query.pop(name[1])), template)
        content = b"" if body is None else json_bytes(body)
        headers = [(b"host", b"localhost"), (b"content-length", b"%d" % len(content))]
        if content:
            headers.append((b"content-type", JSON.encode()))
        if accept is not None:
            headers.append((b"accept", accept.encode("latin-1")))
        given = urlencode([(name, value) for name, value in query.items() if value is not None])
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": quote(path).encode(),
            "query_string": given.encode(),
            "root_path": "",
            "headers": headers,
            "client": None if client is None else (client, 0),
            "server": None,
            "state": {},
        }
        return await _answer(self._api(), scope, content)


async def _answer(app: App, scope: Scope, content: bytes) -> Reply:
    """Send a request to an app; return its successful reply."""
    head: Message = {}
    parts: list[bytes] = []

    async def disconnect() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            head.update(message)
        else:
            parts.append(message.get("body", b""))

    # The log names the path of this request, not of the one for which it is sent.
    request = RequestContext()
    request.scope = scope
    token = CURRENT.set(request)
    try:
        await app(scope, replay([whole_body(content)], disconnect), send)
    finally:
        CURRENT.reset(token)
        request.scope = None
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in head["headers"]}
    body = b"".join(parts)
    if head["status"] >= 400:
        raise error_of(body, headers)
    return Reply(body, headers.pop("content-type", JSON), headers)


def error_of(body: bytes, headers: Mapping[str, str] | None = None) -> GymHttpServerError | HttpProblem:
    """Return the error that problem details tell of."""
    told = orjson.loads(body)
    slug = told["type"].removeprefix(TYPE_PREFIX)
    facts = {name: value for name, value in told.items() if name not in _MEMBERS}
    if (cls := _by_slug().get(slug)) is not None:
        error = cls(told["detail"])
        error.facts = facts
        return error
    kept = {name: value for name, value in (headers or {}).items() if name not in ("content-type", "content-length")}
    problem = HttpProblem(told["status"], slug, told["detail"], headers=kept)
    problem.facts = facts
    return problem


@functools.cache
def _by_slug() -> dict[str, type[GymHttpServerError]]:
    return {slug_of(cls): cls for cls in STATUS}
