"""connexion's validators of bodies, with our own strict readers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ..runtime.messages import JSON, MSGPACK
from .bodies import parse
from .connexion_parts import JSONRequestBodyValidator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Scope

LARGE = 1 << 14
"""A body of more bytes is read and validated in a thread, so that other requests need not wait for it: jsonschema takes
several µs for each element."""


class StrictJsonValidator(JSONRequestBodyValidator):  # type: ignore[misc]  # connexion has no types
    """connexion's validator of JSON bodies, with `parse_json` as its reader."""

    media_type = JSON

    async def _parse(self, stream: AsyncGenerator[bytes, None], scope: Scope) -> Any:  # noqa: ARG002 -- connexion's signature
        body = b"".join([part async for part in stream])
        self._is_checked = False
        if not body:
            return None
        if len(body) <= LARGE:
            return parse(self.media_type, body)
        return await asyncio.to_thread(self._parse_and_validate, body)

    def _parse_and_validate(self, body: bytes) -> Any:
        value = parse(self.media_type, body)
        self._validate(value)
        self._is_checked = True
        return value

    def _validate(self, body: Any) -> None:
        # Without a type a schema takes null too (OpenAPI 3.0.3, Schema Object, `nullable`); connexion refuses it.
        if not self._is_checked and (body is not None or "type" in self._schema):
            super()._validate(body)


class MsgpackValidator(StrictJsonValidator):
    """The same for MessagePack, against the same schema: an array is a value of any schema that says nothing of type."""

    media_type = MSGPACK
