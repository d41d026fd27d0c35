"""Operations of the tag `openenv`: environments as the clients of OpenEnv know them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ..call import json_reply
from ..problems import HttpProblem

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...config import Settings
    from ...runtime.messages import Reply
    from ..asgi import Scope
    from ..call import Call


class Openenv(Protocol):
    """What the operations do; `name` is the environment's in the path, `client` the address of the client."""

    async def metadata(self, name: str, client: str | None) -> dict[str, Any]: ...  # noqa: D102 -- see the operations

    async def schemas(self, name: str, client: str | None) -> dict[str, Any]: ...  # noqa: D102

    async def reset(self, name: str, body: dict[str, Any], client: str | None) -> dict[str, Any]: ...  # noqa: D102

    async def step(self, name: str, body: dict[str, Any], client: str | None) -> dict[str, Any]: ...  # noqa: D102

    async def answer(self, name: str, request: Any, client: str | None) -> dict[str, Any]: ...  # noqa: D102

    def document(self, name: str, scope: Scope) -> dict[str, Any]: ...  # noqa: D102


class OpenenvHandlers:
    """Handlers of the tag `openenv`.

    Args:
        settings: the server's settings.
        openenv: returns what serves the operations, which is loaded on first use.
    """

    def __init__(self, settings: Settings, openenv: Callable[[], Openenv]) -> None:
        self._settings = settings
        self._openenv = openenv

    async def get_openenv_health(self, call: Call, env_id: str) -> Reply:
        """Return that the server is up."""
        self._check()
        return json_reply({"status": "healthy"})

    async def get_openenv_state(self, call: Call, env_id: str) -> Reply:
        """Return the state before the first episode."""
        self._check()
        return json_reply({"episode_id": None, "step_count": 0})

    async def get_openenv_metadata(self, call: Call, env_id: str) -> Reply:
        """Return what an environment is, in words."""
        return json_reply(await self._check().metadata(env_id, call.client))

    async def get_openenv_schema(self, call: Call, env_id: str) -> Reply:
        """Return the JSON Schemas of an environment."""
        return json_reply(await self._check().schemas(env_id, call.client))

    async def get_openenv_document(self, call: Call, env_id: str) -> Reply:
        """Return the part of the contract that is about one environment."""
        return json_reply(self._check().document(env_id, call.scope or {}))

    async def reset_openenv(self, call: Call, env_id: str, body: Any = None) -> Reply:
        """Return the first observation of a new environment."""
        return json_reply(await self._check().reset(env_id, body if isinstance(body, dict) else {}, call.client))

    async def step_openenv(self, call: Call, env_id: str, body: dict[str, Any]) -> Reply:
        """Return what an action does in a new environment."""
        return json_reply(await self._check().step(env_id, body, call.client))

    async def call_openenv_mcp(self, call: Call, env_id: str, body: Any = None) -> Reply:
        """Answer a request of OpenEnv's JSON-RPC; the body is a problem where it is not JSON."""
        return json_reply(await self._check().answer(env_id, body, call.client))

    def _check(self) -> Openenv:
        check_openenv(self._settings)
        return self._openenv()


def check_openenv(settings: Settings) -> None:
    """Raise HttpProblem where OpenEnv's clients are not served."""
    if not settings.serves_openenv:
        detail = "OpenEnv is not served here: start the server without --no-openenv, and with a key or on loopback"
        raise HttpProblem(404, "not-found", detail)
