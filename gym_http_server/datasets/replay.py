"""Replay: repeats the seeds and actions of a recording, and says of each episode whether it comes out the same."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

from .comparison import difference, in_types_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..results.trajectories import RecordedEpisode, Trajectories

Result: TypeAlias = Literal["equal", "different", "impossible"]

_MAX_STEPPERS: Final = 8
"""Maximum number of environments at a time: a batch with more lanes is read several times."""

_ONE_GENERATOR: Final = "vector_entry_point"
_INSEPARABLE: Final = "its batch has one random generator for all lanes, so no lane can be repeated alone"


class Stepper(Protocol):
    """An environment that episodes are repeated in, such as a `gymnasium.Env`."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Start an episode; return its first observation and info."""

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        """Take one action; return observation, reward, terminated, truncated and info."""

    def close(self) -> None:
        """Close the environment."""


@dataclass(frozen=True, slots=True)
class EpisodeVerdict:
    """What became of a repeated episode.

    Attributes:
        number: of the episode, as recorded.
        lane: of a batch; 0 for a single environment.
        steps: recorded steps.
        result: `equal` to the bit, `different`, or `impossible` to repeat.
        step: the first step that differs, from 1 on; 0 for the reset, None if none does.
        detail: what differs, or why it cannot be repeated; empty if it is equal.
    """

    number: int
    lane: int
    steps: int
    result: Result
    step: int | None = None
    detail: str = ""

    def __str__(self) -> str:
        where = "" if self.step is None else " at the reset" if self.step == 0 else f" from step {self.step} on"
        return f"{self.result}{where}, of {self.steps} steps" + (f": {self.detail}" if self.detail else "")


def replay(trajectories: Trajectories, open_stepper: Callable[[], Stepper]) -> Iterator[EpisodeVerdict]:
    """Repeat all episodes, each lane of a batch as a single environment, and yield a verdict for each.

    Episodes of a lane come in the order in which they happened, because one without a seed goes on with the random
    generator of the one before.

    Args:
        trajectories: what was recorded.
        open_stepper: makes the environment again; called once for each lane. What it raises passes through.
    """
    for _, verdict in repeated(trajectories, open_stepper):
        yield verdict


def repeated(
    trajectories: Trajectories, open_stepper: Callable[[], Stepper], *, is_kept: bool = False
) -> Iterator[tuple[RecordedEpisode, EpisodeVerdict]]:
    """Yield what `replay` does with the episode; where `is_kept`, it has the observations and infos of the repetition."""
    is_inseparable = trajectories.vectorization_mode == _ONE_GENERATOR
    lanes = range(trajectories.num_envs or 1)
    for first in range(0, len(lanes), _MAX_STEPPERS):
        steppers: dict[int, _Lane] = {}
        try:
            for episode in trajectories:
                if episode.lane not in lanes[first : first + _MAX_STEPPERS]:
                    continue
                if is_inseparable:
                    yield episode, _verdict(episode, "impossible", None, _INSEPARABLE)
                    continue
                if episode.lane not in steppers:
                    steppers[episode.lane] = _Lane(open_stepper(), is_of_batch=trajectories.num_envs is not None)
                yield steppers[episode.lane].repeat(episode, is_kept=is_kept)
        finally:
            for lane in steppers.values():
                lane.stepper.close()


class _Lane:
    """Repeats the episodes of one lane.

    Args:
        stepper: its environment.
        is_of_batch: whether it was one of a batch, which has one type for the values of all lanes.
    """

    def __init__(self, stepper: Stepper, *, is_of_batch: bool) -> None:
        self.stepper = stepper
        self._is_of_batch = is_of_batch
        self._gap = ""

    def repeat(self, episode: RecordedEpisode, *, is_kept: bool) -> tuple[RecordedEpisode, EpisodeVerdict]:
        """Repeat an episode, all of it even if it differs, so that the random generator is where it was."""
        if episode.seed is not None:
            self._gap = ""
        if gap := episode.gap or self._gap:
            return episode, _verdict(episode, "impossible", None, gap)
        first: tuple[int, str] | None = None
        observations: list[Any] = []
        infos: list[Any] = []
        try:
            for step, (observation, info, differing) in enumerate(self._steps(episode)):
                if differing and first is None:
                    first = step, differing
                if is_kept:
                    observations.append(observation)
                    infos.append(info)
        except Exception as error:  # noqa: BLE001 -- an environment, and a server, may raise anything
            self._gap = f"the episode before it could not be repeated: {type(error).__name__}: {error}"
            if first is None:
                return episode, _verdict(episode, "impossible", None, f"{type(error).__name__}: {error}")
        if is_kept and not self._gap:
            episode = dataclasses.replace(episode, observations=observations, infos=infos)
        if first is None:
            return episode, _verdict(episode, "equal", None, "")
        return episode, _verdict(episode, "different", *first)

    def _steps(self, episode: RecordedEpisode) -> Iterator[tuple[Any, Any, str]]:
        """Repeat an episode; yield observation, info and what differs of its reset and of each step."""
        recorded = iter(episode.observations) if episode.observations is not None else None
        observation, info = self.stepper.reset(seed=episode.seed, options=episode.options)
        yield observation, info, self._differing(observation=_pair(recorded, observation))
        outcomes = zip(episode.actions, episode.rewards, episode.terminated, episode.truncated, strict=True)
        for action, reward, terminated, truncated in outcomes:
            observation, *outcome, info = self.stepper.step(action)
            differing = self._differing(
                observation=_pair(recorded, observation),
                reward=(reward, outcome[0]),
                terminated=(terminated, outcome[1]),
                truncated=(truncated, outcome[2]),
            )
            yield observation, info, differing

    def _differing(self, **pairs: tuple[Any, Any]) -> str:
        """Return what differs first; empty if nothing does."""
        for name, (recorded, now) in pairs.items():
            found = difference(recorded, in_types_of(recorded, now) if self._is_of_batch else now)
            if found is not None:
                return f"{name}{found}"
        return ""


def _verdict(episode: RecordedEpisode, result: Result, step: int | None, detail: str) -> EpisodeVerdict:
    return EpisodeVerdict(episode.number, episode.lane, len(episode.actions), result, step, detail)


def _pair(recorded: Iterator[Any] | None, observation: Any) -> tuple[Any, Any]:
    return observation if recorded is None else next(recorded), observation
