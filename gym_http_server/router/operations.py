"""The contract's operations at a router: placed on a shard, merged from all, or passed on to the shard that they are about."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from .. import __version__
from ..api.call import KEY_NAME, LOOKUP_NAME
from ..api.content.headers import wants_html_only
from ..api.handlers.openenv import check_openenv
from ..api.normalizer import ClientDisconnected, operation_of, read_body, send_problem
from ..api.problems import HttpProblem, problem_of
from ..errors import GymHttpServerError, InstanceLostError, NoShardError, ShardUnreachableError
from ..runtime.messages import JSON
from ..runtime.values.encoding import json_bytes
from ..support.instance_keys import instance_key
from .agents.openenv_operations import OpenenvOperations
from .exchanges import WholeReply, ask, request_headers, send_reply
from .forwarding import forward
from .metrics import merged_metrics
from .placing import place
from .shards import PREFIX_CHARS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..api.asgi import Receive, Scope, Send
    from ..config import Settings
    from ..contract import Contract
    from .cluster import Cluster
    from .connections import ConnectionPool

OF_DIRECTORY: Final = (
    "getRecording",
    "getRecordedEpisode",
    "getRecordedFrame",
    "downloadRecordedDataset",
    "downloadRecording",
)
"""The operationIds of operations about a recording, which lies on the machine of one shard."""

MAX_PAGE, MAX_PAGE_SIZE = 1_000_000, 1000
"""The maxima of `page` and `page_size` in the contract."""

CLOSING: Final = ("deleteEnv", "closeEnv")
MAX_IDS, MAX_ID_CHARS = 4096, 64
"""Limits of `InstanceIds` and `InstanceId` in the contract."""


class ClusterOperations:
    """An ASGI app that serves the operations of the contract.

    Args:
        settings: the router's settings.
        cluster: the cluster.
        contract: the contract.
        shut_down: stops the router after the current reply.
        is_direct: whether createEnv tells where an instance can be reached directly.
    """

    def __init__(
        self,
        settings: Settings,
        cluster: Cluster,
        contract: Contract,
        shut_down: Callable[[], None],
        *,
        is_direct: bool = True,
    ) -> None:
        self._settings = settings
        self._max_body = settings.max_body
        self._openenv = OpenenvOperations(cluster, settings.max_body)
        self._cluster = cluster
        self._contract = contract
        self._shut_down = shut_down
        self._is_direct = is_direct
        self._own = {
            "createEnv": self._create,
            "listEnvs": self._list,
            "renewLeases": self._renew,
            "uploadRecording": self._upload,
            "listRecordings": self._list_recordings,
            "getHealth": self._health,
            "getMetrics": self._metrics,
            "shutdownServer": self._shutdown,
        }
        self._creating: dict[str, asyncio.Task[WholeReply]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            operation_id, arguments = self._find(scope)
            own = self._own.get(operation_id)
            if own is not None:
                await own(scope, receive, send)
            elif scope["path"].startswith("/openenv/"):
                check_openenv(self._settings)
                await self._openenv.serve(operation_id, arguments["env_id"], scope, receive, send)
            elif operation_id in OF_DIRECTORY:
                await self._forward(await self._pool_of_directory(scope), scope, receive, send, self._cluster.key)
            elif "instance_id" in arguments:
                await self._pass_on(operation_id, arguments["instance_id"], scope, receive, send)
            else:
                pool = await self._cluster.any_pool(arguments.get("evaluation_id", ""))
                await self._forward(pool, scope, receive, send, self._cluster.key)
        except ClientDisconnected:
            return
        except (HttpProblem, GymHttpServerError) as error:
            await send_problem(problem_of(error), send)

    def _find(self, scope: Scope) -> tuple[str, dict[str, str]]:
        """Return the operationId of a request, and the parameters in its path."""
        item, _, operation = operation_of(self._contract, scope)
        match = item.pattern.fullmatch(scope["path"])
        return operation["operationId"], {} if match is None else match.groupdict()

    async def _forward(self, pool: ConnectionPool, scope: Scope, receive: Receive, send: Send, key: bytes) -> int:
        try:
            return await forward(pool, scope, receive, send, key=key, max_body=self._max_body)
        except ShardUnreachableError:
            self._cluster.report(pool.shard.prefix)
            raise

    async def _pass_on(self, operation_id: str, instance_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request for an instance on to its shard."""
        cluster = self._cluster
        try:
            pool = cluster.pool_of(instance_id)
        except InstanceLostError:
            if operation_id not in CLOSING:
                raise
            # As everywhere, a lost instance can be closed.
            cluster.forget(instance_id)
            await _send_void(scope, send)
            return
        status = await self._forward(pool, scope, receive, send, cluster.key_of(instance_id))
        if operation_id in CLOSING and status == 200:
            cluster.forget(instance_id)

    async def _create(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Make an instance on a shard with room."""
        body = await read_body(scope, receive, self._max_body)
        headers = request_headers(scope["headers"])
        key = dict(headers).get(KEY_NAME)
        if key is None:
            reply = await self._place(headers, body, is_keyed=False)
        else:
            reply = await self._create_once(key.decode("latin-1"), headers, body)
        await send_reply(reply, send)

    async def _create_once(self, key: str, headers: list[tuple[bytes, bytes]], body: bytes) -> WholeReply:
        """Make an instance with an Idempotency-Key, unless a shard has made it before.

        Every shard is asked, because any may have been chosen then, and a router keeps nothing that a restart would lose.
        """
        task = self._creating.get(key)
        if task is not None:
            # Only after that one is it known where the key was used.
            await asyncio.wait([task])
        pools = self._cluster.pools()
        asked = await asyncio.gather(*(self._look_up(pool, headers, body) for pool in pools))
        for pool, reply in zip(pools, asked, strict=True):
            if reply is not None:
                return self._told(pool, reply, body)
        task = asyncio.get_running_loop().create_task(self._place(headers, body, is_keyed=True))
        self._creating[key] = task
        task.add_done_callback(lambda _: self._creating.pop(key, None))
        return await asyncio.shield(task)

    async def _look_up(
        self, pool: ConnectionPool, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> WholeReply | None:
        """Return the reply of a shard to an earlier request with the same key; None if it has none."""
        try:
            reply = await self._ask_to_create(pool, [*headers, (LOOKUP_NAME, b"1")], body, is_repeatable=True)
        except ShardUnreachableError:
            self._cluster.report(pool.shard.prefix)
            return None
        return None if reply.body == b"{}" else reply

    async def _place(self, headers: list[tuple[bytes, bytes]], body: bytes, *, is_keyed: bool) -> WholeReply:
        """Make an instance on a shard with room."""
        pool, reply = await place(
            self._cluster, lambda pool: self._ask_to_create(pool, headers, body, is_repeatable=is_keyed)
        )
        return self._told(pool, reply, body)

    async def _ask_to_create(
        self, pool: ConnectionPool, headers: list[tuple[bytes, bytes]], body: bytes, *, is_repeatable: bool
    ) -> WholeReply:
        return await ask(
            pool,
            "POST",
            b"/v1/envs/",
            key=self._cluster.key,
            headers=headers,
            body=body,
            is_repeatable=is_repeatable,
        )

    def _told(self, pool: ConnectionPool, reply: WholeReply, body: bytes) -> WholeReply:
        """Return the reply of createEnv with where the instance can be reached directly, and the key for that."""
        if reply.status != 200:
            return reply
        told = json.loads(reply.body)
        instance_id = told["instance_id"]
        seen = self._cluster.seen.setdefault(instance_id[:PREFIX_CHARS], {})
        for name in ("envs", "all_envs"):
            seen.setdefault(name, {})[instance_id] = told["env_id"]
        asked = json.loads(body)
        for name, value in (("names", asked.get("name")), ("labels", asked.get("labels"))):
            if value:
                seen.setdefault(name, {})[instance_id] = value
        if not self._is_direct:
            return reply
        told["url"] = pool.shard.url
        if self._cluster.shards.key:
            told["key"] = instance_key(self._cluster.shards.key, instance_id)
        return reply._replace(body=json_bytes(told))

    async def _list(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        """List the instances of all shards, lost ones among them."""
        cluster = self._cluster
        await cluster.list()
        merged: dict[str, dict[str, Any]] = {"envs": {}, "all_envs": {}, "names": {}, "labels": {}, "interpreters": {}}
        live = {pool.shard.prefix for pool in cluster.pools()}
        silent = {prefix: seen for prefix, seen in cluster.seen.items() if prefix not in live}
        for seen in [*(cluster.seen[prefix] for prefix in live if prefix in cluster.seen), *silent.values()]:
            for name, members in seen.items():
                merged.setdefault(name, {}).update(members)
        await _send_json(merged, send)

    async def _renew(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Renew leases, each on the shard of its instance."""
        body = await read_body(scope, receive, self._max_body)
        cluster = self._cluster
        ids = _instance_ids(body)
        pools = {pool.shard.prefix: pool for pool in cluster.pools()}
        headers = request_headers(scope["headers"])
        if ids is None:
            # A shard has the words for what is wrong.
            pool = await cluster.any_pool()
            reply = await ask(pool, "POST", b"/v1/leases/", key=cluster.key, headers=headers, body=body)
            await send_reply(reply, send)
            return
        by_shard: dict[str, list[str]] = {}
        for instance_id in ids:
            by_shard.setdefault(instance_id[:PREFIX_CHARS], []).append(instance_id)
        unknown: set[str] = set()
        asked = []
        for prefix, part in by_shard.items():
            if prefix in pools:
                request = json_bytes({"instance_ids": part})
                asked.append(
                    ask(
                        pools[prefix],
                        "POST",
                        b"/v1/leases/",
                        key=cluster.key,
                        headers=headers,
                        body=request,
                        is_repeatable=True,
                    )
                )
            else:
                unknown.update(part)
        for reply in await asyncio.gather(*asked):
            if reply.status != 200:
                await send_reply(reply, send)
                return
            unknown.update(json.loads(reply.body)["unknown"])
        await _send_json({"unknown": [each for each in ids if each in unknown]}, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Upload a recording from the shard that has its directory."""
        body = await read_body(scope, receive, self._max_body)
        headers = request_headers(scope["headers"])
        latest: WholeReply | None = None
        for pool in self._cluster.pools() or [await self._cluster.any_pool()]:
            reply = await ask(pool, "POST", b"/v1/upload/", key=self._cluster.key, headers=headers, body=body)
            if reply.problem not in ("no-recording", "forbidden-directory"):
                await send_reply(reply, send)
                return
            latest = reply
        if latest is not None:
            await send_reply(latest, send)

    async def _pool_of_directory(self, scope: Scope) -> ConnectionPool:
        """Return the pool of the shard that has the recording in the query; any if none has, which tells why."""
        target = b"/v1/recordings/details/?" + scope["query_string"]
        for prefix, reply in (await self._cluster.ask_all("GET", target)).items():
            if reply.status == 200:
                return self._cluster.pool_of(prefix)
        return await self._cluster.any_pool()

    async def _list_recordings(self, scope: Scope, receive: Receive, send: Send) -> None:
        """List the recordings on the machines of all shards; those on a shared disk once."""
        page, size = _page_and_size(scope["query_string"])
        if not (1 <= page <= MAX_PAGE and 1 <= size <= MAX_PAGE_SIZE):
            # A shard has the words for what is wrong.
            await self._forward(await self._cluster.any_pool(), scope, receive, send, self._cluster.key)
            return
        recordings: dict[str, dict[str, Any]] = {}
        totals: dict[str, int] = {}
        is_complete = True
        pools, number = self._cluster.pools(), 0
        # However high the page is, shards are asked for no more pages than they have.
        while pools and number * MAX_PAGE_SIZE < page * size:
            number += 1
            target = b"/v1/recordings/?page=%d&page_size=%d" % (number, MAX_PAGE_SIZE)
            replies = await self._cluster.ask_all("GET", target, pools)
            for prefix, reply in replies.items():
                if reply.status != 200:
                    await send_reply(reply, send)
                    return
                told = json.loads(reply.body)
                totals[prefix] = told["total"]
                is_complete = is_complete and told["is_complete"]
                for each in told["recordings"]:
                    recordings.setdefault(each["directory"], each)
            pools = [pool for pool in pools if totals.get(pool.shard.prefix, 0) > number * MAX_PAGE_SIZE]
        newest = sorted(recordings.values(), key=lambda each: str(each["updated_at"]), reverse=True)
        # Shards on one machine tell the same recordings.
        total = len(newest) if all(each <= len(newest) for each in totals.values()) else max(totals.values())
        shown = newest[(page - 1) * size : page * size]
        merged = {"total": total, "page": page, "page_size": size, "is_complete": is_complete, "recordings": shown}
        await _send_json(merged, send)

    async def _health(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        """Tell that the router is up, or why the cluster is not."""
        cluster = self._cluster
        problem = cluster.shards.status().problem
        if problem is not None:
            raise NoShardError.of(problem)
        empty = sum(pool.load.empty_sessions for pool in cluster.pools())
        instances = max(0, sum(shard.instances for shard in cluster.shards.shards()) - empty)
        told = {"status": "ok", "version": __version__, "engine": "ray", "instances": instances}
        await _send_json(told, send)

    async def _metrics(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        """Return the metrics of all shards."""
        cluster = self._cluster
        replies = await cluster.ask_all("GET", b"/metrics")
        texts = {prefix: reply.body for prefix, reply in sorted(replies.items()) if reply.status == 200}
        text, media_type = await merged_metrics(texts, cluster.shards)
        await send_reply(WholeReply(200, [(b"content-type", media_type.encode())], text), send)

    async def _shutdown(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        """Stop this router, and with it the cluster if the router started that (`Shards.stop`)."""
        self._shut_down()
        await _send_void(scope, send)


def _page_and_size(query_string: bytes) -> tuple[int, int]:
    """Return `page` and `page_size` of a query, and zeros if they are no numbers."""
    query = parse_qs(query_string.decode("latin-1"), keep_blank_values=True)
    page, size = (query.get(name, [default])[-1] for name, default in (("page", "1"), ("page_size", "50")))
    return (int(page), int(size)) if re.fullmatch("[0-9]{1,9} [0-9]{1,9}", f"{page} {size}") else (0, 0)


def _instance_ids(body: bytes) -> list[str] | None:
    """Return the ids in the body of `renewLeases`; None if they are not what the contract says."""
    try:
        value = json.loads(body)
    except ValueError:
        return None
    ids = value.get("instance_ids") if isinstance(value, dict) else None
    is_valid = isinstance(ids, list) and 0 < len(ids) <= MAX_IDS and all(map(_is_id, ids))
    return ids if is_valid else None


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARS


async def _send_json(value: Any, send: Send) -> None:
    await send_reply(WholeReply(200, [(b"content-type", JSON.encode())], json_bytes(value)), send)


async def _send_void(scope: Scope, send: Send) -> None:
    accept = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"), None)
    media_type = "text/html; charset=utf-8" if wants_html_only(accept) else JSON
    await send_reply(WholeReply(200, [(b"content-type", media_type.encode())], b"{}"), send)
