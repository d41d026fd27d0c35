"""`tests/Talk-v0`: actions and observations of language, an episode of five sentences."""

# ruff: noqa: ARG002 -- the signatures are Gymnasium's

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.spaces import Text


class Talk(gymnasium.Env[str, str]):
    """Answers what it is told."""

    action_space = Text(40, charset="abcdefghijklmnopqrstuvwxyz ")
    observation_space = Text(80, charset="abcdefghijklmnopqrstuvwxyz ,")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        return "you are in a hall", {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        return f"you {action}", 1.0, self._steps == 5, False, {}


gymnasium.register("tests/Talk-v0", Talk)
