"""Parquet: `steps.parquet` with a row for each observation, and `episodes.parquet` with a row for each episode.

A row of `steps.parquet` is a moment of an episode: the observation and info that the environment had returned, the action that
was taken then, and reward, terminated and truncated of that step. The last row of an episode has its last observation and
info alone. Observations, actions and infos that are mappings or tuples are nested columns, and arrays of one shape are tensors
(Arrow's `fixed_shape_tensor`, which other readers see as lists). `metadata.json` describes the environment and its spaces.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .arrow import TableFile
from .forms import Form, Number, Words
from .survey import COLUMNS, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ..results.trajectories import RecordedEpisode, Trajectories
    from .survey import Survey

_INT64: Final = Number(np.dtype(np.int64))
_BOOL: Final = Number(np.dtype(np.bool_))
_MAX_INT64: Final = (1 << 63) - 1


_EPISODE_FORMS: Final[dict[str, Form]] = {
    "episode": _INT64,
    "lane": _INT64,
    "seed": _INT64,
    "wide_seed": Words(),
    "steps": _INT64,
    "is_complete": _BOOL,
}


def write(directory: Path, description: dict[str, Any], survey: Survey, episodes: Iterable[RecordedEpisode]) -> None:
    """Write episodes.

    Args:
        directory: where to; it exists.
        description: the environment, as plain JSON values.
        survey: of these episodes.
        episodes: all of a recording, also the incomplete ones.

    Raises:
        ExportError: a value has no place in its column.
    """
    (directory / "metadata.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    metadata = {"gym_http_server": json.dumps(description)}
    options = {"options": survey.forms["options"]}
    steps = {"episode": _INT64, "step": _INT64, **{name: survey.forms[name] for name in COLUMNS}}
    with (
        TableFile(directory / "steps.parquet", steps, metadata) as step_file,
        TableFile(directory / "episodes.parquet", {**_EPISODE_FORMS, **options}, metadata) as episode_file,
    ):
        for episode in episodes:
            first = 0
            for columns in rows_of(episode):
                count = len(columns["action"])
                numbers = {"episode": [episode.number] * count, "step": list(range(first, first + count))}
                step_file.add({**numbers, **columns})
                first += count
            episode_file.add({name: [value] for name, value in _episode_row(episode).items()})


def description_of(trajectories: Trajectories) -> dict[str, Any]:
    """Return what is known of the environment of a recording, as plain JSON values."""
    names = (
        *("env_id", "library", "versions", "kwargs", "wrappers", "max_episode_steps", "render_mode", "num_envs"),
        *("vectorization_mode", "autoreset_mode", "interpreter", "observation_space", "action_space"),
    )
    return {name: getattr(trajectories, name) for name in names}


def _episode_row(episode: RecordedEpisode) -> dict[str, Any]:
    is_wide = episode.seed is not None and episode.seed > _MAX_INT64
    return {
        "episode": episode.number,
        "lane": episode.lane,
        "seed": None if is_wide else episode.seed,
        "wide_seed": str(episode.seed) if is_wide else None,
        "steps": len(episode.actions),
        "is_complete": episode.is_complete,
        "options": episode.options,
    }
