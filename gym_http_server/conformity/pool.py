"""`Pool`: live instances for generated requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .nonconformity import NotServed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LANES = 2
_ENDS_IT = ("closeEnv", "deleteEnv")


class Pool:
    """Live instances for the operations that need one, each made when it is first asked for.

    Args:
        create: makes an instance of an environment id and further members of createEnv, resets it and returns its id;
            raises `NotServed` where there is no such environment.
        snapshot: makes a snapshot of an instance and returns its id.
        env_ids: what to make instances of.
    """

    def __init__(self, create: Callable[..., str], snapshot: Callable[[str], str], env_ids: tuple[str, ...]) -> None:
        self._create = create
        self._snapshot = snapshot
        self._snapshots: dict[str, str] = {}
        self._env_ids = env_ids
        self._ids: dict[str, list[str]] = {}
        self._failures: dict[str, Exception] = {}
        self._taken = 0

    def take(self, operation: dict[str, Any]) -> str:
        """Return an instance that the operation can be asked of, in turn; a new one where that ends it.

        Raises:
            NotServed: no environment of the pool is served.
        """
        if operation["operationId"] in _ENDS_IT:
            return next(self._made())
        kind = "batches" if "batches" in operation["tags"] else "environments"
        if kind in self._failures:
            # Not tried again for each request: what was made in the attempt is still there.
            raise self._failures[kind]
        if kind not in self._ids:
            try:
                self._ids[kind] = list(self._made(**({"num_envs": LANES} if kind == "batches" else {})))
            except Exception as error:
                self._failures[kind] = error
                raise
        self._taken += 1
        return self._ids[kind][self._taken % len(self._ids[kind])]

    def snapshot(self, instance_id: str, operation: dict[str, Any]) -> str:
        """Return a snapshot of an instance; a new one where the operation ends it."""
        if operation["operationId"] == "deleteSnapshot":
            return self._snapshot(instance_id)
        if instance_id not in self._snapshots:
            self._snapshots[instance_id] = self._snapshot(instance_id)
        return self._snapshots[instance_id]

    def _made(self, **further: Any) -> Iterator[str]:
        refused: list[NotServed] = []
        for env_id in self._env_ids:
            try:
                yield self._create(env_id, **further)
            except NotServed as error:
                refused.append(error)
        if len(refused) == len(self._env_ids):
            raise NotServed(f"none of {', '.join(self._env_ids)} is served there") from refused[0]
