"""`OpenenvFace`: what the operations of the tag `openenv` do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from ...api.guard.proxy import root_path
from ..sessions import AgentSessions
from .dialect import Dialect
from .environments import OpenenvEnvironments
from .lost_players import LostPlayers
from .messages import schemas
from .players import OpenenvPlayers
from .sockets.connection import OpenenvSockets

if TYPE_CHECKING:
    from ...api.asgi import Scope
    from ...config import Settings
    from ...contract import Contract
    from ..operations import InProcessOperations

PREFIX: Final = "/openenv/{env_id}"
ROOT: Final = "/"
"""The name in `--openenv` of the environment that is at the server's root, too."""

_REFERENCE: Final = "#/components/"


class OpenenvFace:
    """Environments as OpenEnv's clients know them.

    Args:
        settings: the server's settings.
        contract: the contract.
        operations: executes operations.

    Attributes:
        environments: what is made for each name.
        players: the environments of live sessions.
        answer: answers a request of OpenEnv's JSON-RPC (see `Dialect.answer`).
        sockets: serves the WebSockets.
    """

    def __init__(self, settings: Settings, contract: Contract, operations: InProcessOperations) -> None:
        self._contract = contract
        self._sessions = AgentSessions(
            operations,
            settings.max_envs,
            settings.idle_timeout,
            on_end=lambda session: self.sockets.tell_end(session),
            protocol="openenv",
        )
        self.environments = OpenenvEnvironments(settings, operations)
        self.players = OpenenvPlayers(self.environments, self._sessions)
        self.answer = Dialect(self.environments, self.players).answer
        self._lost = LostPlayers(self.players, settings.openenv_grace)
        totals = operations.instances.totals
        self.sockets = OpenenvSockets(
            self.players, self._lost, self.answer, settings.max_values, totals, is_shard=bool(settings.shard)
        )

    @property
    def waiting(self) -> int:
        """Number of environments that wait for their client to come back, or whose client has been silent for a moment."""
        return self._lost.count + self.players.silent

    @property
    def empty(self) -> int:
        """Number of live sessions whose instance is being made."""
        return self._sessions.empty

    async def stop(self) -> None:
        """End all sessions; their instances are left to the server."""
        self._lost.stop()
        await self._sessions.stop()

    async def metadata(self, name: str, client: str | None) -> dict[str, Any]:
        """Return what an environment is, in words."""
        facts = await self.environments.facts(name, client)
        env_id = self.environments.body(name)["env_id"]
        library, _, version = facts.library.rpartition(" ")
        return {
            "name": env_id if name == ROOT else name,
            "description": _described(facts.documentation) or f"{env_id} of {library or version}",
            "readme_content": facts.documentation or None,
            "version": version if library else None,
            "author": None,
            "documentation_url": None,
        }

    async def schemas(self, name: str, client: str | None) -> dict[str, Any]:
        """Return the JSON Schemas of an environment."""
        return schemas(await self.environments.facts(name, client))

    async def reset(self, name: str, body: dict[str, Any], client: str | None) -> dict[str, Any]:
        """Return the first observation of a new environment."""
        async with self.players.temporary(name, client) as player:
            return await player.reset(body)

    async def step(self, name: str, body: dict[str, Any], client: str | None) -> dict[str, Any]:
        """Return what an action does in a new environment."""
        async with self.players.temporary(name, client) as player:
            await player.reset({"seed": body.get("seed")})
            return await player.step(body["action"])

    def document(self, name: str, scope: Scope) -> dict[str, Any]:
        """Return the part of the contract that is about one environment, for a request."""
        document = self._contract.document
        paths = {
            template.removeprefix(PREFIX): {key: value for key, value in item.items() if key != "parameters"}
            for template, item in document["paths"].items()
            if template.startswith(f"{PREFIX}/")
        }
        prefix = root_path(scope)
        url = prefix if name == ROOT else f"{prefix}/openenv/{quote(name)}"
        kept = {"openapi": document["openapi"], "info": {"title": name, "version": document["info"]["version"]}}
        return {
            **kept,
            "servers": [{"url": url or "/"}],
            "security": document["security"],
            "paths": paths,
            "components": _components(document, paths),
        }


def _described(documentation: str) -> str:
    """Return the first paragraph of a docstring that is no heading, in one line."""
    for paragraph in documentation.split("\n\n"):
        lines = [line.strip() for line in paragraph.splitlines() if not line.lstrip().startswith("#")]
        if any(lines):
            return " ".join(filter(None, lines))
    return ""


def _components(document: dict[str, Any], paths: dict[str, Any]) -> dict[str, Any]:
    """Return the components of a document that paths of it refer to."""
    components: dict[str, Any] = {"securitySchemes": document["components"]["securitySchemes"]}
    nodes: list[Any] = [paths]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            reference = node.get("$ref")
            if isinstance(reference, str):
                kind, _, name = reference.removeprefix(_REFERENCE).partition("/")
                if name not in components.setdefault(kind, {}):
                    components[kind][name] = document["components"][kind][name]
                    nodes.append(components[kind][name])
            nodes.extend(node.values())
        elif isinstance(node, list):
            nodes.extend(node)
    return components
