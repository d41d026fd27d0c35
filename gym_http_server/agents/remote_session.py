"""A session whose instances are on another server: what `AgentSession` is for this process, over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import uuid
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson

from ..api.problems import HttpProblem
from ..client import Client, ServerProblem
from ..client.http.transport import MAX_RETRIES, Transport
from ..contract import METHODS, load_contract
from ..errors import GymHttpServerError, UnknownInstanceError
from ..runtime.messages import JSON
from ..runtime.operations import KEYED
from ..runtime.values.encoding import json_bytes
from ..support.threads import DaemonThreads
from .operations import error_of
from .sessions import labels_of

LEASE_SECONDS: Final = 60.0
"""Instances end as long after a client that vanished."""

_MAX_THREADS: Final = 8


class RemoteSession:
    """What one client owns on a server.

    Args:
        url: the server's address.
        api_key: its key, if it has one.
        protocol: what the client speaks, for the labels of its instances.
        timeout: seconds to wait for an answer; None waits for ever.

    Attributes:
        session_id: a UUID.

    Raises:
        ValueError: `url` is not the address of a server, or `api_key` cannot be in a header.
    """

    def __init__(self, url: str, api_key: str | None, protocol: str, timeout: float | None = None) -> None:
        self.session_id = str(uuid.uuid4())
        self._labels = labels_of(protocol, self.session_id)
        self._keeper = Client(url, api_key, timeout).keeper
        self._transport = Transport(url, api_key, timeout, MAX_RETRIES)
        # Daemons, because the process does not wait at its end for an environment that hangs.
        self._threads = DaemonThreads(_MAX_THREADS, "session")
        self._paths = {
            operation["operationId"]: (method.upper(), template)
            for template, item in load_contract().document["paths"].items()
            for method, operation in item.items()
            if method in METHODS
        }
        # Changed by the threads: a creation whose caller was cancelled goes on.
        self._lock = threading.Lock()
        self._instance_ids: list[str] = []
        self._has_ended = False

    async def create(self, body: dict[str, Any]) -> dict[str, Any]:
        """Make an instance that the session owns; return the reply of createEnv.

        Raises:
            GymHttpServerError, HttpProblem: as `call`.
        """
        made: dict[str, Any] = await asyncio.wrap_future(self._threads.submit(self._create, body))
        return made

    async def call(self, operation_id: str, body: Any = None, *, accept: str | None = None, **parameters: Any) -> Any:
        """Execute an operation; return the value of its JSON, or else the bytes of its reply.

        Args:
            operation_id: its operationId.
            body: the plain JSON value of its body; None for no body.
            accept: the Accept header; None for JSON.
            **parameters: the parameters of path and query.

        Raises:
            GymHttpServerError: the error with which the server answered.
            HttpProblem: the same, for other problems and for a server that does not answer.
        """
        return await asyncio.wrap_future(
            self._threads.submit(self._call, operation_id, body, accept or JSON, parameters)
        )

    async def close(self, instance_id: str) -> None:
        """Close one of its instances.

        Raises:
            UnknownInstanceError: it is not live, or not of this session.
        """
        with self._lock:
            if instance_id not in self._instance_ids:
                raise UnknownInstanceError.of(instance_id)
            self._instance_ids.remove(instance_id)
        await asyncio.wrap_future(self._threads.submit(self._close, instance_id))

    async def end(self, why: str) -> None:  # noqa: ARG002 -- the server logs that its client closed them
        """End the session and close its instances; idempotent."""
        with self._lock:
            self._has_ended = True
            instance_ids, self._instance_ids = self._instance_ids, []
        closings = [asyncio.wrap_future(self._threads.submit(self._close, each)) for each in instance_ids]
        await asyncio.gather(*closings, return_exceptions=True)

    def _create(self, body: dict[str, Any]) -> dict[str, Any]:
        body = {"lease": LEASE_SECONDS, "labels": self._labels, **body}
        made: dict[str, Any] = self._call("createEnv", body, JSON, {})
        instance_id = made["instance_id"]
        self._keeper.renew(instance_id, body["lease"])
        with self._lock:
            has_ended = self._has_ended
            if not has_ended:
                self._instance_ids.append(instance_id)
        if has_ended:
            self._close(instance_id)
        return made

    def _close(self, instance_id: str) -> None:
        self._keeper.forget(instance_id)
        with contextlib.suppress(UnknownInstanceError):  # somebody else may have closed it
            self._call("closeEnv", None, JSON, {"instance_id": instance_id})

    def _call(self, operation_id: str, body: Any, accept: str, parameters: dict[str, Any]) -> Any:
        method, template = self._paths[operation_id]
        query = dict(parameters)
        path = re.sub(r"\{(\w+)\}", lambda name: quote(str(query.pop(name[1])), safe=""), template)
        if given := urlencode([(name, value) for name, value in query.items() if value is not None]):
            path += f"?{given}"
        content = None if body is None else json_bytes(body)
        try:
            reply = self._transport.exchange(
                method, path, content, accept=accept, repeatable=method == "GET", keyed=operation_id in KEYED
            )
        except ServerProblem as problem:
            raise _error_of(problem) from problem
        except OSError as error:  # TimeoutError and ServerConnectionError are
            raise HttpProblem(502, "server-unreachable", str(error)) from error
        return orjson.loads(reply) if accept == JSON else bytes(reply)


def _error_of(problem: ServerProblem) -> GymHttpServerError | HttpProblem:
    told = {"type": problem.type, "status": problem.status, "detail": problem.message}
    return error_of(json_bytes({**problem.facts, **told}))
