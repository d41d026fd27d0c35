"""The access log: one record for each request, also if the client disconnected before the reply.

It has no query, headers or bodies, because these may contain secrets.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from ..asgi import with_link
from ..refusals import client_of
from ..request import REQUEST_ID_HEADER, current_id, echoing, instance_in, new_id, sent_id

if TYPE_CHECKING:
    from ...contract import Contract
    from ..asgi import App, Message, Receive, Scope, Send

logger = logging.getLogger("gym_http_server.access")

REFUSED = "gym_http_server.refused"
"""Key in the state of a request that the protocol answered in place of the app: status and body size in bytes of the reply."""


class AccessLog:
    """ASGI middleware that logs replies and gives requests without an id one."""

    def __init__(self, app: App, contract: Contract) -> None:
        self._app = app
        self._contract = contract

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = current_id()
        headers = [
            *((n, v) for n, v in scope["headers"] if n != REQUEST_ID_HEADER),
            (REQUEST_ID_HEADER, request_id.encode("ascii")),
        ]
        record = _Record(receive, echoing(request_id, send))
        try:
            await self._app({**with_link(scope, reply=None), "headers": headers}, record.receive, record.send)
        except asyncio.CancelledError:
            record.status = record.status or 503  # the HTTP protocol's answer when the server stops
            raise
        finally:
            self._write(scope, request_id, record)

    def _write(self, scope: Scope, request_id: str, record: _Record) -> None:
        found = self._contract.match(scope["path"])
        operation = found[0].operation(scope["method"]) if found else None
        # The raw path: percent-encoded, so without line breaks.
        path = scope["raw_path"].decode("latin-1")
        status, sent = scope.get("state", {}).get(REFUSED, (record.status, record.sent))
        if scope["method"] == "HEAD":
            sent = 0
        _log(
            {
                "method": scope["method"],
                "path": path,
                "status": status or None,
                "seconds": round(time.perf_counter() - record.began, 6),
                "received_bytes": record.received,
                "sent_bytes": sent,
                "client": client_of(scope),
                "operation": operation["operationId"] if operation else None,
                "request_id": request_id,
                "instance_id": instance_in(scope["path"]),
            }
        )


def log_refused(status: int, sent: int, scope: Scope) -> None:
    """Log a request that the protocol refused before its head was complete: `scope` has the client and received headers."""
    fields: dict[str, Any] = dict.fromkeys(("method", "path", "operation", "instance_id"))
    fields |= {"status": status, "seconds": 0.0, "received_bytes": 0, "sent_bytes": sent}
    _log(fields | {"client": client_of(scope), "request_id": sent_id(scope) or new_id()})


def _log(fields: dict[str, Any]) -> None:
    logger.info(
        "%s %s %s %.6f s, %d bytes in, %d bytes out, %s",
        fields["method"] or "-",
        fields["path"] or "-",
        fields["status"] or "unanswered",
        fields["seconds"],
        fields["received_bytes"],
        fields["sent_bytes"],
        fields["client"] or "-",
        extra=fields,
    )


class _Record:
    """Wraps `receive` and `send` of one request to measure it."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self.began = time.perf_counter()
        self.status = self.received = self.sent = 0
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        message = await self._receive()
        self.received += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        self.status = message.get("status", self.status)
        self.sent += message.get("sent_bytes", len(message.get("body", b"")))
        self.received += message.get("received_bytes", 0)
        await self._send(message)
