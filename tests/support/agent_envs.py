"""A small environment in the shape of PettingZoo's parallel ones, made by `--env tests/Agents-v0=…:Leaving`."""

# ruff: noqa: ARG002 -- the signatures are PettingZoo's

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete


class Leaving:
    """Three agents count down from their numbers and leave at 0; the seed is the first observation, a mask is in `infos`."""

    metadata = {"render_modes": ["ansi"], "name": "leaving"}  # noqa: RUF012 -- as PettingZoo declares it

    def __init__(self, render_mode=None, steps=None):
        self.render_mode = render_mode
        self.possible_agents = ["late", "early", "middle"]
        self._steps = steps or {"late": 3, "early": 1, "middle": 2}
        spaces = {agent: Dict({"left": Discrete(99), "noise": Box(0, 1, (2,), np.float32)}) for agent in self._steps}
        self.observation_space = spaces.__getitem__
        self.action_space = {agent: Discrete(3) for agent in self._steps}.__getitem__
        self.agents = []

    def reset(self, seed=None, options=None):
        self._random = np.random.default_rng(seed)
        self.agents, self._left = self.possible_agents[:], dict(self._steps)
        return self._observed(), self._infos()

    def step(self, actions):
        assert list(actions) == self.agents
        acted = self.agents
        for agent in acted:
            self._left[agent] -= 1
        rewards = {agent: np.float64(actions[agent]) for agent in acted}
        terminations = {agent: self._left[agent] == 0 for agent in acted}
        outcome = self._observed(), rewards, terminations, dict.fromkeys(acted, False), self._infos()
        self.agents = [agent for agent in acted if not terminations[agent]]
        return outcome

    def _observed(self):
        return {
            agent: {"left": self._left[agent], "noise": self._random.random(2, np.float32)} for agent in self.agents
        }

    def _infos(self):
        return {agent: {"action_mask": np.array([1, 1, 0], np.int8)} for agent in self.agents}

    def render(self):
        return " ".join(self.agents)

    def close(self):
        self.agents = []
