"""`LegacyMethods`: the method names of the original gym-http-api client, for programs written against it.

A program changes its import to `from gym_http_server.client import Client` and keeps its calls. Errors of the server are
`ServerProblem`, whose `message` and `status_code` are those of the original's `ServerError`. New programs use the methods of
`Operations`, which tell `terminated` from `truncated`.
"""

from __future__ import annotations

import os
from typing import Any

from .operations import Operations
from .operations.base import instance_path


class LegacyMethods(Operations):
    """A mixin with the original client's methods, their arguments and their results."""

    def env_create(self, env_id: str) -> str:
        """Make an environment; return its instance id."""
        return self.create_env(env_id)["instance_id"]

    def env_list_all(self) -> dict[str, str]:
        """Return the environment id of every live instance by instance id."""
        return self.list_envs()

    def env_reset(self, instance_id: str) -> Any:
        """Start an episode; return its first observation."""
        return self.reset_env(instance_id)["observation"]

    def env_step(self, instance_id: str, action: Any, render: bool = False) -> list[Any]:
        """Take one action; return a list of observation, reward, done and info."""
        reply = self.step_env(instance_id, action, render)
        return [reply["observation"], reply["reward"], reply["done"], reply["info"]]

    def env_action_space_info(self, instance_id: str) -> dict[str, Any]:
        """Return the action space."""
        return self.get_action_space(instance_id)

    def env_action_space_sample(self, instance_id: str) -> Any:
        """Return a random action."""
        return self.sample_action(instance_id)

    def env_action_space_contains(self, instance_id: str, x: Any) -> bool:
        """Return whether the action space contains `x`."""
        return self.action_space_contains(instance_id, x)

    def env_observation_space_info(self, instance_id: str) -> dict[str, Any]:
        """Return the observation space."""
        return self.get_observation_space(instance_id)

    def env_observation_space_contains(self, instance_id: str, params: dict[str, Any]) -> bool:
        """Return whether each member of `params`, such as `name` or `shape`, is that of the observation space."""
        return self._is_member(instance_path(instance_id, "/observation_space/contains"), params)

    def env_monitor_start(
        self,
        instance_id: str,
        directory: str,
        force: bool = False,
        resume: bool = False,
        video_callable: bool | int = False,
    ) -> None:
        """Record the episodes of an instance."""
        self.start_monitor(instance_id, directory, force=force, resume=resume, video_callable=video_callable)

    def env_monitor_close(self, instance_id: str) -> None:
        """Stop recording."""
        self.close_monitor(instance_id)

    def upload(self, training_dir: str, algorithm_id: str | None = None, api_key: str | None = None) -> None:
        """Upload a recording; the default of `api_key` is the variable OPENAI_GYM_API_KEY."""
        self.upload_recording(training_dir, api_key or os.environ.get("OPENAI_GYM_API_KEY", ""), algorithm_id)

    def env_close(self, instance_id: str) -> None:
        """Close the environment and forget the instance."""
        self.close_env(instance_id)
