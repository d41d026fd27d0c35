"""`Verifier`: replays the trajectories of evaluations, one evaluation at a time, and keeps the verdicts.

A replay runs in a daemon thread, which ends with the server: what was not over then has no verdict. The badge is earned only if

- the environment is the evaluation's: its id, kwargs, wrappers and the rest that `createEnv` took are those of the trajectories,
- every step of every complete episode is repeated to the bit,
- the returns and lengths that the replay gives, counted from its rewards, are those that were uploaded, and
- the scores of the evaluation follow from them.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from ..errors import GymHttpServerError, NoTrajectoriesError, TooManyVerificationsError
from ..results.verifications import IMPOSSIBLE, RUNNING, WAITING, Verification
from ..support.threads import DaemonThreads
from .episode_frames import EpisodeFrames

if TYPE_CHECKING:
    import asyncio

    from ..config import Settings
    from ..engines.base import Engine
    from ..interpreters.interpreters import Interpreters
    from ..results.evaluation import Evaluation
    from ..results.scoreboard import Results

logger = logging.getLogger(__name__)

MAX_WAITING: Final = 100
"""Maximum number of verifications that wait or run."""


class Verifier:
    """Verifies evaluations. Thread-safe.

    Args:
        settings: the server's settings.
        results: the evaluations.
        engine: makes their environments again.
        interpreters: the interpreters besides the server's own Python.
    """

    def __init__(self, settings: Settings, results: Results, engine: Engine, interpreters: Interpreters) -> None:
        self._results = results
        self._maker_parts = settings, engine, interpreters
        self._threads = DaemonThreads(1, "verification")
        self._current: dict[str, Verification] = {}
        self._lock = threading.Lock()
        self._is_stopped = False

    def of(self, evaluation: Evaluation) -> Verification | None:
        """Return the state of the verification that waits or runs, else the newest verdict; None if there is none."""
        with self._lock:
            current = self._current.get(evaluation.evaluation_id)
        return current or self._results.verification(evaluation)

    def start(self, evaluation_id: str, loop: asyncio.AbstractEventLoop) -> Verification:
        """Verify an evaluation, if that does not wait or run already; return the state.

        Args:
            evaluation_id: the evaluation.
            loop: the event loop of the engine.

        Raises:
            UnknownEvaluationError: no evaluation has that id.
            NoTrajectoriesError: it has no trajectories, or none that can be read.
            TooManyVerificationsError: `MAX_WAITING` of them wait.
            UploadTargetError: the target cannot be reached.
        """
        evaluation = self._results.get(evaluation_id)
        trajectories = evaluation.trajectories
        if trajectories is None:
            raise NoTrajectoriesError.of(evaluation_id)
        if trajectories.problem is not None or trajectories.environment is None:
            raise NoTrajectoriesError(
                f"the trajectories of evaluation {evaluation_id!r} cannot be verified: {trajectories.problem}",
                evaluation_id=evaluation_id,
            )
        with self._lock:
            current = self._current.get(evaluation_id)
            if current is not None and current.state in (WAITING, RUNNING):
                return current
            if sum(each.state in (WAITING, RUNNING) for each in self._current.values()) >= MAX_WAITING:
                raise TooManyVerificationsError.of(MAX_WAITING)
            self._current[evaluation_id] = waiting = Verification(WAITING, total=trajectories.episodes)
        self._threads.submit(self._run, evaluation, loop)
        return waiting

    def stop(self) -> None:
        """Keep no verdict from now on, because the server ends the environments."""
        self._is_stopped = True
        self._threads.shutdown()

    def _run(self, evaluation: Evaluation, loop: asyncio.AbstractEventLoop) -> None:
        if self._is_stopped:
            return
        evaluation_id = evaluation.evaluation_id

        def tell(done: int, total: int) -> None:
            self._note(evaluation_id, Verification(RUNNING, done, total))

        tell(0, 0 if evaluation.trajectories is None else evaluation.trajectories.episodes)
        try:
            # Not at the top: it imports numpy, for which the start of a server does not wait.
            from .run import verdict_of
            from .stepper import EnvironmentMaker

            verdict = verdict_of(evaluation, self._results, EnvironmentMaker(*self._maker_parts, loop), tell)
        except GymHttpServerError as error:
            verdict = Verification(IMPOSSIBLE, reason=error.detail)
        except Exception as error:
            logger.exception("the verification of %s failed", evaluation_id)
            verdict = Verification(IMPOSSIBLE, reason=f"the server has a defect, see its log: {type(error).__name__}")
        if self._is_stopped:
            return
        logger.info(
            "evaluation %s is %s%s", evaluation_id, verdict.state, f": {verdict.reason}" if verdict.reason else ""
        )
        try:
            self._results.keep_verification(evaluation, verdict)
        except GymHttpServerError as error:
            # Shown until the next attempt, because nothing else would say it.
            reason = f"{verdict.state}{f' ({verdict.reason})' if verdict.reason else ''}, which cannot be kept: {error.detail}"
            self._note(evaluation_id, Verification(IMPOSSIBLE, reason=reason))
        else:
            self._note(evaluation_id, None)

    def _note(self, evaluation_id: str, verification: Verification | None) -> None:
        with self._lock:
            if verification is None:
                self._current.pop(evaluation_id, None)
            else:
                self._current[evaluation_id] = verification


class Replays(NamedTuple):
    """What the server does with the trajectories of evaluations.

    Attributes:
        verifier: verifies them.
        frames: draws them again.
    """

    verifier: Verifier
    frames: EpisodeFrames

    @classmethod
    def of(cls, settings: Settings, results: Results, engine: Engine, interpreters: Interpreters) -> Replays:
        """Return those of a server; the arguments are those of `Verifier`."""
        return cls(Verifier(settings, results, engine, interpreters), EpisodeFrames(settings, engine, interpreters))

    def stop(self) -> None:
        """Begin no further replay, and keep no verdict."""
        self.verifier.stop()
        self.frames.stop()
