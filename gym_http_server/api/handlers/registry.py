"""The operation of the tag `registry`: list the environments that can be made."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson

from ...runtime.messages import Reply
from ...runtime.registry.registry import matching

if TYPE_CHECKING:
    from ...runtime.registry.registry import Registry
    from ..call import Call


class RegistryHandlers:
    """Handler of the tag `registry`.

    Args:
        registry: the registered environments.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def list_registry(
        self, call: Call, q: str = "", library: str | None = None, page: int = 1, page_size: int = 50
    ) -> Reply:
        """List a page of the environments."""
        # Shielded, because other requests wait for the same result.
        environments = await asyncio.shield(asyncio.wrap_future(self._registry.environments()))
        found = matching(environments, q, library)
        shown = [each.to_json() for each in found[(page - 1) * page_size : page * page_size]]
        told = {"total": len(found), "page": page, "page_size": page_size, "environments": shown}
        # Not `json_bytes`: its slow path handles null, and there are many. The values are plain.
        return Reply(orjson.dumps(told))
