"""Environments that misbehave, or that have spaces and values which no environment of a library has.

The server imports this module where a test names it with `--import`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

STOP = signal.SIGKILL


class Troublemaker(gymnasium.Env[Any, Any]):
    """Does what its action says; observes how many steps it took. `kwargs` may have its constructor misbehave."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012 -- Gymnasium's convention
    observation_space = spaces.Discrete(1_000_000)
    action_space = spaces.Text(max_length=200, min_length=0, charset="abcdefghijklmnopqrstuvwxyz0123456789_ .-")

    def __init__(self, construct: str = "", render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.steps = 0
        self._act(construct)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if options:
            raise KeyError(f"unknown options {sorted(options)}")
        self.steps = 0
        return 0, {}

    def step(self, action: str) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        info = self._act(action)
        return self.steps, 1.0, False, False, info

    def render(self) -> Any:
        return np.zeros((4, 6, 3), np.uint8)

    def _act(self, action: str) -> dict[str, Any]:
        match action.split():
            case ["exit", code]:
                sys.stderr.write("last words of the environment\n")
                os._exit(int(code))
            case ["abort"]:
                os.abort()
            case ["segfault"]:
                ctypes.string_at(0)
            case ["hang"]:
                while True:
                    time.sleep(3600)
            case ["hang_uninterruptibly"]:
                for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    signal.signal(each, signal.SIG_IGN)
                while True:
                    pass
            case ["sleep", seconds]:
                time.sleep(float(seconds))
            case ["raise", *words]:
                raise ValueError(" ".join(words))
            case ["sys_exit"]:
                sys.exit(3)
            case ["spawn"]:
                child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
                return {"child": child.pid}
            case ["spawn_session"]:
                child = subprocess.Popen(
                    [sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True
                )
                return {"child": child.pid}
            case ["print", count]:
                for index in range(int(count)):
                    print(f"line {index}")  # noqa: T201 -- an environment that prints
            case ["read"]:
                return {"read": sys.stdin.read()}
            case ["close_descriptors"]:
                os.closerange(3, 100)
            case ["pid"]:
                return {"pid": os.getpid(), "variables": [k for k in os.environ if k.startswith("GYM_HTTP_SERVER")]}
            case ["random"]:
                return {"numpy": float(np.random.random()), "pid": os.getpid()}
            case ["weird_info"]:
                return weird_info()
            case ["big", size]:
                return {"big": "x" * int(size)}
        return {}


def weird_info() -> dict[str, Any]:
    """Return an info with values that JSON does not have."""
    return {
        "nan": float("nan"),
        "inf": float("inf"),
        "minus_inf": np.float32("-inf"),
        "array": np.array([1.5, np.nan, np.inf], np.float64),
        "scalar": np.int16(7),
        "bool": np.bool_(True),
        "complex": 1 + 2j,
        "bytes": b"raw",
        "set": {3},
        "object": object,
        7: "a key that is a number",
        "huge": 2**70,
        "nested": {"tuple": (1, (2.0, None))},
    }


class Everything(gymnasium.Env[Any, Any]):
    """Has a space of every kind as its action space and observes the action it was given."""

    action_space = spaces.Dict(
        {
            "box": spaces.Box(-1, 1, (2, 3), np.float32),
            "unbounded": spaces.Box(-np.inf, np.inf, (2,), np.float64),
            "bytes": spaces.Box(0, 255, (2, 2, 3), np.uint8),
            "discrete": spaces.Discrete(5, start=-2),
            "multi_discrete": spaces.MultiDiscrete([[3, 4], [5, 6]]),
            "multi_binary": spaces.MultiBinary([2, 2]),
            "text": spaces.Text(8, charset="abcä"),
            "tuple": spaces.Tuple((spaces.Discrete(2), spaces.Box(0, 1, (1,), np.float32))),
            "dict": spaces.Dict({"inner": spaces.Dict({"deep": spaces.Discrete(3)})}),
            "sequence": spaces.Sequence(spaces.Discrete(4)),
            "graph": spaces.Graph(spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(3)),
            "one_of": spaces.OneOf((spaces.Discrete(2), spaces.Box(0, 1, (2,), np.float32))),
        }
    )
    observation_space = action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        return action, float("nan"), False, False, {}


gymnasium.register("tests/Troublemaker-v0", lambda **kwargs: Troublemaker(**kwargs))
gymnasium.register("tests/Everything-v0", lambda **kwargs: Everything(**kwargs))
gymnasium.register("tests/Short-v0", lambda **kwargs: Troublemaker(**kwargs), max_episode_steps=3)
