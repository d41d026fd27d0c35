"""The pages at a router: those about the cluster are its own, the others a shard's."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from .. import __version__
from ..api.guard.proxy import with_router_url
from ..api.problems import STATUS, HttpProblem, slug_of
from ..console import ClusterFacts, ConsoleView, InstanceRow, ShardRow
from ..console.shard import row_of
from ..errors import GymHttpServerError
from .forwarding import forward

if TYPE_CHECKING:
    from ..api.asgi import Receive, Scope, Send
    from ..api.pages import Pages
    from ..instances.closed import ClosedInstance
    from .cluster import Cluster

OVERVIEW_SECONDS: Final = 0.5
"""Time for which what the shards told is shown again: the home page asks several questions."""

WAIT_SECONDS: Final = 30.0
"""Time limit for asking the shards; those that are lost end it earlier."""

NEW: Final = "new"
"""The last part of the path of the form that makes an instance."""


class ClusterPages:
    """An ASGI app that serves the pages, and passes those about one instance, the registry or evaluations on to a shard.

    Args:
        pages: the router's own pages.
        cluster: the cluster.
        max_body: maximum bytes of a body.
    """

    def __init__(self, pages: Pages, cluster: Cluster, max_body: int) -> None:
        self._pages = pages
        self._cluster = cluster
        self._max_body = max_body
        self.refuse = pages.refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        room, _, rest = scope["path"].strip("/").partition("/")
        name = rest.partition("/")[0]
        if room not in ("instances", "environments", "scoreboard", "recordings") or scope["method"] not in (
            "GET",
            "HEAD",
        ):
            await self._pages(scope, receive, send)
            return
        try:
            if room == "instances" and name != NEW:
                pool = self._cluster.pool_of(name)
            else:
                pool = await self._cluster.any_pool(name if room == "scoreboard" else "")
            await forward(pool, with_router_url(scope), receive, send, key=self._cluster.key, max_body=self._max_body)
        except GymHttpServerError as error:
            status = STATUS[type(error)]
            problem = HttpProblem(404 if status == 400 else status, slug_of(type(error)), error.detail)
            await self.refuse(problem, scope, send)


@dataclasses.dataclass(slots=True)
class Overview:
    """What the shards tell of their instances, the newest first."""

    count: int = 0
    steps: int = 0
    libraries: dict[str, str] = dataclasses.field(default_factory=dict)
    newest: list[InstanceRow] = dataclasses.field(default_factory=list)
    watchable: list[InstanceRow] = dataclasses.field(default_factory=list)


class ClusterView(ConsoleView):
    """What the home page and the page of frames show of a cluster. Thread-safe, once it is started.

    Args:
        cluster: the cluster.
    """

    def __init__(self, cluster: Cluster) -> None:  # its instances are on the shards
        self.version = __version__
        self.started_at = datetime.now(UTC)
        self.engine = "ray"
        self._cluster = cluster
        self._loop: asyncio.AbstractEventLoop | None = None
        self._latest: tuple[float, Overview, ClusterFacts] | None = None

    def start(self) -> None:
        """Take note of the event loop."""
        self._loop = asyncio.get_running_loop()

    def cluster(self) -> ClusterFacts:
        """Return the facts of the cluster."""
        return self._look()[1]

    def libraries(self) -> dict[str, str]:
        """Return the libraries that the shards have, with their versions."""
        return self._look()[0].libraries

    def sums(self) -> tuple[int, int]:
        """Return the number of instances, and that of their steps."""
        overview = self._look()[0]
        return overview.count, overview.steps

    def newest(self, most: int) -> list[InstanceRow]:
        """Return a row for each of the newest instances, the newest first; lost ones are among them."""
        return self._look()[0].newest[:most]

    def watchable(self, most: int) -> list[InstanceRow]:
        """Return a row for each of the newest instances that give frames, the newest first."""
        return self._look()[0].watchable[:most]

    def find(self, instance_id: str) -> InstanceRow | None:  # noqa: ARG002 -- a shard has the page
        """Return None: the page of an instance is its shard's."""
        return None

    def find_closed(self, instance_id: str) -> ClosedInstance | None:  # noqa: ARG002 -- as above
        """Return None: as `find`."""
        return None

    def _look(self) -> tuple[Overview, ClusterFacts]:
        latest = self._latest
        if latest is not None and time.monotonic() - latest[0] < OVERVIEW_SECONDS:
            return latest[1:]
        assert self._loop is not None, "started before the first request"  # noqa: S101 -- for the type checker
        overview = asyncio.run_coroutine_threadsafe(self._ask(), self._loop).result(WAIT_SECONDS)
        self._latest = time.monotonic(), *overview
        return overview

    async def _ask(self) -> tuple[Overview, ClusterFacts]:
        replies = await self._cluster.ask_all("GET", b"/shard/overview")
        overview = Overview()
        for reply in replies.values():
            if reply.status == 200:
                _add(overview, json.loads(reply.body))
        lost = [row for seen in self._cluster.lost().values() for row in _lost_rows(seen)]
        overview.newest = sorted(overview.newest, key=lambda row: row.created_at, reverse=True) + lost
        overview.watchable.sort(key=lambda row: row.created_at, reverse=True)
        overview.count += len(lost)
        return overview, self._facts()

    def _facts(self) -> ClusterFacts:
        shards, status = self._cluster.shards, self._cluster.shards.status()
        answering = {pool.shard.prefix for pool in self._cluster.pools()}
        rows = [
            ShardRow(
                shard.prefix,
                shard.node,
                "ready" if shard.prefix in answering else "silent",
                shard.instances,
                shard.room,
                shard.url,
            )
            for shard in shards.shards()
        ]
        seen = self._cluster.seen
        rows += [
            ShardRow(prefix, "", "lost", len(seen.get(prefix, {}).get("envs", ())), 0, loss=loss)
            for prefix, loss in status.losses.items()
        ]
        nodes = [(node.name, "ready" if node.is_alive else "lost", node.resources) for node in status.nodes]
        return ClusterFacts(nodes, rows, status.pending, status.problem or "")


def _add(overview: Overview, told: dict[str, Any]) -> None:
    overview.count += told["count"]
    overview.steps += told["steps"]
    overview.libraries |= told["libraries"]
    overview.newest += [row_of(row) for row in told["newest"]]
    overview.watchable += [row_of(row) for row in told["watchable"]]


def _lost_rows(seen: dict[str, Any]) -> list[InstanceRow]:
    now = datetime.now(UTC)
    return [
        InstanceRow(
            instance_id=instance_id,
            env_id=env_id,
            library="unknown",
            engine="process",
            state="lost",
            steps=0,
            episodes=0,
            created_at=now,
            last_used_at=now,
            name=seen.get("names", {}).get(instance_id),
            labels=seen.get("labels", {}).get(instance_id, {}),
        )
        for instance_id, env_id in seen.get("envs", {}).items()
    ]
