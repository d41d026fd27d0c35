"""`verdict_of`: replays the trajectories of an evaluation, and says whether its scores come out the same."""

from __future__ import annotations

import contextlib
import platform
from dataclasses import replace as replaced
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import __version__
from ..datasets.replay import repeated
from ..errors import GymHttpServerError
from ..results.evaluated_trajectories import environment_of
from ..results.verifications import DIFFERENT, IMPOSSIBLE, VERIFIED, Verification
from .claims import Claim, CountingStepper, difference

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ..datasets.replay import EpisodeVerdict
    from ..results.evaluation import Curve, Evaluation
    from ..results.scoreboard import Results
    from ..results.trajectories import RecordedEpisode, Trajectories
    from .stepper import EnvironmentMaker


def verdict_of(
    evaluation: Evaluation, results: Results, maker: EnvironmentMaker, tell: Callable[[int, int], None]
) -> Verification:
    """Replay the trajectories of an evaluation.

    Args:
        evaluation: the evaluation, whose trajectories can be read.
        results: the evaluations.
        maker: makes its environment again.
        tell: called with the number of episodes replayed and of all.

    Raises:
        GymHttpServerError: the target cannot be reached, or the trajectories are damaged.
    """
    curve = results.curve(evaluation.evaluation_id)
    total = len(curve.episode_returns)
    with results.open_trajectories(evaluation) as recorded:
        run = _Run(evaluation, recorded, maker)
        fault = run.other_environment() or _first_fault(run, total, tell) or run.false_claim(curve)
    told = Verification(VERIFIED, min(run.done, total), total, server_version=__version__, libraries=run.libraries)
    if fault is None:
        return told
    reason = fault.reason if fault.state == IMPOSSIBLE else fault.reason + run.versions_apart()
    return replaced(told, state=fault.state, reason=reason, episode=fault.episode, step=fault.step)


def _first_fault(run: _Run, total: int, tell: Callable[[int, int], None]) -> Fault | None:
    if total == 0:
        return Fault(IMPOSSIBLE, "the recording has no completed episode, and so no score")
    with contextlib.closing(run.faults()) as faults:
        for fault in faults:
            tell(min(run.done, total), total)
            if fault is not None and (fault.state == DIFFERENT or run.done < total):
                return fault
    if run.done < total:
        reason = f"the recording has {total} completed episodes, and its trajectories {run.done}: the others cannot be replayed"
        return Fault(IMPOSSIBLE, reason)
    return None


class Fault(NamedTuple):
    """Why there is no badge: `DIFFERENT` or `IMPOSSIBLE`, the reason, and the number of the episode and step."""

    state: str
    reason: str
    episode: int | None = None
    step: int | None = None


class _Run:
    """One replay of the trajectories of an evaluation.

    Args:
        evaluation: the evaluation.
        recorded: its trajectories.
        maker: makes its environment again.

    Attributes:
        done: number of complete episodes that came out the same.
        libraries: versions of what they were replayed with.
    """

    def __init__(self, evaluation: Evaluation, recorded: Trajectories, maker: EnvironmentMaker) -> None:
        self.done = 0
        self.libraries: dict[str, str] = {"python": platform.python_version(), "numpy": version("numpy")}
        self._evaluation = evaluation
        self._recorded = recorded
        self._maker = maker
        self._stepper: CountingStepper | None = None
        # Of each complete episode: its place in the order of ends, number and claim.
        self._claims: list[tuple[Any, int, Claim]] = []

    def other_environment(self) -> Fault | None:
        """Return the fault of trajectories of another environment than the evaluation's."""
        evaluation, recorded = self._evaluation, self._recorded
        told = {"env_id": evaluation.env_id, "library": evaluation.library}
        told |= (evaluation.trajectories and evaluation.trajectories.environment) or {}
        of_file = {"env_id": recorded.env_id, "library": recorded.library, **environment_of(recorded)}
        for name, value in of_file.items():
            if told.get(name) != value:
                return Fault(DIFFERENT, f"the trajectories are of another environment: {name} is {value!r} there")
        return None

    def faults(self) -> Generator[Fault | None, None, None]:
        """Replay, and yield the fault of each episode, or None."""
        try:
            for episode, verdict in repeated(self._recorded, self._open):
                yield self._fault_of(episode, verdict)
        except GymHttpServerError as error:
            yield Fault(IMPOSSIBLE, error.detail)

    def false_claim(self, curve: Curve) -> Fault | None:
        """Return the fault of an evaluation whose returns, lengths or scores are not those of the replay; None if they are."""
        # A recording that was uploaded while it grew may have more trajectories than returns.
        claims = sorted(self._claims)[: len(curve.episode_returns)]
        found = difference(self._evaluation, curve, [claim for _, _, claim in claims])
        if found is None:
            return None
        place, reason = found
        return Fault(DIFFERENT, reason, None if place is None else claims[place][1])

    def versions_apart(self) -> str:
        """Return the versions that differ from those of the recording, as the end of a sentence."""
        recorded = {name.lower(): version for name, version in self._recorded.versions.items()}
        apart = [
            f"{name} {recorded[name]}, now {now}"
            for name, now in self.libraries.items()
            if recorded.get(name, now) != now
        ]
        return f" (recorded with {'; '.join(apart)})" if apart else ""

    def _fault_of(self, episode: RecordedEpisode, verdict: EpisodeVerdict) -> Fault | None:
        if verdict.result == "different":
            return Fault(DIFFERENT, verdict.detail, verdict.number, verdict.step)
        if not episode.is_complete:
            return None
        if verdict.result == "impossible" or self._stepper is None:
            return Fault(IMPOSSIBLE, verdict.detail, verdict.number)
        self._claims.append((episode.ended_at, verdict.number, self._stepper.claim()))
        self.done += 1
        return None

    def _begin(self, stepper: CountingStepper) -> None:
        self._stepper = stepper

    def _open(self) -> CountingStepper:
        # `other_environment` has found it to be the evaluation's.
        recorded = self._recorded
        stepper = self._maker.make(recorded.env_id, recorded.library, environment_of(recorded))
        name, _, number = stepper.description.library.partition(" ")
        self.libraries[name] = number
        is_lane = self._recorded.num_envs is not None
        return CountingStepper(stepper, self._evaluation.component, self._begin, is_lane=is_lane)
