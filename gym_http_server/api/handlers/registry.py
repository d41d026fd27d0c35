"""The operation of the tag `registry`: list what environments there are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson

from ...runtime.registry.registry import matching
from ..responses import Response

if TYPE_CHECKING:
    from ...runtime.registry.registry import Registry


class RegistryHandlers:
    """The handler.

    Args:
        registry: what the libraries register.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def list(self, q: str = "", library: str | None = None, page: int = 1, page_size: int = 50) -> Response:
        """List a page of the environments."""
        # Shielded, because others wait for the same.
        environments = await asyncio.shield(asyncio.wrap_future(self._registry.environments()))
        found = matching(environments, q, library)
        shown = [each.to_json() for each in found[(page - 1) * page_size : page * page_size]]
        reply = {"total": len(found), "page": page, "page_size": page_size, "environments": shown}
        # Plain values that were checked: `json_bytes` takes its long way for every null, and there are many.
        return Response(orjson.dumps(reply))
