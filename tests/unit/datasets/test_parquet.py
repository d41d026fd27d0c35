"""Parquet: what is written and read is what was recorded, whatever the values are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gym_http_server.datasets import arrow, parquet_format
from gym_http_server.datasets.arrow import TableFile, arrow_array, arrow_field
from gym_http_server.datasets.forms import Form, Nothing, Number, form_of, merged
from gym_http_server.datasets.survey import Survey
from gym_http_server.errors import ExportError
from gym_http_server.results.trajectories import RecordedEpisode
from tests.support.sample_spaces import SAMPLE_SPACES
from tests.support.typed_envs import told


def episode(observations: list[Any], *, number: int = 0, seed: int | None = 3, **changed: Any) -> RecordedEpisode:
    """Return an episode whose actions are its observations."""
    steps = len(observations) - 1
    members: dict[str, Any] = {
        "options": None,
        "gap": "",
        "actions": observations[:-1],
        "rewards": [np.float32(0.1)] * steps,
        "terminated": [False] * (steps - 1) + [True],
        "truncated": [False] * steps,
        "infos": [{"step": step} for step in range(steps + 1)],
        "is_complete": True,
        "was_restored": False,
        **changed,
    }
    return RecordedEpisode(number=number, lane=0, seed=seed, observations=observations, **members)


def surveyed(*episodes: RecordedEpisode) -> Survey:
    survey = Survey()
    for each in episodes:
        survey.add(each)
    return survey


def read(cell: Any, is_packed: bool) -> Any:
    """Return a value of a table as plain values and arrays."""
    if isinstance(cell, pa.FixedShapeTensorScalar):
        flat = cell.as_py()  # Arrow's to_numpy takes no booleans
        return None if flat is None else np.array(flat, cell.type.value_type.to_pandas_dtype()).reshape(cell.type.shape)
    if isinstance(cell, pa.StructScalar) and cell.is_valid:
        kept = {field.name: read(cell[field.name], field.metadata is not None) for field in cell.type}
        if list(kept) == ["shape", "data"]:
            dtype = cell.type.field("data").type.value_type.to_pandas_dtype()
            return np.array(kept["data"], dtype).reshape(kept["shape"])
        return {name: value for name, value in kept.items() if value is not None}
    if isinstance(cell, pa.ListScalar) and cell.is_valid:
        is_packed = cell.type.value_field.metadata is not None
        return [read(item, is_packed) for item in cell]
    value = cell.as_py()
    return msgpack.unpackb(value, strict_map_key=False, object_hook=array) if is_packed and value is not None else value


def array(members: dict[str, Any]) -> Any:
    """Return the array of a map, as the contract's MessagePack has it."""
    if members.keys() == {"dtype", "shape", "data"}:
        return np.frombuffer(members["data"], members["dtype"]).reshape(members["shape"])
    return members


def is_nothing(value: Any) -> bool:
    """Return whether a value has no column: None, and a record without members."""
    if isinstance(value, dict):
        return all(map(is_nothing, value.values()))
    return value is None or (isinstance(value, tuple) and all(map(is_nothing, value)))


def is_equal(recorded: Any, loaded: Any) -> bool:
    """Return whether a value was loaded to the bit, where a column of several types has a wider one."""
    if is_nothing(recorded) and is_nothing(loaded):
        return True
    if isinstance(recorded, tuple) and isinstance(loaded, dict):
        recorded = dict(enumerate(recorded))
    if isinstance(recorded, dict) and isinstance(loaded, dict):
        kept = {str(key): item for key, item in recorded.items()}
        return kept.keys() >= loaded.keys() and all(is_equal(kept[key], loaded.get(key)) for key in kept)
    if isinstance(recorded, list | tuple) and isinstance(loaded, list):
        return len(recorded) == len(loaded) and all(map(is_equal, recorded, loaded))
    if isinstance(recorded, np.ndarray) and recorded.dtype.kind in "OU":
        return is_equal(recorded.tolist(), loaded)
    if isinstance(recorded, int) and not isinstance(recorded, bool):
        return bool(recorded == loaded and not isinstance(loaded, bool)) or str(recorded) == loaded
    one, other = np.asarray(recorded), np.asarray(loaded)
    if one.dtype.kind not in "biuf":
        return bool(recorded == loaded) and type(recorded) is type(loaded)
    exact = one.astype(other.dtype.newbyteorder("="))
    return exact.tobytes() == other.astype(exact.dtype).tobytes() and one.shape == other.shape


@pytest.mark.parametrize("space", [each for each in SAMPLE_SPACES if each.id != "box-longdouble"])
def test_what_is_read_is_what_was_recorded(space: Any, tmp_path: Path) -> None:
    """Values of every kind of space are equal to the bit, with their dtypes and shapes, of the last row too."""
    space.seed(1)
    observations = [space.sample() for _ in range(4)]
    recorded = episode(observations)
    parquet_format.write(tmp_path, {"env_id": "x"}, surveyed(recorded), [recorded])
    table = pq.read_table(tmp_path / "steps.parquet")
    assert table["step"].to_pylist() == [0, 1, 2, 3]
    if "observation" not in table.column_names:
        assert is_nothing(observations[0])
        return
    is_packed = table.schema.field("observation").metadata is not None
    for value, cell in zip(observations, table["observation"], strict=True):
        assert is_equal(value, read(cell, is_packed)), (value, cell)
    for value, cell in zip(observations[:-1], list(table["action"])[:-1], strict=True):
        assert is_equal(value, read(cell, is_packed))
    assert table["action"][3].as_py() is None


NUMBERS = st.integers(-(2**70), 2**70) | st.floats() | st.booleans() | st.none() | st.text(st.characters(codec="utf-8"))
SCALARS = st.builds(np.float32, st.floats(width=32)) | st.builds(np.int8, st.integers(-128, 127))
ARRAYS = st.builds(
    lambda dtype, shape: np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape),
    st.sampled_from(["f2", ">f4", "f8", "u1", "b1", "i8", "longdouble"]),
    st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple),
)
VALUES = st.recursive(
    NUMBERS | SCALARS | ARRAYS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.lists(VALUES, min_size=1, max_size=4))
@example([np.zeros((1, 2), ">f4"), np.ones((2,), ">f4")])
@example([np.zeros((0,), ">f4")])
@settings(max_examples=60)
def test_a_column_holds_any_values(values: list[Any]) -> None:
    """Those of one form and of several; only integers that would be rounded beside fractions are refused."""
    form: Form = Nothing()
    for value in values:
        form = merged(form, form_of(value))
    field = arrow_field("x", form)
    if field is None:
        assert all(map(is_nothing, values))
        return
    try:
        table = pa.table([arrow_array(form, values)], schema=pa.schema([field]))
    except ExportError:
        return
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    is_packed = field.metadata is not None
    for value, cell in zip(values, pq.read_table(sink.getvalue())["x"], strict=True):
        assert is_equal(value, read(cell, is_packed)), (form, value, cell)


def test_an_integer_that_would_be_rounded_is_refused() -> None:
    """A column with fractions has no equal of it; alone it has one."""
    several = [np.zeros((1, 1)), np.array([2**53 + 1])]
    for values in ([0.5, 2**53 + 1], [np.zeros(1), np.array([2**53 + 1])], several):
        with pytest.raises(ExportError, match=r"9007199254740993 .* rounded"):
            arrow_array(merged(*map(form_of, values)), values)
    assert arrow_array(form_of(2**53 + 1), [2**53 + 1])[0].as_py() == 2**53 + 1


def test_infos_of_every_type_are_kept(tmp_path: Path) -> None:
    """Infos whose keys come and go have nulls, and values without a column are MessagePack."""
    infos = [{}, told(1), {"int": 5}]
    recorded = episode([0, 1, 2], infos=infos)
    parquet_format.write(tmp_path, {}, surveyed(recorded), [recorded])
    column = pq.read_table(tmp_path / "steps.parquet")["info"]
    kept = read(column[1], is_packed=False)
    assert is_equal(told(1), kept)
    assert kept.keys() == told(1).keys() - {"none"}
    assert column[2]["int"].as_py() == 5
    assert column[0]["int"].as_py() is None


def test_episodes_have_a_row_each(tmp_path: Path) -> None:
    """With lane, seed (a wide one as text), options, steps and whether it ended; metadata says what the environment is."""
    episodes = [
        episode([0, 1], seed=5, options={"level": 2}),
        episode([0, 1, 2], number=1, seed=None, is_complete=False),
        episode([0, 1], number=2, seed=2**100),
    ]
    parquet_format.write(tmp_path, {"env_id": "x"}, surveyed(*episodes), episodes)
    table = pq.read_table(tmp_path / "episodes.parquet")
    assert table["seed"].to_pylist() == [5, None, None]
    assert table["wide_seed"].to_pylist() == [None, None, str(2**100)]
    assert table["steps"].to_pylist() == [1, 2, 1]
    assert table["is_complete"].to_pylist() == [True, False, True]
    assert table["options"].to_pylist() == [{"level": 2}, None, None]
    assert json.loads(table.schema.metadata[b"gym_http_server"]) == {"env_id": "x"}
    assert json.loads((tmp_path / "metadata.json").read_text()) == {"env_id": "x"}
    assert pq.read_table(tmp_path / "steps.parquet")["episode"].to_pylist() == [0, 0, 1, 1, 1, 2, 2]


def test_rows_are_written_in_groups_of_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits to be written is bounded in bytes, and all of it is written."""
    monkeypatch.setattr(arrow, "_GROUP_BYTES", 64_000)
    form = form_of(np.zeros(1000, np.uint8))
    with TableFile(tmp_path / "x.parquet", {"x": form, "n": Number(np.dtype(np.int64))}) as file:
        for number in range(150):
            file.add({"x": [np.full(1000, number, np.uint8)], "n": [number]})
            assert len(file._rows["x"]) < 64
    written = pq.ParquetFile(tmp_path / "x.parquet")
    assert written.num_row_groups == 3
    assert written.read(["n"])["n"].to_pylist() == list(range(150))
