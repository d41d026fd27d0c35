"""A use of each wrapper that the server has: on the wire, and as a program has it that wraps an environment itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import ale_py  # noqa: F401 -- registers Atari
import gymnasium
import numpy as np

from . import troublemakers  # noqa: F401 -- registers its environments

INF = np.inf


@dataclass(frozen=True)
class Use:
    """A wrapper around an environment.

    Attributes:
        env_id, options: the environment, and what else `createEnv` gets.
        name: of the wrapper.
        kwargs: as the wire has them.
        local: the same as Gymnasium's constructor wants them.
        before: uses of wrappers that come first.
        renders: what it changes is the frame.
    """

    env_id: str
    name: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    local: dict[str, Any] | None = None
    before: tuple[Use, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    renders: bool = False

    @property
    def wire(self) -> list[dict[str, Any]]:
        """The wrappers as `createEnv` takes them."""
        return [*(each for use in self.before for each in use.wire), {"name": self.name, "kwargs": self.kwargs}]

    def wrap(self, environment: gymnasium.Env) -> gymnasium.Env:
        """Return the environment wrapped by Gymnasium itself."""
        for use in self.before:
            environment = use.wrap(environment)
        kwargs = self.kwargs if self.local is None else self.local
        return getattr(gymnasium.wrappers, self.name)(environment, **kwargs)

    def make(self) -> gymnasium.Env:
        """Return what the server is to serve."""
        kwargs = self.options.get("kwargs", {})
        if not self.env_id.startswith("tests/"):
            kwargs = {**kwargs, "render_mode": "rgb_array"}
        return self.wrap(gymnasium.make(self.env_id, disable_env_checker=True, **kwargs))


PONG = {"kwargs": {"frameskip": 1}}

USES = [
    Use("CartPole-v1", "AddRenderObservation"),
    Use("CartPole-v1", "AddRenderObservation", {"render_only": False, "obs_key": "numbers"}),
    Use("CartPole-v1", "AddWhiteNoise", {"probability_of_noise_per_pixel": 0.5}, renders=True),
    Use("ALE/Pong-v5", "AtariPreprocessing", {}, options=PONG),
    Use(
        "ALE/Pong-v5",
        "AtariPreprocessing",
        {"screen_size": [40, 50], "grayscale_obs": False, "scale_obs": True, "terminal_on_life_loss": True},
        {"screen_size": (40, 50), "grayscale_obs": False, "scale_obs": True, "terminal_on_life_loss": True},
        options=PONG,
    ),
    Use("Pendulum-v1", "ClipAction"),
    Use("Pendulum-v1", "ClipReward", {"min_reward": -1}),
    Use(
        "Pendulum-v1",
        "ClipReward",
        {"min_reward": -1e100, "max_reward": -2.5},
        {"min_reward": -INF, "max_reward": -2.5},
    ),
    Use("CartPole-v1", "DelayObservation", {"delay": 2}),
    Use("Pendulum-v1", "DiscretizeAction", {"bins": 5}),
    Use("Pendulum-v1", "DiscretizeAction", {"bins": [3], "multidiscrete": True}, {"bins": (3,), "multidiscrete": True}),
    Use("MountainCar-v0", "DiscretizeObservation", {"bins": [6, 4]}, {"bins": (6, 4)}),
    Use("MountainCar-v0", "DiscretizeObservation", {"bins": 7, "multidiscrete": True}),
    Use("CartPole-v1", "DtypeObservation", {"dtype": "float64"}, {"dtype": np.float64}),
    Use("FrozenLake-v1", "DtypeObservation", {"dtype": "uint8"}, {"dtype": np.uint8}),
    Use("tests/Scribe-v0", "FilterObservation", {"filter_keys": ["word", "at"]}),
    Use("Blackjack-v1", "FilterObservation", {"filter_keys": [2, 0]}),
    Use("Taxi-v4", "FlattenObservation"),
    Use("CartPole-v1", "FrameStackObservation", {"stack_size": 3}),
    Use(
        "FrozenLake-v1",
        "FrameStackObservation",
        {"stack_size": 2, "padding_type": 7},
        {"stack_size": 2, "padding_type": np.int64(7)},
    ),
    Use(
        "CartPole-v1",
        "FrameStackObservation",
        {"stack_size": 2, "padding_type": [1, 2, 0, -1e100]},
        {"stack_size": 2, "padding_type": np.array([1, 2, 0, -INF], np.float32)},
    ),
    Use("ALE/Pong-v5", "GrayscaleObservation", {"keep_dim": True}),
    Use("CartPole-v1", "MaxAndSkipObservation", {"skip": 3}),
    Use("CartPole-v1", "NormalizeObservation"),
    Use("FrozenLake-v1", "NormalizeObservation", {"epsilon": 0.01}),
    Use("Pendulum-v1", "NormalizeReward", {"gamma": 0.9}),
    Use("CartPole-v1", "ObstructView", {"obstructed_pixels_ratio": 0.3, "obstruction_width": 20}, renders=True),
    Use("CartPole-v1", "RecordEpisodeStatistics", {"stats_key": "told"}),
    Use("CartPole-v1", "RepeatAction", {"num_repeats": 2}),
    Use("Pendulum-v1", "RescaleAction", {"min_action": -1, "max_action": 3.5}),
    Use(
        "tests/Scribe-v0",
        "RescaleAction",
        {"min_action": [0, -1], "max_action": [1, 2.5]},
        {"min_action": np.array([0, -1]), "max_action": np.array([1, 2.5])},
    ),
    Use(
        "CartPole-v1",
        "RescaleObservation",
        {"min_obs": [-1, -1e100, -1, -1e100], "max_obs": [1, 1e100, 1, 1e100]},
        {"min_obs": np.array([-1, -INF, -1, -INF]), "max_obs": np.array([1, INF, 1, INF])},
    ),
    Use("CartPole-v1", "ReshapeObservation", {"shape": [2, 2, 1]}, {"shape": (2, 2, 1)}),
    Use("ALE/Pong-v5", "ResizeObservation", {"shape": [30, 20]}, {"shape": (30, 20)}),
    Use("CartPole-v1", "StickyAction", {"repeat_action_probability": 0.5}),
    Use(
        "CartPole-v1",
        "StickyAction",
        {"repeat_action_probability": 0.5, "repeat_action_duration": [2, 4]},
        {"repeat_action_probability": 0.5, "repeat_action_duration": (2, 4)},
    ),
    Use("CartPole-v1", "TimeAwareObservation"),
    Use("CartPole-v1", "TimeAwareObservation", {"flatten": False, "normalize_time": True}),
    Use("CartPole-v1", "TimeLimit", {"max_episode_steps": 5}),
]
"""Each wrapper at least once."""


def stack(env_id: str, *wrappers: tuple[str, dict[str, Any]], **options: Any) -> Use:
    """Return a use of several wrappers whose arguments are the same on the wire and for Gymnasium."""
    *before, (name, kwargs) = wrappers
    return Use(env_id, name, kwargs, before=tuple(Use(env_id, *each) for each in before), options=options)


STACKS = [
    stack("ALE/Pong-v5", ("AtariPreprocessing", {}), ("FrameStackObservation", {"stack_size": 4}), **PONG),
    stack("CartPole-v1", ("TimeLimit", {"max_episode_steps": 4}), ("TimeAwareObservation", {})),
    stack("CartPole-v1", ("TimeAwareObservation", {}), ("TimeLimit", {"max_episode_steps": 4})),
    stack("CartPole-v1", ("FrameStackObservation", {"stack_size": 2}), ("FlattenObservation", {})),
    stack("CartPole-v1", ("FlattenObservation", {}), ("FrameStackObservation", {"stack_size": 2})),
    stack("CartPole-v1", ("RepeatAction", {"num_repeats": 3}), ("ClipReward", {"max_reward": 1})),
    stack("CartPole-v1", ("ClipReward", {"max_reward": 0.5}), ("RepeatAction", {"num_repeats": 3})),
    stack("tests/Scribe-v0", ("FrameStackObservation", {"stack_size": 2}), ("TimeLimit", {"max_episode_steps": 2})),
    Use(
        "CartPole-v1",
        "ResizeObservation",
        {"shape": [12, 16]},
        {"shape": (12, 16)},
        before=(
            Use("CartPole-v1", "AddWhiteNoise", {"probability_of_noise_per_pixel": 0.1}),
            Use("CartPole-v1", "AddRenderObservation"),
        ),
    ),
]
"""Several wrappers, some in both orders."""


def name_of(use: Use) -> str:
    """Return what a test of it is called."""
    return "-".join([use.env_id.rpartition("/")[2], *(each["name"] for each in use.wire)])
