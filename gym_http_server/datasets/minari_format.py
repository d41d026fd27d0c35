"""Minari: episodes as a dataset that `minari.load_dataset` loads, made through Minari's own functions.

Arrays are kept as they are, images too (Minari would make JPEGs of them). Infos of an episode need the same keys at every step:
where a key is missing its value is zero or empty, and `_key` says at which steps it was there, as in Gymnasium's vector
environments.
"""

from __future__ import annotations

import contextlib
import copy
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec, WrapperSpec
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Text, Tuple

from ..errors import ExportError
from .forms import Form, Number, Record, Tensor, Words

if TYPE_CHECKING:
    from ..results.trajectories import RecordedEpisode, Trajectories
    from .survey import Survey

ROOT_VARIABLE: Final = "MINARI_DATASETS_PATH"
_LEAVES: Final = (Box, Discrete, MultiBinary, MultiDiscrete, Text)
_MAX_INT64: Final = (1 << 63) - 1


def datasets_root() -> Path:
    """Return the directory in which Minari looks for datasets."""
    return Path(os.environ.get(ROOT_VARIABLE) or Path.home() / ".minari" / "datasets")


def dataset_id(path: Path) -> str:
    """Return the id of the dataset at a path: the path below Minari's directory, or its last part.

    Raises:
        ExportError: it is no id of Minari.
    """
    from minari.dataset.minari_dataset import DATASET_ID_RE

    root = datasets_root().absolute()
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    match = DATASET_ID_RE.fullmatch(name)
    if match is None or match["version"] is None:
        raise ExportError(
            f"{name!r} is no id of a Minari dataset: give an --output that ends with letters, digits, _ or - and a version, "
            "such as cartpole-v0"
        )
    return name


def write(
    directory: Path, name: str, trajectories: Trajectories, survey: Survey, episodes: Iterable[RecordedEpisode]
) -> list[str]:
    """Write the complete episodes.

    Args:
        directory: of the dataset; it exists.
        name: the dataset's id.
        trajectories: the recording.
        survey: of its episodes.
        episodes: its episodes.

    Returns:
        What is left out, and why.

    Raises:
        ExportError: Minari has no form for a space, or for rewards or ends.
    """
    import minari

    observation_space, action_space = trajectories.spaces()
    _refuse_space(observation_space, "observation")
    _refuse_space(action_space, "action")
    _refuse_outcomes(survey.forms)
    left_out: dict[str, None] = {}
    infos = _kept_infos(survey.forms["info"], "", left_out)
    buffers = (
        _buffer(episode, (observation_space, action_space), infos, left_out)
        for episode in episodes
        if episode.is_complete
    )
    root = directory / "root"
    root.mkdir()
    environment = _Described(env_spec(trajectories, left_out), observation_space, action_space)
    _note_space(observation_space, "observation", left_out)
    _note_space(action_space, "action", left_out)
    with _root_at(root), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Minari asks for an author, and more that nobody here knows
        minari.create_dataset_from_buffers(
            name,
            buffers,  # which is read once, from its beginning to its end
            env=environment,
            description=f"{trajectories.env_id} ({trajectories.library}), recorded by gym-http-server",
            jpeg_encoding=False,
        )
    (root / name / "data").rename(directory / "data")
    shutil.rmtree(root)
    if survey.incomplete:
        left_out[f"{survey.incomplete} episodes that did not end by themselves: Minari has complete episodes"] = None
    return list(left_out)


def name_namespace(name: str) -> None:
    """Tell Minari of the namespace of a dataset in its directory, as its own functions do."""
    from minari.namespace import create_namespace, list_local_namespaces

    namespace = name.rpartition("/")[0]
    if namespace and namespace not in list_local_namespaces():
        create_namespace(namespace)


class _Described(gymnasium.Env[Any, Any]):
    """What Minari asks of an environment, which need not be made here."""

    def __init__(self, spec: EnvSpec, observation_space: Space[Any], action_space: Space[Any]) -> None:
        self.spec = spec
        self.observation_space = observation_space
        self.action_space = action_space


def env_spec(trajectories: Trajectories, left_out: dict[str, None]) -> EnvSpec:
    """Return the spec of the environment, which makes it again where its package is installed."""
    try:
        spec = copy.deepcopy(gymnasium.spec(trajectories.env_id))
    except gymnasium.error.Error:
        left_out[
            f"how {trajectories.env_id} is made: Gymnasium knows no such id here (--import, before the command, names the module that registers it)"
        ] = None
        spec = EnvSpec(trajectories.env_id)
    if isinstance(spec.entry_point, type):
        spec.entry_point = f"{spec.entry_point.__module__}:{spec.entry_point.__qualname__}"
    spec.kwargs = {**spec.kwargs, **trajectories.kwargs}
    if trajectories.max_episode_steps is not None:
        spec.max_episode_steps = trajectories.max_episode_steps
    spec.additional_wrappers += tuple(
        WrapperSpec(each["name"], f"gymnasium.wrappers:{each['name']}", each["kwargs"])
        for each in trajectories.wrappers
    )
    try:
        spec.to_json()
    except (TypeError, ValueError) as error:
        left_out[f"how {trajectories.env_id} is made: {error}"] = None
        return EnvSpec(trajectories.env_id)
    return spec


@contextlib.contextmanager
def _root_at(directory: Path) -> Iterator[None]:
    """Let Minari use another directory meanwhile."""
    earlier = os.environ.get(ROOT_VARIABLE)
    os.environ[ROOT_VARIABLE] = str(directory)
    try:
        yield
    finally:
        if earlier is None:
            del os.environ[ROOT_VARIABLE]
        else:
            os.environ[ROOT_VARIABLE] = earlier


def _refuse_space(space: Space[Any], place: str) -> None:
    if isinstance(space, Dict):
        for key, part in space.spaces.items():
            if not isinstance(key, str) or not _is_name(key):
                raise ExportError(f"Minari has no form for the key {key!r} of {place}: export to parquet instead")
            _refuse_space(part, f"{place}[{key!r}]")
    elif isinstance(space, Tuple):
        for at, part in enumerate(space.spaces):
            _refuse_space(part, f"{place}[{at}]")
    elif not isinstance(space, _LEAVES):
        raise ExportError(
            f"Minari has no form for {place}, of the space {type(space).__name__}: export to parquet instead"
        )


def _note_space(space: Space[Any], place: str, left_out: dict[str, None]) -> None:
    """Note it if Minari's form of a space is not equal to it."""
    from minari.serialization import deserialize_space, serialize_space

    if deserialize_space(serialize_space(space)) != space:
        left_out[
            f"a part of the {place} space: Minari makes {deserialize_space(serialize_space(space))} of {space}"
        ] = None


def _refuse_outcomes(forms: Mapping[str, Form]) -> None:
    if not isinstance(forms["reward"], Number):
        raise ExportError("Minari has no form for rewards that are no single numbers: export to parquet instead")
    for name in ("terminated", "truncated"):
        form = forms[name]
        if not isinstance(form, Number) or form.dtype != np.bool_:
            raise ExportError(f"Minari has no form for {name} that is no single boolean: export to parquet instead")


def _is_name(key: str) -> bool:
    """Return whether HDF5 takes a text as one name."""
    return bool(key) and key != "." and "/" not in key and "\0" not in key


def _kept_infos(form: Form, place: str, left_out: dict[str, None]) -> dict[str, Form]:
    """Return the forms of the infos that Minari has a form for."""
    kept: dict[str, Form] = {}
    for key, part in form.fields.items() if isinstance(form, Record) else ():
        where = f"{place}/{key}" if place else key
        if isinstance(part, Record) and not part.is_tuple:
            kept[key] = Record(_kept_infos(part, where, left_out))
        elif not _is_name(key) or not (isinstance(part, Number | Words) or (isinstance(part, Tensor) and part.shape)):
            left_out[f"info {where!r}: its values are no numbers, texts or arrays of one form"] = None
        else:
            kept[key] = part
    return kept


def _buffer(
    episode: RecordedEpisode,
    spaces: tuple[Space[Any], Space[Any]],
    infos: dict[str, Form],
    left_out: dict[str, None],
) -> Any:
    from minari.data_collector import EpisodeBuffer

    where = f"of episode {episode.number}"
    seed = episode.seed
    return EpisodeBuffer(
        # Minari reads a seed by int(); HDF5 has no larger integers.
        seed=str(seed) if seed is not None and seed > _MAX_INT64 else seed,
        options=_kept_options(episode.options or {}, left_out),
        observations=_column(spaces[0], list(episode.observations or ()), f"observation {where}"),
        actions=_column(spaces[1], list(episode.actions), f"action {where}"),
        rewards=_stacked(episode.rewards, f"reward {where}"),
        terminations=_stacked(episode.terminated, f"terminated {where}"),
        truncations=_stacked(episode.truncated, f"truncated {where}"),
        infos=_info_columns(infos, list(episode.infos or ())),
    )


def _column(space: Space[Any], values: Sequence[Any], place: str) -> Any:
    """Return the values of a space as Minari has them: arrays in the structure of the space."""
    try:
        if isinstance(space, Dict):
            for value in values:
                if set(value) != set(space.spaces):
                    raise ExportError(f"{place} has the keys {sorted(value)}, and its space {sorted(space.spaces)}")
            parts = space.spaces.items()
            return {key: _column(part, [value[key] for value in values], f"{place}[{key!r}]") for key, part in parts}
        if isinstance(space, Tuple):
            rows = list(zip(*values, strict=True))
            return tuple(_column(part, rows[at], f"{place}[{at}]") for at, part in enumerate(space.spaces))
    except (TypeError, ValueError, IndexError) as error:
        raise ExportError(f"{place} has not the form of its space: {error}") from None
    if isinstance(space, Text):
        return [str(value) for value in values]
    return _stacked(values, place)


def _stacked(values: Iterable[Any], place: str) -> Any:
    try:
        array = np.array(list(values))
    except ValueError:
        array = np.array(None)
    if array.dtype.kind not in "biuf":
        raise ExportError(f"{place} has values that are no numbers of one shape: export to parquet instead")
    return array


def _info_columns(forms: Mapping[str, Form], infos: Sequence[Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for key, form in forms.items():
        values = [(info or {}).get(key) for info in infos]
        is_there = np.array([value is not None for value in values], np.bool_)
        if isinstance(form, Record):
            columns[key] = _info_columns(form.fields, values)
        elif isinstance(form, Words):
            columns[key] = ["" if value is None else str(value) for value in values]
        elif isinstance(form, Number | Tensor):
            zero = np.zeros(form.shape or () if isinstance(form, Tensor) else (), form.dtype)
            columns[key] = np.stack([zero if value is None else value for value in values], dtype=form.dtype)
        if not is_there.all():
            columns[f"_{key}"] = is_there
    return columns


def _kept_options(options: Mapping[str, Any], left_out: dict[str, None], place: str = "option") -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in options.items():
        if isinstance(value, Mapping):
            kept[key] = _kept_options(value, left_out, f"{place} {key}")
        elif isinstance(value, str) or _is_attribute(value):
            kept[key] = value
        else:
            left_out[f"{place} {key!r}: it is no number, text or array"] = None
    return kept


def _is_attribute(value: Any) -> bool:
    try:
        return np.asarray(value).dtype.kind in "biuf"
    except ValueError:
        return False
