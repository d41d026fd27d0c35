"""What the options `--import MODULE:CALLABLE` and `--env` name in tests, and a wrapper of their own."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import RecordVideo as RecordVideo

made: list[str | None] = []
"""The render modes that shops were made with."""


class Shop(gymnasium.Env[Any, Any]):
    """Sells what a table lists, which is no JSON."""

    metadata = {"render_modes": ["human", "rgb_array"]}  # noqa: RUF012 -- Gymnasium's convention
    observation_space = gymnasium.spaces.Discrete(100)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, prices: np.ndarray[Any, Any], discount: int = 0, render_mode: str = "human") -> None:
        made.append(render_mode)
        assert render_mode != "human", "there is no display"
        self.prices = prices - discount
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed, options=options)
        return int(self.prices[0]), {}

    def step(self, action: int) -> Any:
        return int(self.prices[action]), 1.0, False, False, {}

    def render(self) -> Any:
        return np.zeros((2, 2, 3), np.uint8)


def make_shop(**kwargs: Any) -> Shop:
    """Return a shop with a table."""
    return Shop(np.array([50, 60]), **kwargs)


class Makers:
    """Has a factory as an attribute."""

    make_shop = staticmethod(make_shop)


def register_shops() -> None:
    """Register an environment."""
    gymnasium.register("tests/RegisteredShop-v0", make_shop)


def fail() -> None:
    """Register nothing."""
    raise RuntimeError("no licence")


class Doubled(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Doubles observations, or multiplies them by `factor`."""

    def __init__(self, env: gymnasium.Env[Any, Any], factor: int = 2) -> None:
        super().__init__(env)
        self.factor = factor

    def observation(self, observation: Any) -> Any:
        """Return the observation, multiplied."""
        return observation * self.factor
