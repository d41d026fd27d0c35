"""`InstanceMethods`: create, list, describe, rename and close instances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import OperationBase, given, instance_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import EllipsisType


class InstanceMethods(OperationBase):
    """The operations that create, describe and close instances."""

    def create_env(
        self,
        env_id: str,
        *,
        seed: int | None = None,
        kwargs: dict[str, Any] | None = None,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        library: str | None = None,
        interpreter: str | None = None,
        call_timeout: float | None = None,
        num_envs: int | None = None,
        vectorization_mode: str | None = None,
        autoreset_mode: str | None = None,
        wrappers: Sequence[Mapping[str, Any]] | None = None,
        autoreset: bool | None = None,
        name: str | None = None,
        labels: dict[str, str] | None = None,
        lease: float | EllipsisType | None = ...,
        action_check: str | None = None,
    ) -> dict[str, str]:
        """Make an environment, or a batch of environments.

        Args:
            env_id: such as `CartPole-v1`; a retired id is served by its successor.
            seed: makes the first episode and the sampled actions repeatable; 0 is a seed.
            kwargs: passed to the environment's constructor.
            max_episode_steps: truncates episodes after this number of steps.
            render_mode: by default `rgb_array`, where the environment has it.
            library: `auto`, `gymnasium`, `gym`, `envpool`, `pettingzoo`, `safety-gymnasium` or `stable-retro`.
            interpreter: the name of another Python on the server that makes it; None for the server's own, or for the only
                interpreter that has the id where the server's own does not.
            call_timeout: seconds that one call of this environment may take on the server.
            num_envs: makes a batch with this number of lanes, for `reset_batch` and `step_batch`.
            vectorization_mode: how the batch is made: `auto`, `sync`, `async` or `vector_entry_point`.
            autoreset_mode: when a batch resets a lane whose episode has ended: `next_step`, `same_step` or `disabled`.
            wrappers: wrappers of Gymnasium, the innermost first: a `name` and optional `kwargs` each.
            autoreset: the step after the end of an episode starts the next one; not for a batch.
            name: shown in lists and on pages.
            labels: texts by name, shown with the name.
            lease: seconds without a use or a renewal after which the instance is closed; None for no lease (the
                server's `--idle-timeout` still applies). By default 240 for a `Client`.
            action_check: which actions are refused: `strict`, `lenient` or `library`; by default the server's setting.

        Returns:
            `instance_id`, the served `env_id`, `library` with its version, and `interpreter` unless it is the server's own.
            From the router of a cluster also `url`, where the instance can be reached directly, and its `key` there.
        """
        if lease is ...:
            lease = self._default_lease
        body = given(
            env_id=env_id,
            seed=seed,
            kwargs=kwargs,
            max_episode_steps=max_episode_steps,
            render_mode=render_mode,
            library=library,
            interpreter=interpreter,
            call_timeout=call_timeout,
            num_envs=num_envs,
            vectorization_mode=vectorization_mode,
            autoreset_mode=autoreset_mode,
            wrappers=wrappers,
            autoreset=autoreset,
            name=name,
            labels=labels,
            lease=lease,
            action_check=action_check,
        )
        created = self._call("POST", "/v1/envs/", body, keyed=True)
        if isinstance(lease, int | float):
            self._note_lease(created["instance_id"], lease)
        if "url" in created:
            self._note_place(created["instance_id"], created["url"], created.get("key"))
        return created

    def list_envs(self) -> dict[str, str]:
        """Return the environment id of every live instance by instance id."""
        envs: dict[str, str] = self._call("GET", "/v1/envs/", repeatable=True)["envs"]
        return envs

    def list_named_envs(self) -> dict[str, dict[str, Any]]:
        """Return `env_id`, `name` (a text or None) and `labels` (texts by name) of every live instance by instance id.

        It is the same request as that of `list_envs`.
        """
        reply = self._call("GET", "/v1/envs/", repeatable=True)
        # Older servers have no names.
        names, labels = reply.get("names", {}), reply.get("labels", {})
        return {
            instance_id: {"env_id": env_id, "name": names.get(instance_id), "labels": labels.get(instance_id, {})}
            for instance_id, env_id in reply["envs"].items()
        }

    def get_env(self, instance_id: str) -> dict[str, Any]:
        """Return the description of an instance: its spaces, `state`, numbers of `steps` and `episodes`."""
        return self._call("GET", instance_path(instance_id, "/"), repeatable=True)

    def update_env(
        self,
        instance_id: str,
        *,
        name: str | EllipsisType | None = ...,
        labels: dict[str, str | None] | EllipsisType | None = ...,
    ) -> dict[str, Any]:
        """Change the name and the labels of an instance; return what `get_env` does.

        Args:
            instance_id: the instance.
            name: one line; None removes the name, and without this argument it stays.
            labels: texts to set by name, None for a label to remove; None removes all labels.
        """
        changes = {key: value for key, value in (("name", name), ("labels", labels)) if value is not ...}
        return self._call("PATCH", instance_path(instance_id, "/"), changes, repeatable=True)

    def renew_leases(self, instance_ids: Sequence[str]) -> list[str]:
        """Renew the leases of at most 4,096 instances; return the ids that are unknown."""
        body = {"instance_ids": list(instance_ids)}
        unknown: list[str] = self._call("POST", "/v1/leases/", body, repeatable=True)["unknown"]
        return unknown

    def close_env(self, instance_id: str) -> None:
        """Close the environment and forget the instance."""
        self._call("POST", instance_path(instance_id, "/close/"), keyed=True)
        self._note_end(instance_id)

    def delete_env(self, instance_id: str) -> None:
        """Close the environment and forget the instance; the same as `close_env`."""
        self._call("DELETE", instance_path(instance_id, "/"), keyed=True)
        self._note_end(instance_id)
