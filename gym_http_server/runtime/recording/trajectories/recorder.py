"""`TrajectoryRecorder`: keeps what the episodes of an instance consist of, and writes them block by block.

Each step is copied, because the environment may write into its values later. A block is compressed and written when it has
`BLOCK_BYTES` or `BLOCK_STEPS`, and when its episode ends, so memory stays bounded whatever the length of an episode.
"""

from __future__ import annotations

import contextlib
import logging
import platform
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ....errors import InvalidValueError
from ...values.encoding import json_bytes
from ...values.lanes import lane_info
from ...values.outcomes import FLAGS
from ..writer import failed
from .episode import BLOCK_BYTES, NO_INFO, FrameCopies, UnwrittenEpisode
from .file import IS_COMPLETE, IS_LAST, IS_RESTORED, TrajectoryFile
from .values import byte_size, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ...messages import CreateRequest, Description
    from ..writer import RecordingWriter

logger = logging.getLogger(__name__)

BLOCK_STEPS: Final = 1024
MAX_ROWS: Final = 32
"""Number of steps of a batch that are kept together, before each lane takes its values."""
FULL, ACTIONS = "full", "actions"
"""What is kept: everything; or seeds, actions, rewards and ends, from which a replay makes the rest."""

UNSEEDED: Final = "its random generator was seeded before, or never, and what happened since then is not recorded"
RESTORED: Final = "a snapshot was restored"
FAILED: Final = "a call raised an exception"
LOST: Final = "an earlier part could not be written"

NO_TRAJECTORIES: Final[dict[str, Any]] = {"trajectories": "none", "trajectory_episodes": 0, "trajectory_bytes": 0}
"""`TrajectoryRecorder.state()` where no trajectories are kept."""


def what_is_kept(trajectories: Any) -> str | None:
    """Return what a client's `trajectories` asks to keep; None for nothing.

    Raises:
        InvalidValueError: it is no such value.
    """
    if isinstance(trajectories, bool | None):
        return FULL if trajectories else None
    if trajectories == ACTIONS:
        return ACTIONS
    raise InvalidValueError(
        f"trajectories is {trajectories!r}: give false, true, or {ACTIONS!r} for seeds, actions and rewards alone"
    )


def described(request: CreateRequest, description: Description) -> dict[str, Any]:
    """Return what is needed to make an environment again, and what its values are: plain JSON values."""
    return {
        "env_id": description.env_id,
        "library": description.library,
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "kwargs": request.kwargs,
        "wrappers": request.wrappers,
        "imports": list(request.imports),
        "max_episode_steps": request.max_episode_steps,
        "render_mode": description.render_mode,
        "num_envs": description.num_envs,
        "vectorization_mode": description.vectorization_mode,
        "autoreset_mode": description.autoreset_mode,
        "interpreter": None if request.interpreter is None else request.interpreter.name,
        "observation_space": description.observation_space,
        "action_space": description.action_space,
    }


def drawn_seed() -> int:
    """Return a seed for a reset that has none, so that the recording can be replayed."""
    return secrets.randbelow(1 << 31)


@contextlib.contextmanager
def repeatable(recorder: TrajectoryRecorder | None) -> Iterator[None]:
    """Tell the recorder, if there is one, of exceptions."""
    try:
        yield
    except BaseException:
        if recorder is not None:
            recorder.failed()
        raise


class TrajectoryRecorder:
    """Records the trajectories of all lanes of an instance.

    Args:
        recording: the recording that the file belongs to.
        environment: what is needed to make the environment again, plain values.
        lanes: number of lanes of a batch; None for a single environment.
        kept: `FULL` or `ACTIONS`.

    Attributes:
        kept: what is kept.
        episodes: number of complete episodes.
        error: why the latest block could not be written; None if it could.

    Raises:
        RecordingFailedError: the file cannot be written.
    """

    def __init__(
        self, recording: RecordingWriter, environment: Mapping[str, Any], lanes: int | None, kept: str
    ) -> None:
        self.kept = kept
        self.episodes = 0
        self.error: str | None = None
        self._keeps_all = kept == FULL
        environment = {**environment, "kept": kept, "began_at": time.time()}
        try:
            self._file = TrajectoryFile(recording.trajectory_path(), json_bytes(environment))
        except OSError as error:
            raise failed(recording.directory, error) from None
        recording.name_trajectories(self._file.path.name)
        self._begun = 0
        # Latest steps of a batch: actions, observations and outcomes of all lanes; and how many there were before them.
        self._rows: list[tuple[Sequence[Any], Sequence[Any], Sequence[tuple[Any, Any, Any]]]] = []
        self._rows_before = 0
        # The first row that the current episode of a lane has not taken.
        self._next_rows = [0] * (lanes or 1)
        self._current: list[UnwrittenEpisode | None] = [None] * (lanes or 1)
        # Batches copy the observations of all lanes at once.
        self._frames = FrameCopies() if lanes is None else None
        # Why the state in which the next episode of a lane begins cannot be reached by a replay; empty if it can.
        self._gaps = [UNSEEDED] * (lanes or 1)

    def state(self) -> dict[str, Any]:
        """Return the members of the contract's `MonitorState` about trajectories, and `error` if there is one."""
        error = {} if self.error is None else {"error": f"{self._file.path}: {self.error}"}
        return {
            "trajectories": self.kept,
            "trajectory_episodes": self.episodes,
            "trajectory_bytes": self._file.size,
            **error,
        }

    def began(self, lane: int, seed: int | None, options: Any, observation: Any, info: Any) -> None:
        """Record a reset, with the seed that the environment was given; of a lane of a batch with frozen values."""
        self._cut(lane)
        if seed is not None:
            self._gaps[lane] = ""
        episode = self._current[lane] = UnwrittenEpisode(
            self._begun, [seed, frozen(options), self._gaps[lane]], self._frames
        )
        self._next_rows[lane] = self._rows_before + len(self._rows)
        self._begun += 1
        if self._keeps_all:
            episode.keep(observation, info)

    def stepped(
        self, lane: int, action: Any, observation: Any, outcome: tuple[Any, Any, Any], info: Any, *, ended: bool
    ) -> None:
        """Record a step.

        Args:
            lane: the lane.
            action: the action, frozen before the step.
            observation: the observation.
            outcome: reward, terminated and truncated, as the environment returned them.
            info: the info.
            ended: the episode has ended.
        """
        episode = self._current[lane]
        if episode is None:
            return
        if self._keeps_all:
            episode.keep(observation, info)
        reward, terminated, truncated = outcome
        episode.actions.append(action)
        episode.rewards.append(frozen(reward))
        episode.terminated.append(_end(terminated))
        episode.truncated.append(_end(truncated))
        episode.bytes += byte_size(action)
        if ended:
            self._current[lane] = None
            self.episodes += 1
            self._write(lane, episode, IS_LAST | IS_COMPLETE)
        elif episode.bytes >= BLOCK_BYTES or len(episode.actions) >= BLOCK_STEPS:
            self._write(lane, episode, 0)

    def lanes_stepped(
        self,
        actions: Sequence[Any],
        observations: Sequence[Any],
        outcomes: Sequence[tuple[Any, Any, Any]],
        infos: Any,
        ended: np.ndarray[Any, Any],
        was_reset: np.ndarray[Any, Any],
        restarts: bool,
    ) -> None:
        """Record a step of all lanes of a batch; a value for each lane.

        Args:
            actions: the actions, frozen before the step.
            observations: the observations, frozen.
            outcomes: reward, terminated and truncated.
            infos: what the batch returned.
            ended: an episode has ended.
            was_reset: the step was a reset.
            restarts: lanes whose episode ended were reset in the same step.
        """
        infos = frozen(infos)
        lanes: Iterable[int] = range(len(observations))
        if not infos and _are_plain(outcomes):
            # Most steps are no more than a row: a lane takes its values when its episode ends, or rows are many.
            row = self._rows_before + len(self._rows)
            self._rows.append((actions, observations, outcomes))
            lanes = np.flatnonzero(ended | was_reset).tolist()
            for lane in lanes:
                self._take_rows(lane, row, row + 1)
        elif self._rows:
            self._take_all_rows()
        for lane in lanes:
            observation, info = observations[lane], lane_info(infos, lane)
            if was_reset[lane]:
                self.began(lane, None, None, observation, info)
            elif restarts and ended[lane]:
                last, last_info = info.pop("final_obs", observation), info.pop("final_info", NO_INFO)
                self.stepped(lane, actions[lane], last, outcomes[lane], last_info, ended=True)
                self.began(lane, None, None, observation, info)
            else:
                self.stepped(lane, actions[lane], observation, outcomes[lane], info, ended=bool(ended[lane]))
        rows = len(self._rows)
        if rows >= MAX_ROWS or (rows and rows * byte_size(observations[0]) >= BLOCK_BYTES // 4):
            self._take_all_rows()

    def failed(self) -> None:
        """Record that the environment raised an exception: its state is not the one that a replay reaches."""
        self._gaps = [FAILED] * len(self._gaps)
        for episode in self._current:
            if episode is not None:
                episode.gap = FAILED

    def restored(self) -> None:
        """Record that a snapshot was restored, which cuts the current episodes."""
        for lane in range(len(self._current)):
            self._cut(lane, IS_RESTORED)
        self._gaps = [RESTORED] * len(self._gaps)

    def close(self) -> None:
        """Cut the current episodes, and write what could not be written before.

        Raises:
            OSError: it still cannot be written; the next call tries again.
        """
        for lane in range(len(self._current)):
            self._cut(lane)
        self._file.flush()
        self._file.close()
        self.error = None

    def discard(self) -> None:
        """Stop without writing."""
        self._file.close()

    def _take_all_rows(self) -> None:
        end = self._rows_before + len(self._rows)
        for lane in range(len(self._current)):
            self._take_rows(lane, end, end)
        self._rows_before = end
        self._rows.clear()

    def _take_rows(self, lane: int, end: int, following: int) -> None:
        """Add a lane's values of the rows up to one to its episode, which goes on with the following one."""
        episode = self._current[lane]
        if episode is None:
            return
        rows = self._rows[self._next_rows[lane] - self._rows_before : end - self._rows_before]
        self._next_rows[lane] = following
        if not rows:
            return
        if self._keeps_all:
            observations = [row[1][lane] for row in rows]
            episode.observations += observations
            episode.infos += [NO_INFO] * len(rows)
            episode.bytes += _size_of(observations)
        actions, outcomes = [row[0][lane] for row in rows], [row[2][lane] for row in rows]
        episode.actions += actions
        episode.rewards += [reward for reward, _, _ in outcomes]
        episode.terminated += [terminated for _, terminated, _ in outcomes]
        episode.truncated += [truncated for _, _, truncated in outcomes]
        episode.bytes += _size_of(actions)
        if episode.bytes >= BLOCK_BYTES or len(episode.actions) > BLOCK_STEPS - MAX_ROWS:
            self._write(lane, episode, 0)

    def _cut(self, lane: int, flags: int = 0) -> None:
        end = self._rows_before + len(self._rows)
        self._take_rows(lane, end, end)
        episode, self._current[lane] = self._current[lane], None
        if episode is not None:
            self._write(lane, episode, IS_LAST | flags)

    def _write(self, lane: int, episode: UnwrittenEpisode, flags: int) -> None:
        """Write a block; `error` says why it could not be written."""
        columns = episode.taken(flags)
        try:
            is_kept = self._file.add(episode.flags | flags, lane, episode.number, len(columns["actions"]), columns)
            self.error = None if is_kept else LOST
        except OSError as error:
            is_kept = True  # it waits
            self.error = error.strerror or str(error)
        except Exception:  # the client asked for a step
            is_kept = False
            self.error = LOST
            logger.exception("a block has no form in a file of trajectories")
        if not is_kept:
            logger.warning("a part of episode %d of %s is lost", episode.number, self._file.path)
            self._current[lane], self._gaps[lane] = None, LOST
        episode.flags = 0
        if self._frames is not None:
            self._frames.clear()


def _size_of(values: list[Any]) -> int:
    """Return about how many bytes values of one space take."""
    first = values[0]
    if isinstance(first, np.ndarray | np.generic):
        return byte_size(first) * len(values)
    return sum(map(byte_size, values))


def _are_plain(outcomes: Sequence[tuple[Any, Any, Any]]) -> bool:
    """Return whether each lane has one reward and one end, which nobody can write into."""
    return all(isinstance(each, np.generic) and type(first) is type(second) is bool for each, first, second in outcomes)


def _end(value: Any) -> Any:
    return bool(value) if type(value) in FLAGS else frozen(value)
