"""Environments whose values are of every type that a library gives, registered as `tests/Typed-v0` and `tests/Spaced-v0`."""

# ruff: noqa: ARG002 -- the signatures are Gymnasium's

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, Sequence, Tuple

from .sample_spaces import SAMPLE_SPACES


def told(step: int) -> dict[str, Any]:
    """Return an info with a value of every type that has a form on the wire."""
    objects = np.empty((2,), object)
    objects[:] = [np.float32(step), {"a": (1, np.int8(2))}]
    return {
        "int": step,
        "float": 0.5,
        "nan": float("nan"),
        "inf": -float("inf"),
        "bool": True,
        "none": None,
        "text": "x",
        "float32": np.float32(0.1),
        "float16": np.float16("nan"),
        "int8": np.int8(-3),
        "uint64": np.uint64(2**64 - 1),
        "bool_": np.bool_(False),
        "array": np.arange(3, dtype=np.int16),
        "empty": np.zeros((0, 3), np.float32),
        "zero_dimensional": np.array(4.5, np.float32),
        "far": np.array([np.inf, -np.inf, np.nan, 1e200]),
        "big_endian": np.arange(2, dtype=">i4"),
        "fortran": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        "bools": np.array([[True], [False]]),
        "texts": np.array(["ab", "c"]),
        "objects": objects,
        "tuple": (1, (np.float64(2.0), [3, (4,)])),
        "nested": {"list": [np.int32(1), {"deep": np.uint8(7)}], "a/b~c": np.float32(1)},
    }


class Typed(gymnasium.Env[Any, Any]):
    """Observations that are not quite its space's, as environments give them; rewards and ends of NumPy's types."""

    metadata = {"render_modes": [], "render_fps": 7, "made_of": {"deep": [1, 2.5, None, "text"]}}  # noqa: RUF012
    action_space = Discrete(3, start=-1)
    observation_space = Dict(
        {
            "plain": Discrete(90),
            "scalar": Discrete(90),
            "wide": Box(-9, 90, (2,), np.float32),
            "listed": Box(-9, 90, (2,), np.float32),
            "both": Tuple([Discrete(90), Box(0, 90, (1,), np.int8)]),
            "several": Sequence(Discrete(90)),
        }
    )

    def __init__(self, told_always: bool = True) -> None:
        self._always = told_always
        self._steps = 0

    def _observed(self) -> Any:
        n = self._steps
        return {
            "both": (n, np.array([n], np.int8)),
            "listed": [0.5, float(n)],
            "plain": n,
            "scalar": np.int64(n),
            "several": (n, np.int64(n)),
            "wide": np.array([0.1, n]),
        }

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode of three steps."""
        super().reset(seed=seed)
        self._steps = 0
        return self._observed(), told(0)

    def step(self, action: Any) -> Any:
        """Take a step, with a reward of another type each time."""
        self._steps += 1
        n = self._steps
        info = told(n) if self._always or n % 2 else {}
        return self._observed(), [1, np.float32(0.1), np.int16(3)][n % 3], np.bool_(n >= 3), False, info


class Spaced(gymnasium.Env[Any, Any]):
    """Observations, the last one in `info`, and actions of one of the sample spaces."""

    def __init__(self, index: int = 0) -> None:
        self.action_space = self.observation_space = SAMPLE_SPACES[index].values[0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Seed the space."""
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        """Observe a sample."""
        return self.observation_space.sample(), 0.5, False, False, {}


gymnasium.register("tests/Typed-v0", Typed)
gymnasium.register("tests/Spaced-v0", Spaced)
