"""`EvaluatedTrajectories`: what an evaluation says of the trajectories that were uploaded with it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import NoRecordingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .trajectories import Trajectories

MAX_FILES: Final = 1000
MAX_ENVIRONMENT_BYTES: Final = 1 << 16
"""Size of `environment` as JSON above which it is left out: every reader of the target keeps all evaluations in memory."""

NAME: Final = re.compile(r"openaigym\.trajectories\.[^/\\\0-\x1f\x7f]+")
KEPT: Final = ("full", "actions")
_ENVIRONMENT: Final = ("kwargs", "wrappers", "max_episode_steps", "render_mode", "num_envs", "interpreter")
_MAX_PROBLEM_CHARACTERS: Final = 500


@dataclass(frozen=True, slots=True)
class EvaluatedTrajectories:
    """Trajectories beside an evaluation.

    Attributes:
        files: names of the files.
        size: their bytes.
        episodes: number of complete episodes.
        recorded: number of all episodes, those that were cut short, too.
        kept: `full` or `actions`; None if they cannot be read.
        problem: why they cannot be verified; None if they can.
        environment: how the environment was made: `kwargs`, `wrappers` and others of `createEnv`.
    """

    files: tuple[str, ...]
    size: int
    episodes: int = 0
    recorded: int = 0
    kept: str | None = None
    problem: str | None = None
    environment: dict[str, Any] | None = None

    @classmethod
    def of(cls, directory: Path, names: Sequence[str]) -> EvaluatedTrajectories | None:
        """Return what a recording's trajectories are; None if there are none.

        Args:
            directory: the directory of the recording.
            names: names of their files in it.

        Raises:
            NoRecordingError: there are too many files.
        """
        if not names:
            return None
        if len(names) > MAX_FILES:
            raise NoRecordingError(f"the recording has {len(names)} files of trajectories and the limit is {MAX_FILES}")
        # Not at the top: it imports numpy, for which the start of a server does not wait.
        from .trajectories import open_trajectories

        size = sum(Path(directory, name).stat().st_size for name in names)
        try:
            with open_trajectories(directory) as trajectories:
                return cls(tuple(names), size, **_contents(trajectories))
        except NoRecordingError as error:
            return cls(tuple(names), size, problem=error.detail[:_MAX_PROBLEM_CHARACTERS])

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        told: dict[str, Any] = {
            "files": list(self.files),
            "bytes": self.size,
            "episodes": self.episodes,
            "kept": self.kept,
        }
        told["recorded"] = self.recorded
        more = {"problem": self.problem, "environment": self.environment}
        return {**told, **{name: value for name, value in more.items() if value is not None}}

    @classmethod
    def from_json(cls, value: Any) -> EvaluatedTrajectories | None:
        """Return what `to_json` was called on; None for None.

        Raises:
            ValueError: it is no such value.
        """
        if value is None:
            return None
        if not isinstance(value, dict):
            raise ValueError("trajectories are no JSON object")  # noqa: TRY004 -- callers catch ValueError
        files = value.get("files")
        size, episodes, recorded = (value.get(name) for name in ("bytes", "episodes", "recorded"))
        kept, problem, environment = value.get("kept"), value.get("problem"), value.get("environment")
        is_named = isinstance(files, list) and all(isinstance(name, str) and NAME.fullmatch(name) for name in files)
        if not is_named or not files or len(files) > MAX_FILES:
            raise ValueError("trajectories have no names")
        if type(size) is not int or type(episodes) is not int or type(recorded) is not int:
            raise ValueError("trajectories have no size, or no number of episodes")
        if kept not in (*KEPT, None) or not isinstance(problem, str | None) or not isinstance(environment, dict | None):
            raise ValueError("trajectories are not described as they should be")
        if environment is not None:
            environment = {name: environment.get(name) for name in _ENVIRONMENT}
        return cls(tuple(files), size, episodes, recorded, kept, problem, environment)


def environment_of(trajectories: Trajectories) -> dict[str, Any]:
    """Return how the recorded environment was made, as plain JSON values."""
    environment: dict[str, Any] = json.loads(json.dumps({name: getattr(trajectories, name) for name in _ENVIRONMENT}))
    return environment


def _contents(trajectories: Trajectories) -> dict[str, Any]:
    environment: dict[str, Any] | None = environment_of(trajectories)
    problem = None
    if len(json.dumps(environment)) > MAX_ENVIRONMENT_BYTES:
        environment = None
        problem = (
            f"kwargs and wrappers of the environment have more than {MAX_ENVIRONMENT_BYTES} bytes, and are not kept"
        )
    are_complete = [episode.is_complete for episode in trajectories]
    counts = {"episodes": sum(are_complete), "recorded": len(are_complete)}
    return {**counts, "kept": trajectories.kept, "problem": problem, "environment": environment}
