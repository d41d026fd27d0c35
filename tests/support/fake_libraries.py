"""Stand-ins for envpool, stable-retro, Safety-Gymnasium and shimmy, with their calls and values."""

from __future__ import annotations

import enum
import importlib.machinery
import importlib.metadata
import sys
import types
from typing import Any

import gymnasium
import numpy as np
import pytest

DISCRETE = gymnasium.spaces.Discrete(1000)


class Pool:
    """A pool of EnvPool: spaces of one lane, seeds when it is made; an episode has three steps."""

    observation_space = gymnasium.spaces.Dict({"n": DISCRETE})
    action_space = gymnasium.spaces.Discrete(10)
    open_pools = 0

    def __init__(
        self, task_id: str, *, env_type: str, num_envs: int, seed: int = 1, start: int = 0, render_mode: Any = None
    ) -> None:
        assert env_type == "gymnasium"
        assert task_id == "Fake-v1"
        self.lanes, self.start, self.render_mode = np.arange(num_envs), start + seed, render_mode
        Pool.open_pools += 1

    def reset(self, *, options: Any = None) -> Any:
        assert options is None
        self.steps = 0
        return {"n": self.lanes + self.start}, {"env_id": self.lanes}

    def step(self, action: Any) -> Any:
        assert action.shape == self.lanes.shape
        self.steps += 1
        ended = np.full(len(self.lanes), self.steps == 3)
        return {"n": self.lanes + action}, action.astype(np.float32), ended, ~ended & False, {"env_id": self.lanes}

    def render(self, env_ids: Any) -> Any:
        return np.zeros((len(env_ids), 2, 2, 3), np.uint8)

    def close(self) -> None:
        Pool.open_pools -= 1


class Observations(enum.Enum):
    """As stable-retro's."""

    IMAGE = 0
    RAM = 1


class Retro(gymnasium.Env[Any, Any]):
    """As stable-retro's, whose default opens a window."""

    metadata = {"render_modes": ["human", "rgb_array"]}  # noqa: RUF012 -- Gymnasium's convention
    observation_space = action_space = DISCRETE

    def __init__(self, game: str, obs_type: Observations = Observations.IMAGE, render_mode: str = "human") -> None:
        assert (game, render_mode) == ("Fake-Genesis-v0", "rgb_array")
        self.render_mode, self.ram = render_mode, obs_type is Observations.RAM

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed, options=options)
        return int(self.ram), {}


class Safe(Retro):
    """As Safety-Gymnasium's, whose steps have six values."""

    def step(self, action: Any) -> Any:
        return action, 1.0, 0.5, False, False, {}


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the modules imported where the real ones would be."""
    Pool.open_pools = 0
    integrations = enum.Flag("Integrations", ["ALL"])
    data = types.SimpleNamespace(Integrations=integrations, list_games=lambda _: ["Fake-Genesis-v0"])
    registration = types.SimpleNamespace(safe_registry={"SafetyFake-v0"})

    def make_safe(env_id: str, **kwargs: Any) -> Safe:
        assert env_id == "SafetyFake-v0"
        return Safe("Fake-Genesis-v0", **kwargs)

    members: dict[str, dict[str, Any]] = {
        "envpool": {"make": Pool, "list_all_envs": lambda: ["Fake-v1", "Other-v1"]},
        "stable_retro": {"make": Retro, "data": data, "Actions": Observations, "Observations": Observations},
        "safety_gymnasium": {"make": make_safe, "utils": types.SimpleNamespace(registration=registration)},
    }
    for name, each in members.items():
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        vars(module).update(each)
        monkeypatch.setitem(sys.modules, name, module)
    version = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "1.0" if name.replace("-", "_") in members else version(name)
    )
