"""`SpaceMethods`: action and observation spaces, and the tabular model of an environment."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from .base import OperationBase, instance_path


class SpaceMethods(OperationBase):
    """The operations about the spaces of an instance."""

    def get_action_space(self, instance_id: str) -> dict[str, Any]:
        """Return the action space: its `name`, and `n`, `shape`, `low`, `high`, `dtype`, … as far as it has them."""
        space: dict[str, Any] = self._call("GET", instance_path(instance_id, "/action_space/"), repeatable=True)["info"]
        return space

    def get_observation_space(self, instance_id: str) -> dict[str, Any]:
        """Return the observation space, as `get_action_space` does."""
        path = instance_path(instance_id, "/observation_space/")
        space: dict[str, Any] = self._call("GET", path, repeatable=True)["info"]
        return space

    def sample_action(self, instance_id: str) -> Any:
        """Return a random action of the generator that `seed` of `create_env` seeded."""
        return self._call("GET", instance_path(instance_id, "/action_space/sample"), hot=True)["action"]

    def sample_space(self, instance_id: str, space: str, part: str = "") -> Any:
        """Return a random value of a space.

        Args:
            instance_id: the instance.
            space: `action` or `observation`.
            part: JSON pointer to a space in its description, such as `/spaces/mission`.
        """
        return self.sample_space_typed(instance_id, space, part)["value"]

    def sample_space_typed(self, instance_id: str, space: str, part: str = "") -> dict[str, Any]:
        """Return the `value` of `sample_space`, and the `types` of NumPy and Python in it if there are any."""
        return self._call("POST", instance_path(instance_id, "/space/sample"), {"space": space, "part": part})

    def action_space_contains(self, instance_id: str, action: Any, part: str = "") -> bool:
        """Return whether the action space contains `action`, or the space in its description at the JSON pointer `part`."""
        path = instance_path(instance_id, "/action_space/contains")
        return self._is_member(path, {"action": action} | ({"part": part} if part else {}))

    def action_space_contains_value(self, instance_id: str, x: str) -> bool:
        """Return whether the action space contains the action whose JSON is `x`, such as `[0.5]`."""
        path = instance_path(instance_id, f"/action_space/contains/{quote(x, safe='')}")
        return bool(self._call("GET", path, repeatable=True)["member"])

    def observation_space_contains(self, instance_id: str, observation: Any, part: str = "") -> bool:
        """Return whether the observation space contains `observation`, with `part` as for `action_space_contains`."""
        path = instance_path(instance_id, "/observation_space/contains")
        return self._is_member(path, {"observation": observation} | ({"part": part} if part else {}))

    def _is_member(self, path: str, body: dict[str, Any]) -> bool:
        return bool(self._call("POST", path, body, hot=True, repeatable=True)["member"])

    def get_transitions(self, instance_id: str) -> dict[str, Any]:
        """Return the tabular model of a toy text environment such as FrozenLake.

        Returns:
            `states` and `actions`, their numbers; `transitions[state][action]`, a list of the possible outcomes, each with
            `probability`, `next_state`, `reward` and `terminated`; `initial_distribution`, a list or None.

        Raises:
            ServerProblem: 409, the environment has no such model.
        """
        return self._call("GET", instance_path(instance_id, "/transitions/"), repeatable=True)
