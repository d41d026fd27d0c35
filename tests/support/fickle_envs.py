"""`tests/Fickle-v0`: an environment that a file tells how to behave, as if it had changed between a recording and its replay."""

# ruff: noqa: ARG002 -- the signatures are Gymnasium's

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete


class Fickle(gymnasium.Env[Any, Any]):
    """Episodes of five steps with a reward of 1 each; behaves otherwise from its third step on, as the file `orders` says."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012 -- as Gymnasium declares it
    observation_space = Box(0.0, 1.0, (2,), np.float32)
    action_space = Discrete(2)

    def __init__(self, orders: str, render_mode: str | None = None) -> None:
        self._orders, self.render_mode, self._steps = Path(orders), render_mode, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)
        self._steps = 0
        return self.np_random.random(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take one action."""
        self._steps += 1
        orders = self._orders.read_text() if self._steps > 2 and self._orders.exists() else ""
        if orders == "die":
            os._exit(3)
        if orders == "hang":
            time.sleep(60)
        if orders == "raise":
            raise RuntimeError("no more steps")
        return self.np_random.random(2, np.float32), 1.0 + (orders == "pay more"), self._steps == 5, False, {}

    def render(self) -> Any:
        """Draw the number of the step."""
        return np.full((20, 30, 3), 40 * self._steps, np.uint8)


gymnasium.register("tests/Fickle-v0", lambda **kwargs: Fickle(**kwargs))
