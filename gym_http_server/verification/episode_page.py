"""`episode_page`: some states of a recorded episode, as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..runtime.recording.trajectories.values import byte_size
from ..runtime.values.outcomes import NUMBERS, reduced

if TYPE_CHECKING:
    from ..results.trajectories import RecordedEpisode
    from .source import Source

MAX_PAGE_BYTES: Final = 1 << 23
"""About how many bytes of values a page has at most, if it has more than one state."""


def episode_page(source: Source, number: int, start: int, count: int, *, with_values: bool) -> dict[str, Any]:
    """Return the contract's `RecordedEpisode`.

    Args:
        source: the trajectories.
        number: the episode, as recorded, from 0.
        start: the first state; 0 is that of the reset, and each step leads to the next.
        count: maximum number of states.
        with_values: with observations and infos.

    Raises:
        UnknownEpisodeError: there is no such episode.
        GymHttpServerError: as `Source.opened`.
    """
    with source.opened() as recorded:
        episode = source.episode(recorded, number)
        states = list(_states(episode, start, count, with_values=with_values and episode.observations is not None))
        last = start + len(states)
        return {
            "episode": number,
            "lane": episode.lane,
            "seed": None if episode.seed is None else str(episode.seed),
            "options": episode.options,
            "steps": len(episode.actions),
            "is_complete": episode.is_complete,
            "kept": recorded.kept,
            "observation_space": recorded.observation_space,
            "action_space": recorded.action_space,
            "states": states,
            "next": last if states and last <= len(episode.actions) else None,
        }


def _states(episode: RecordedEpisode, start: int, count: int, *, with_values: bool) -> Any:
    total, size = 0.0, 0
    if start > 0:
        total = _sum(episode, start - 1)
    for step in range(start, min(start + count, len(episode.actions) + 1)):
        state: dict[str, Any] = {"step": step}
        if with_values and episode.observations is not None and episode.infos is not None:
            state |= {"observation": episode.observations[step], "info": episode.infos[step]}
        if step > 0:
            reward = episode.rewards[step - 1]
            total += _number(reward)
            state |= {
                "action": episode.actions[step - 1],
                "reward": reward,
                "terminated": episode.terminated[step - 1],
                "truncated": episode.truncated[step - 1],
            }
        yield {**state, "return": total}
        size += byte_size(state)
        if size > MAX_PAGE_BYTES:
            return


def _sum(episode: RecordedEpisode, steps: int) -> float:
    total = 0.0
    for reward in episode.rewards[:steps]:
        total += _number(reward)
    return total


def _number(reward: Any) -> float:
    """Return a reward that is one number; else 0, because several are not added."""
    return float(reward) if type(reward) in NUMBERS else reduced(reward, False, False)[0] or 0.0
