"""LeRobot: episodes in the layout of its datasets, version v3.0.

    meta/info.json  meta/stats.json  meta/tasks.parquet  meta/episodes/chunk-000/file-000.parquet
    data/chunk-000/file-000.parquet                      a row for each step
    videos/<feature>/chunk-000/file-000.mp4              the images of many episodes, one after the other

https://huggingface.co/docs/lerobot/lerobot-dataset-v3
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import ExportError
from .arrow import Column, Listed, TableFile
from .footage import Footage
from .forms import Form, Number, Record, Tensor, Words
from .statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ..results.trajectories import RecordedEpisode
    from .survey import Survey

VERSION: Final = "v3.0"
FILES_PER_CHUNK: Final = 1000
DATA_FILE_MB: Final = 100
VIDEO_FILE_MB: Final = 200
FILE: Final = "chunk-{chunk_index:03d}/file-{file_index:03d}"
_MB: Final = 1 << 20
_ROWS: Final = 128
_MAX_AXES: Final = 5
_MIN_PIXELS: Final = 8
_CHANNELS: Final = (1, 3)
_EPISODES_PER_GROUP: Final = 256

_INT64: Final = Number(np.dtype(np.int64))
_DEFAULTS: Final[dict[str, Form]] = {
    "timestamp": Number(np.dtype(np.float32)),
    "frame_index": _INT64,
    "episode_index": _INT64,
    "index": _INT64,
    "task_index": _INT64,
}


@dataclass(frozen=True, slots=True)
class Feature:
    """A column, or the images of a video.

    Attributes:
        name: its name in the dataset.
        source: `observation`, `action`, `reward` or `done`.
        keys: where in a value of the source it is.
        form: of its values.
        is_image: whether it is a video.
    """

    name: str
    source: str
    keys: tuple[str, ...]
    form: Form
    is_image: bool = False

    def of(self, value: Any) -> Any:
        """Return its part of a value of the source."""
        for key in self.keys:
            value = value[int(key)] if isinstance(value, tuple) else value[key]
        return value

    def described(self, fps: int, pixel_format: str) -> dict[str, Any]:
        """Return its entry in info.json."""
        if not self.is_image:
            dtype = "string" if isinstance(self.form, Words) else self.form.dtype.name  # type: ignore[union-attr]
            return {"dtype": dtype, "shape": list(self.shape), "names": None}
        height, width = self.shape[:2]
        facts = {"height": height, "width": width, "codec": "h264", "pix_fmt": pixel_format, "fps": fps, "channels": 3}
        return {
            "dtype": "video",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
            "info": {
                **{f"video.{name}": fact for name, fact in facts.items()},
                "is_depth_map": False,
                "has_audio": False,
            },
        }

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of its axes; one number has a single axis here."""
        return (self.form.shape or (1,)) if isinstance(self.form, Tensor) else (1,)

    @property
    def column(self) -> Column:
        """Its column in the data."""
        if isinstance(self.form, Tensor):
            return Number(self.form.dtype) if self.shape == (1,) else Listed(self.form.dtype, self.shape)
        return self.form


def features_of(survey: Survey) -> list[Feature]:
    """Return the features of a recording.

    Raises:
        ExportError: an observation, action or reward has no form in a LeRobot dataset.
    """
    observation, action, reward = (survey.forms[name] for name in ("observation", "action", "reward"))
    if not isinstance(reward, Number):
        raise ExportError("LeRobot has no form for rewards that are no single numbers: export to parquet instead")
    features = [*_features("observation", observation, (), "state"), *_features("action", action, (), "")]
    names = [feature.name for feature in features]
    if len(set(names)) < len(names):
        raise ExportError(f"two parts of the observation or action would have one name: {', '.join(sorted(names))}")
    return [*features, Feature("next.reward", "reward", (), reward)]


def _features(source: str, form: Form, keys: tuple[str, ...], alone: str) -> Iterator[Feature]:
    if isinstance(form, Record):
        for key, part in form.fields.items():
            yield from _features(source, part, (*keys, key), alone)
        return
    place = ".".join((source, *keys))
    if any("/" in key for key in keys):
        raise ExportError(f"LeRobot has no names with / such as {place!r}: export to parquet instead")
    if source == "observation" and _is_image(form):
        yield Feature(
            f"observation.images.{'.'.join(keys)}" if keys else "observation.image", source, keys, form, is_image=True
        )
    elif isinstance(form, Number | Words) or (isinstance(form, Tensor) and form.shape and len(form.shape) <= _MAX_AXES):
        yield Feature(place if keys or not alone else f"{source}.{alone}", source, keys, form)
    else:
        raise ExportError(
            f"LeRobot has no form for {place}, whose values are no numbers, texts or arrays of one shape: "
            "export to parquet instead"
        )


def _is_image(form: Form) -> bool:
    """Return whether values are images: bytes, of at least 8 by 8 pixels, gray or RGB."""
    if not isinstance(form, Tensor) or form.shape is None or form.dtype != np.uint8 or len(form.shape) not in (2, 3):
        return False
    return min(form.shape[:2]) >= _MIN_PIXELS and (len(form.shape) == 2 or form.shape[2] in _CHANNELS)


def write(directory: Path, survey: Survey, episodes: Iterable[RecordedEpisode], *, fps: int, task: str) -> list[str]:
    """Write the complete episodes.

    Args:
        directory: of the dataset; it exists.
        survey: of the episodes.
        episodes: those of a recording.
        fps: steps a second.
        task: what was to be done.

    Returns:
        What is left out.

    Raises:
        ExportError: a value has no form in a LeRobot dataset.
    """
    dataset = _Dataset(directory, features_of(survey), fps)
    try:
        for episode in episodes:
            if episode.is_complete:
                dataset.add(episode, task)
    finally:
        dataset.close()
    dataset.describe(task)
    left_out = ["infos, and the last observation of each episode: LeRobot has a row for each action"]
    if survey.incomplete:
        left_out.append(f"{survey.incomplete} episodes that did not end by themselves")
    return left_out


class _Dataset:
    """Writes the files of a dataset.

    Args:
        directory: where to.
        features: what a step has.
        fps: steps a second.
    """

    def __init__(self, directory: Path, features: list[Feature], fps: int) -> None:
        self._directory = directory
        self._features = features
        self._fps = fps
        self._forms: dict[str, Column] = {each.name: each.column for each in features if not each.is_image}
        self._forms |= {"next.done": _BOOL, "next.terminated": _BOOL, "next.truncated": _BOOL, **_DEFAULTS}
        self._episodes, self._frames = 0, 0
        self._statistics: dict[str, Statistics] = {}
        self._told: list[dict[str, Any]] = []
        self._data: TableFile | None = None
        self._data_file = -1
        self._videos = {
            each.name: Footage(directory / "videos" / each.name, fps, VIDEO_FILE_MB * _MB)
            for each in features
            if each.is_image
        }
        self._episode_writer: Any = None
        (directory / "meta" / "episodes" / "chunk-000").mkdir(parents=True)

    def add(self, episode: RecordedEpisode, task: str) -> None:
        """Write an episode."""
        data = self._open_data()
        spans = {name: footage.begin() for name, footage in self._videos.items()}
        statistics: dict[str, Statistics] = {}
        length = 0
        rows = zip(
            episode.observations or (),
            episode.actions,
            episode.rewards,
            episode.terminated,
            episode.truncated,
            strict=False,
        )
        while chunk := list(islice(rows, _ROWS)):
            columns = self._columns(chunk, length)
            for name, images in ((name, columns.pop(name)) for name in self._videos):
                frames = np.stack([_as_rgb(image) for image in images])
                self._videos[name].add(frames)
                statistics.setdefault(name, Statistics()).add_images(frames)
            for name, column in columns.items():
                if not isinstance(self._forms[name], Words):
                    statistics.setdefault(name, Statistics()).add(np.stack(column))
            data.add(columns)
            length += len(chunk)
        self._note(length, task, spans, statistics)

    def _columns(self, chunk: list[tuple[Any, ...]], first: int) -> dict[str, list[Any]]:
        """Return the columns of some steps, of which the first has this number."""
        observations, actions, rewards, terminated, truncated = map(list, zip(*chunk, strict=True))
        sources = {"observation": observations, "action": actions, "reward": rewards}
        columns = {each.name: [each.of(value) for value in sources[each.source]] for each in self._features}
        for name, form in self._forms.items():
            if name in columns and isinstance(form, Number):
                columns[name] = [np.asarray(value).reshape(())[()] for value in columns[name]]
        count = len(chunk)
        numbers = list(range(first, first + count))
        return {
            **columns,
            "next.done": [bool(ends[0] or ends[1]) for ends in zip(terminated, truncated, strict=True)],
            "next.terminated": list(map(bool, terminated)),
            "next.truncated": list(map(bool, truncated)),
            "timestamp": [np.float32(number / self._fps) for number in numbers],
            "frame_index": numbers,
            "episode_index": [self._episodes] * count,
            "index": [self._frames + number for number in numbers],
            "task_index": [0] * count,
        }

    def _open_data(self) -> TableFile:
        """Return the file of the next episode."""
        if self._data is None or self._data.path.stat().st_size >= DATA_FILE_MB * _MB:
            if self._data is not None:
                self._data.close()
            self._data_file += 1
            path = self._directory / "data" / f"{FILE.format(**_place(self._data_file))}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._data = TableFile(path, self._forms, compression="snappy")
        return self._data

    def _note(
        self, length: int, task: str, spans: dict[str, tuple[int, float]], statistics: dict[str, Statistics]
    ) -> None:
        told = {name: each.told(length) for name, each in statistics.items()}
        for name, each in statistics.items():
            self._statistics.setdefault(name, Statistics()).merge(each)
        row: dict[str, Any] = {"episode_index": self._episodes, "tasks": [task], "length": length}
        row |= {f"data/{name}": at for name, at in _place(self._data_file).items()}
        row |= {"dataset_from_index": self._frames, "dataset_to_index": self._frames + length}
        for name, (file, seconds) in spans.items():
            row |= {f"videos/{name}/{part}": at for part, at in _place(file).items()}
            row |= {
                f"videos/{name}/from_timestamp": seconds,
                f"videos/{name}/to_timestamp": seconds + length / self._fps,
            }
        row |= {f"stats/{name}/{kind}": value for name, numbers in told.items() for kind, value in numbers.items()}
        row |= {f"meta/episodes/{name}": 0 for name in _place(0)}
        self._told.append(row)
        self._episodes += 1
        self._frames += length
        if len(self._told) >= _EPISODES_PER_GROUP:
            self._write_told()

    def _write_told(self) -> None:
        if not self._told:
            return
        schema = None if self._episode_writer is None else self._episode_writer.schema
        table = pa.Table.from_pylist(self._told, schema=schema)
        self._told.clear()
        if self._episode_writer is None:
            path = self._directory / "meta" / "episodes" / f"{FILE.format(**_place(0))}.parquet"
            self._episode_writer = pq.ParquetWriter(path, table.schema)
        self._episode_writer.write_table(table)

    def close(self) -> None:
        """Finish the files."""
        if self._data is not None:
            self._data.close()
        for footage in self._videos.values():
            footage.close()
        self._write_told()
        if self._episode_writer is not None:
            self._episode_writer.close()

    def describe(self, task: str) -> None:
        """Write what is known of all episodes together."""
        pixel_formats = {name: footage.pixel_format for name, footage in self._videos.items()}
        features = {each.name: each.described(self._fps, pixel_formats.get(each.name, "")) for each in self._features}
        others = {name: form for name, form in self._forms.items() if name not in features}
        features |= {
            name: {"dtype": form.dtype.name, "shape": [1], "names": None}
            for name, form in others.items()
            if isinstance(form, Number)
        }
        info = {
            "codebase_version": VERSION,
            "robot_type": None,
            "total_episodes": self._episodes,
            "total_frames": self._frames,
            "total_tasks": 1,
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": DATA_FILE_MB,
            "video_files_size_in_mb": VIDEO_FILE_MB,
            "fps": self._fps,
            "splits": {"train": f"0:{self._episodes}"},
            "data_path": f"data/{FILE}.parquet",
            "video_path": f"videos/{{video_key}}/{FILE}.mp4" if self._videos else None,
            "features": features,
        }
        meta = self._directory / "meta"
        (meta / "info.json").write_text(json.dumps(info, indent=4) + "\n", encoding="utf-8")
        told = {name: each.told(self._frames) for name, each in self._statistics.items()}
        (meta / "stats.json").write_text(json.dumps(told, indent=4) + "\n", encoding="utf-8")
        pq.write_table(_tasks(task), meta / "tasks.parquet")


_BOOL: Final = Number(np.dtype(np.bool_))


def _place(file: int) -> dict[str, int]:
    return {"chunk_index": file // FILES_PER_CHUNK, "file_index": file % FILES_PER_CHUNK}


def _as_rgb(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    image = image if image.ndim == 3 else image[:, :, None]
    return image if image.shape[2] == 3 else np.repeat(image, 3, axis=2)


def _tasks(task: str) -> pa.Table:
    """Return the table of tasks, whose index for pandas is the task."""
    columns = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy_kind, "metadata": None}
        for name, kind, numpy_kind in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ]
    pandas = {"index_columns": ["task"], "column_indexes": [], "columns": columns, "creator": {"library": "pyarrow"}}
    table = pa.table({"task_index": pa.array([0], pa.int64()), "task": pa.array([task])})
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})
