"""The operation of the tag `registry`: list the environments that can be made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from ...interpreters.interpreters import listed, wait_for
from ...runtime.messages import Reply
from ...runtime.registry.registry import REGISTRATIONS, matching, merged

if TYPE_CHECKING:
    from ...interpreters.interpreters import Interpreters
    from ...runtime.registry.registry import Registry
    from ..call import Call


class RegistryHandlers:
    """Handler of the tag `registry`.

    Args:
        registry: the environments that the server's own Python registers.
        interpreters: those of the interpreters.
    """

    def __init__(self, registry: Registry, interpreters: Interpreters) -> None:
        self._registry = registry
        self._interpreters = interpreters

    async def list_registry(
        self,
        call: Call,
        q: str = "",
        library: str | None = None,
        interpreter: str | None = None,
        page: int = 1,
        page_size: int = 50,
    ) -> Reply:
        """List a page of the environments."""
        asked = self._interpreters.ask(interpreter)
        own = self._registry.ask(library) if interpreter is None else {}
        registered = own.get(REGISTRATIONS)
        if registered is not None:
            await wait_for({REGISTRATIONS: registered}, None)
        await wait_for({**own, **asked})
        environments, libraries = listed(own)
        others, states = listed(asked)
        if registered is not None and not any(each.state == "ready" for each in (*libraries, *states)):
            registered.result()  # raises: nothing else is known
        found = matching(merged(environments, others), q, library)
        shown = [each.to_json() for each in found[(page - 1) * page_size : page * page_size]]
        told = {"total": len(found), "page": page, "page_size": page_size, "environments": shown}
        told["libraries"] = [each.to_json() for each in libraries]
        told["interpreters"] = [each.to_json() for each in states]
        # Not `json_bytes`: its slow path handles null, and there are many. The values are plain.
        return Reply(orjson.dumps(told))
