"""Environments of several agents with PettingZoo's interfaces, as environments of Gymnasium.

https://pettingzoo.farama.org/api/parallel/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium

from ....errors import InvalidActionError
from ...values.partial_dict import PartialDict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gymnasium.spaces import Dict


def has_agents(environment: Any) -> bool:
    """Return whether an environment has one of PettingZoo's interfaces: spaces by agent."""
    return hasattr(environment, "possible_agents") and callable(getattr(environment, "observation_space", None))


class Agents(gymnasium.Env[Any, Any]):
    """A parallel environment, with observations, actions, rewards, ends and infos by agent.

    Agents that have left are missing. Actions are those of the agents that are there; others are passed over.

    Args:
        environment: a `ParallelEnv` of PettingZoo, or an object of its shape.
        acting: returns the agents that act in the next step; None for all that are there.
    """

    def __init__(self, environment: Any, acting: Callable[[], Iterable[Any]] | None = None) -> None:
        self.environment = environment
        self._acting = acting or (lambda: self.environment.agents)
        metadata = getattr(environment, "metadata", None)
        self.metadata = metadata if isinstance(metadata, dict) else {"render_modes": []}
        self.render_mode = getattr(environment, "render_mode", None)
        self.observation_space = self._by_agent(environment.observation_space)
        self.action_space = self._by_agent(environment.action_space)
        if callable(getattr(environment, "reward_space", None)):
            self.reward_space = self._by_agent(environment.reward_space)

    @classmethod
    def of(cls, environment: Any) -> Agents:
        """Return an environment with one of PettingZoo's interfaces; one of turns is converted by PettingZoo."""
        if not hasattr(environment, "agent_iter"):
            return cls(environment)
        from pettingzoo.utils import conversions

        if environment.metadata.get("is_parallelizable", False):
            return cls(conversions.aec_to_parallel(environment))
        return cls(conversions.turn_based_aec_to_parallel(environment), lambda: [environment.agent_selection])

    def _by_agent(self, space: Callable[[Any], Any]) -> Dict[Any]:
        # A list of pairs, because Gymnasium sorts the keys of a dict.
        return PartialDict([(agent, space(agent)) for agent in self.environment.possible_agents])

    @property
    def np_random_seed(self) -> Any:
        """None: the environment's generator is its own."""
        return None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)  # wrappers draw from this generator
        observations, infos = self.environment.reset(seed=seed, options=options)
        return observations, infos

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take an action of each agent."""
        missing = [agent for agent in self._acting() if agent not in action]
        if missing:
            raise InvalidActionError(
                f"the action has none for {', '.join(map(repr, missing))}: give one for each agent that acts in this step"
            )
        agents = self.environment.agents
        return self.environment.step({agent: action[agent] for agent in agents if agent in action})  # type: ignore[no-any-return]

    def render(self) -> Any:
        """Return the current frame."""
        return self.environment.render()

    def close(self) -> None:
        """Close the environment."""
        self.environment.close()
