"""Environments with spaces of their own kind, with spaces that change, and with none: `tests/Own-v0` and others."""

# ruff: noqa: ARG002 -- the signatures are Gymnasium's

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, OneOf, Sequence, Text, Tuple


class Mission(gymnasium.Space[Any]):
    """Texts that begin with "go"; not equal to another of its kind, as classes without `__eq__` are."""

    def __init__(self) -> None:
        super().__init__(None, str)

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        return f"go to {self.np_random.integers(10**6)}"

    def contains(self, x: Any) -> bool:
        return isinstance(x, str) and x.startswith("go")


class Heading(gymnasium.Space[Any]):
    """Pairs, and tuples alone."""

    def __init__(self) -> None:
        super().__init__(None, None)

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        return ("north", int(self.np_random.integers(9)))

    def contains(self, x: Any) -> bool:
        return isinstance(x, tuple) and len(x) == 2


class Shares(gymnasium.Space[Any]):
    """Arrays of numbers that add up to 1, as portfolios have."""

    def __init__(self) -> None:
        super().__init__((2,), np.float32)

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        share = np.float32(self.np_random.integers(9) / 8)
        return np.array([share, 1 - share], np.float32)

    def contains(self, x: Any) -> bool:
        return isinstance(x, np.ndarray) and x.dtype == np.float32 and x.shape == (2,) and bool(x.sum() == 1)


class Plain(gymnasium.Env[Any, Any]):
    """Two actions, and episodes of three steps."""

    observation_space: Any = Discrete(4)
    action_space: Any = Discrete(2)
    steps = 0

    def observed(self) -> Any:
        return self.steps

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self.observed(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self.observed(), 1.0, self.steps == 3, False, {"taken": action}


class Own(Plain):
    """Spaces of its own inside every kind that has others inside."""

    def __init__(self) -> None:
        self.observation_space = Dict(
            {
                "mission": Mission(),
                "n": Discrete(4),
                "some": Sequence(Mission()),
                "either": OneOf([Discrete(3), Heading()]),
                "both": Tuple([Shares(), Heading()]),
            }
        )
        self.action_space = Dict({"to": Heading(), "shares": Shares()})

    def observed(self) -> Any:
        return {
            "both": (np.array([0.25, 0.75], np.float32), ("west", 1)),
            "either": (np.int64(1), ("south", self.steps)),
            "mission": f"go to {self.steps}",
            "n": self.steps,
            "some": ("go",) * self.steps,
        }


class Grows(Plain):
    """Another action in each episode, and in observations as well."""

    episodes = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.episodes += 1
        self.action_space = Discrete(2 + self.episodes)
        self.observation_space = Box(0, 9, (1 + self.episodes,), np.int8)
        return super().reset(seed=seed)

    def observed(self) -> Any:
        return np.full(1 + self.episodes, self.steps, np.int8)


class Anew(Plain):
    """A space that is made anew each time it is looked at, as properties of some packages are."""

    @property
    def action_space(self) -> Any:  # type: ignore[override]
        return Discrete(3)


class NeverEqual(Plain):
    """The same, and no one is equal to the one before."""

    @property
    def action_space(self) -> Any:  # type: ignore[override]
        return Mission()


class Changed(Plain):
    """The space stays the same object, whose size is changed."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.action_space = Discrete(2)
        observed = super().reset(seed=seed)
        self.action_space.n = np.int64(7)
        return observed


class Says(Plain):
    """Texts with the characters that Gymnasium allows by default."""

    action_space = Dict({"say": Tuple([Text(10), OneOf([Text(3), Discrete(2)])]), "n": Discrete(2)})


class Far(Plain):
    """Numbers up to the greatest of their type."""

    observation_space = Box(-1.7e308, 1.7e308, (3,), np.float64)
    action_space = Box(-1.7e308, 1.7e308, (2,), np.float64)

    def observed(self) -> Any:
        return np.array([-1.7e308, 1e300, self.steps])


class Blind(Plain):
    observation_space = None


class Idle(Plain):
    action_space = None


class Wrong(Plain):
    action_space = 5


for each in (Own, Grows, Anew, NeverEqual, Changed, Says, Far, Blind, Idle, Wrong):
    gymnasium.register(f"tests/{each.__name__}-v0", each)
