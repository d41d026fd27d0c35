"""Operations of the tag `instances`: make, list, describe and close environments."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import (
    EnvironmentFailure,
    GymHttpServerError,
    MissingDependencyError,
    UnknownEnvironmentError,
    UsageError,
)
from ...instances.metadata import Metadata
from ...interpreters.interpreters import told_by
from ...runtime.idempotency import SharedReplyCache, compact
from ...runtime.messages import CreateRequest
from ...runtime.shared.traffic import tallies
from ..call import json_reply, void_reply
from .episodes import seed_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ...config import Settings
    from ...instances.directory import Instances
    from ...instances.instance import Instance
    from ...interpreters.interpreters import Interpreters
    from ...results.kwargs import KwargsGuard, Note
    from ...runtime.messages import Reply
    from ...runtime.shared.traffic import Tally
    from ..call import Call
    from ..content.paths import Lookups


logger = logging.getLogger(__name__)


class InstanceHandlers:
    """Handlers of the tag `instances`.

    Args:
        settings: the server's settings.
        instances: the live instances.
        guard: checks kwargs.
        lookups: runs checks that access the file system.
        interpreters: the interpreters besides the server's own Python.
    """

    def __init__(
        self, settings: Settings, instances: Instances, guard: KwargsGuard, lookups: Lookups, interpreters: Interpreters
    ) -> None:
        self._settings = settings
        self._guard = guard
        self._lookups = lookups
        self._interpreters = interpreters
        self._instances = instances
        self._reply_cache = SharedReplyCache()

    async def create_env(self, call: Call, body: dict[str, Any]) -> Reply:
        """Make an environment."""
        if call.key is None:
            return await self._create(call, body)
        if self._settings.shard and call.is_lookup and not self._reply_cache.has("", call.key):
            return json_reply({})
        return await self._reply_cache.of("", call.key, lambda: self._create(call, body))

    async def _create(self, call: Call, body: dict[str, Any]) -> Reply:
        metadata = Metadata(origin=body).changed(body)
        wrappers = [{"name": each["name"], "kwargs": each.get("kwargs") or {}} for each in body.get("wrappers") or ()]
        if body.get("kwargs") or wrappers:
            await self._lookups.within_time(lambda note: self._check(body.get("kwargs") or {}, wrappers, note))
        interpreter = body.get("interpreter")
        request = CreateRequest(
            env_id=body["env_id"],
            seed=seed_of(body),
            kwargs=body.get("kwargs") or {},
            max_episode_steps=body.get("max_episode_steps"),
            render_mode=body.get("render_mode"),
            library=body.get("library", "auto"),
            strict_env_ids=self._settings.strict_env_ids,
            imports=self._settings.imports,
            num_envs=body.get("num_envs"),
            vectorization_mode=body.get("vectorization_mode", "auto"),
            autoreset_mode=body.get("autoreset_mode"),
            wrappers=wrappers,
            autoreset=body.get("autoreset") or False,
            call_timeout=body.get("call_timeout") or self._settings.call_timeout,
            interpreter=None if interpreter is None else self._interpreters.named(interpreter),
            action_check=body.get("action_check") or self._settings.action_check,
        )
        instance = await self._made(request, body.get("call_timeout"), metadata, body.get("lease"))
        made = instance.description
        _log_created(instance, call.client)
        headers = {"Warning": f'299 - "{_quotable(made.notice)}"'} if made.notice else None
        told = {"instance_id": instance.instance_id, "env_id": made.env_id, "library": made.library}
        if made.interpreter is not None:
            told["interpreter"] = made.interpreter
        reply = json_reply(told, headers)
        return reply._replace(body=compact(reply.body))

    async def _made(
        self, request: CreateRequest, call_timeout: float | None, metadata: Metadata, lease: float | None
    ) -> Instance:
        try:
            return await self._instances.create(request, call_timeout, metadata, lease)
        except (UsageError, EnvironmentFailure) as error:
            if request.interpreter is not None:
                raise told_by(request.interpreter, error) from error.__cause__
            if not self._interpreters.names or not isinstance(error, UnknownEnvironmentError | MissingDependencyError):
                raise
            interpreter = await self._interpreters.instead(request, error)
        return await self._instances.create(replace(request, interpreter=interpreter), call_timeout, metadata, lease)

    def _check(self, kwargs: dict[str, Any], wrappers: Sequence[dict[str, Any]], note: Note) -> None:
        self._guard.check(kwargs, note=note)
        for index, each in enumerate(wrappers):
            self._guard.check(each["kwargs"], f"the kwargs of wrappers[{index}]", note)

    async def list_envs(self, call: Call) -> Reply:
        """List the live instances."""
        instances = self._instances.all()
        envs = {each.instance_id: each.description.env_id for each in instances}
        names = {each.instance_id: each.metadata.name for each in instances if each.metadata.name is not None}
        labels = {each.instance_id: each.metadata.labels for each in instances if each.metadata.labels}
        described = ((each.instance_id, each.description.interpreter) for each in instances)
        interpreters = {instance_id: name for instance_id, name in described if name is not None}
        told = {"envs": envs, "all_envs": envs, "names": names, "labels": labels, "interpreters": interpreters}
        return json_reply(told)

    async def get_env(self, call: Call, instance_id: str) -> Reply:
        """Describe an instance."""
        instance = self._instances.get(instance_id)
        if instance.state == "ready":
            # An error of the environment is no reason to tell nothing of the instance.
            with contextlib.suppress(GymHttpServerError):
                await instance.read_spaces()
        return _described(instance)

    async def update_env(self, call: Call, instance_id: str, body: dict[str, Any]) -> Reply:
        """Change name and labels of an instance, and describe it."""
        instance = self._instances.get(instance_id)
        instance.metadata = instance.metadata.changed(body)
        return _described(instance)

    async def renew_leases(self, call: Call, body: dict[str, Any]) -> Reply:
        """Renew the leases of instances; return the unknown ones."""
        unknown = []
        for instance_id in body["instance_ids"]:
            instance = self._instances.find(instance_id)
            if instance is None:
                unknown.append(instance_id)
            else:
                instance.lease.renew()
        return json_reply({"unknown": unknown})

    async def close_env(self, call: Call, instance_id: str) -> Reply:
        """Close an instance."""
        key = call.key
        if key is None:
            await self._instances.close(instance_id)
        else:
            await self._reply_cache.of(instance_id, key, lambda: self._instances.close(instance_id, key))
        return void_reply(call.accept)

    delete_env = close_env


def _log_created(instance: Instance, client: str | None) -> None:
    made = instance.description
    logger.info(
        "instance %s is made: %s%s%s (%s%s) for %s",
        instance.instance_id,
        made.env_id,
        "" if made.num_envs is None else f", {made.num_envs} lanes",
        "" if instance.metadata.name is None else f", named {instance.metadata.name!r}",
        made.library,
        "" if made.interpreter is None else f", interpreter {made.interpreter}",
        client or "an unknown client",
        extra={"instance_id": instance.instance_id, "env_id": made.env_id, "client": client},
    )


def _described(instance: Instance) -> Reply:
    made = instance.description
    return json_reply(
        {
            "instance_id": instance.instance_id,
            "name": instance.metadata.name,
            "labels": instance.metadata.labels,
            "lease": instance.lease.seconds,
            "env_id": made.env_id,
            "library": made.library,
            "interpreter": made.interpreter,
            "engine": instance.engine,
            "render_mode": made.render_mode,
            "num_envs": made.num_envs,
            "vectorization_mode": made.vectorization_mode,
            "autoreset_mode": made.autoreset_mode,
            "wrappers": made.wrappers,
            "metadata": made.declared.get("metadata", {}),
            "specification": made.declared.get("specification", {}),
            "np_random_seeds": made.declared.get("np_random_seeds", []),
            "action_check": made.action_check,
            "action_space": made.action_space,
            "observation_space": made.observation_space,
            **{name: made.declared[name] for name in ("reward_space",) if name in made.declared},
            "created_at": _rfc3339(instance.created_at),
            "last_used_at": _rfc3339(instance.last_used_at),
            "steps": instance.steps,
            "episodes": instance.episodes,
            "state": instance.state,
            "loss": instance.loss,
            "hold": instance.hold.state,
            "recording": instance.metadata.recording,
            "busy_since": None if instance.busy_since is None else _rfc3339(instance.busy_since),
            "traffic": [_told(tally) for tally in tallies(instance.counted)],
        }
    )


def _told(tally: Tally) -> dict[str, Any]:
    return {
        "operation": tally.operation,
        "statuses": tally.statuses,
        "received_bytes": tally.received,
        "sent_bytes": tally.sent,
        "mean_seconds": tally.mean,
        "p50_seconds": tally.quantile(0.5),
        "p99_seconds": tally.quantile(0.99),
    }


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _quotable(text: str) -> str:
    """Return a text that can stand in a quoted string of a header: printable ASCII without quotes."""
    return "".join(each if " " <= each <= "~" and each not in '"\\' else "?" for each in text)
