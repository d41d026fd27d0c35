"""An environment whose rewards and ends are of every form that packages give, registered as `tests/Rewards-v0`."""

# ruff: noqa: ARG002, ARG005 -- the signatures are Gymnasium's, and some forms are the same in each step

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

FORMS: dict[str, Any] = {
    "vector": lambda n: np.array([n, -n], np.float32),
    "matrix": lambda n: np.array([[n, 0.5], [-n, np.nan]]),
    "tuple": lambda n: (float(n), -0.5),
    "list": lambda n: [n, np.float32(0.1)],
    "one": lambda n: (np.float32(0.1),),
    "array_of_one": lambda n: np.array([n], np.float32),
    "agents": lambda n: {"first": float(n), "second": np.float64(-1.0)},
    "vectors_of_agents": lambda n: {"first": np.array([n, 0.5]), "second": np.array([0.0, -n])},
    "none": lambda n: None,
    "sometimes": lambda n: None if n % 2 else float(n),
    "at_last": lambda n: np.array([n, -n], np.float32) if n == 3 else 0.0,
    "number": float,
    "integer": lambda n: n,
}


class Rewards(gymnasium.Env[Any, Any]):
    """Episodes of three steps, with a reward in one of the forms, and `by_agent` ends by agent."""

    metadata = {"render_modes": []}  # noqa: RUF012 -- as Gymnasium declares it
    observation_space = Discrete(10)
    action_space = Discrete(2)

    def __init__(self, form: str, by_agent: bool = False) -> None:
        self._form, self._by_agent, self._steps = FORMS[form], by_agent, 0
        if form == "vector":
            self.reward_space = Box(-9, 9, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)
        self._steps = 0
        return 0, {}

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take one action."""
        self._steps += 1
        n, reward = self._steps, self._form(self._steps)
        if not self._by_agent:
            return n, reward, n >= 3, False, {}
        return n, reward, {"first": n >= 2, "second": False}, {"first": False, "second": np.bool_(n >= 3)}, {}


gymnasium.register("tests/Rewards-v0", Rewards)
