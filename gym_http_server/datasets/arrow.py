"""Arrow arrays of the values of a form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import msgpack
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import ExportError
from .forms import MAX_EXACT_INTEGER, Form, Items, Mixed, Number, Record, Tensor, Words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_WIDE_BYTES: Final = 8
_TEXT_BYTES: Final = 64
_GROUP_BYTES: Final = 1 << 25
_GROUP_ROWS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Listed:
    """Arrays of one shape, as nested lists: what Hugging Face's `datasets` takes for arrays."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]


Column: TypeAlias = Form | Listed

PACKED = {"encoding": "msgpack"}
"""Metadata of a field of values that have no column of their own: each is MessagePack, with arrays as the contract has them."""


def arrow_type(form: Column) -> pa.DataType | None:
    """Return the type of a column, or None if there is nothing to keep in it."""
    match form:
        case Number(dtype):
            return pa.from_numpy_dtype(dtype)
        case Words():
            return pa.string()
        case Mixed():
            return pa.binary()
        case Tensor(dtype, shape):
            item = pa.from_numpy_dtype(dtype)
            if shape is None or 0 in shape:
                return pa.struct([("shape", pa.list_(pa.int64())), ("data", pa.list_(item))])
            return pa.fixed_shape_tensor(item, shape)
        case Listed(dtype, shape):
            kind = pa.from_numpy_dtype(dtype)
            for _ in shape[1:]:
                kind = pa.list_(kind)
            return pa.list_(kind, shape[0]) if len(shape) == 1 else pa.list_(kind)
        case Items(item):
            return pa.list_(arrow_field("item", item) or pa.null())
        case Record(fields):
            parts = [arrow_field(name, part) for name, part in fields.items()]
            kept_parts = [part for part in parts if part is not None]
            return pa.struct(kept_parts) if kept_parts else None
    return None


def arrow_field(name: str, form: Column) -> pa.Field | None:
    """Return the field of a column, or None if there is nothing to keep in it."""
    kept = arrow_type(form)
    return None if kept is None else pa.field(name, kept, metadata=PACKED if isinstance(form, Mixed) else None)


def arrow_array(form: Column, values: Sequence[Any]) -> pa.Array:
    """Return the values of a form, of which some may be None, as an array of `arrow_type`.

    Raises:
        ExportError: an integer has no equal in the column, which also has fractions.
    """
    match form:
        case Number(dtype):
            return _numbers(values, dtype)
        case Tensor():
            return _tensors(form, values)
        case Listed(dtype):
            return _nested(np.stack(values, dtype=dtype))
        case Mixed():
            return pa.array([None if value is None else _packed(value) for value in values], pa.binary())
        case Record():
            return _records(form, values)
        case Items(item):
            rows = [value or [] for value in values]
            offsets = np.cumsum([0, *map(len, rows)])
            flat = [each for row in rows for each in row]
            parts = pa.nulls(len(flat)) if arrow_type(item) is None else arrow_array(item, flat)
            return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), parts, mask=_mask(values))
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _packed(value: Any) -> bytes:
    try:
        packed: bytes = msgpack.packb(value, default=_packed_other)
    except (TypeError, ValueError, OverflowError) as error:
        raise ExportError(f"a value has no form in MessagePack: {error}") from None
    return packed


def _packed_other(value: Any) -> Any:
    if isinstance(value, int):  # of more than 64 bits
        return str(value)
    if isinstance(value, complex):
        return [value.real, value.imag]
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind in "OUSMm":
            return value.astype(str).tolist() if value.dtype.kind in "Mm" else value.tolist()
        if isinstance(value, np.ndarray) or value.dtype.kind == "c" or value.dtype.itemsize > _WIDE_BYTES:
            return {"dtype": value.dtype.str, "shape": list(value.shape), "data": value.tobytes()}
        return value.item()
    raise TypeError(f"it is of type {type(value).__name__}")


def _mask(values: Sequence[Any]) -> pa.Array | None:
    """Return which values are missing; None if none is."""
    missing = [value is None for value in values]
    return pa.array(missing, pa.bool_()) if any(missing) else None


def _numbers(values: Sequence[Any], dtype: np.dtype[Any]) -> pa.Array:
    filled = [0 if value is None else value for value in values]
    if dtype.kind == "f":
        _refuse_rounding(filled)
    numbers = np.array(filled, dtype)
    mask = np.array([value is None for value in values], np.bool_)
    return pa.array(numbers, pa.from_numpy_dtype(dtype), mask=mask if mask.any() else None)


def _refuse_rounding(numbers: Sequence[Any]) -> None:
    for each in numbers:
        if isinstance(each, int | np.integer) and abs(int(each)) > MAX_EXACT_INTEGER:
            raise ExportError(f"{each} stands in a column with fractions, where it would be rounded")


def _tensors(form: Tensor, values: Sequence[Any]) -> pa.Array:
    kind = arrow_type(form)
    item = pa.from_numpy_dtype(form.dtype)
    if form.dtype.kind == "f":
        for each in values:
            if each is not None and each.dtype.kind in "iu" and each.dtype.itemsize == _WIDE_BYTES:
                _refuse_rounding(each.ravel().tolist())
    if form.shape is None or 0 in form.shape:
        # In the byte order of this machine, which Arrow asks for.
        rows = [
            None
            if value is None
            else {"shape": list(value.shape), "data": value.ravel().astype(form.dtype, copy=False)}
            for value in values
        ]
        return pa.array(rows, kind)
    zeros = np.zeros(form.shape, form.dtype)
    filled = [zeros if value is None else value for value in values]
    flat = pa.array(np.stack(filled, dtype=form.dtype).ravel(), item)
    width = int(np.prod(form.shape))
    storage = pa.FixedSizeListArray.from_arrays(flat, width, mask=_mask(values))
    return pa.ExtensionArray.from_storage(kind, storage)


def _nested(rows: np.ndarray[Any, Any]) -> pa.Array:
    array = pa.array(rows.ravel())
    *outer, inner = rows.shape
    if len(outer) == 1:
        return pa.FixedSizeListArray.from_arrays(array, inner)
    for at in range(len(outer), 0, -1):
        count = int(np.prod(rows.shape[:at]))
        array = pa.ListArray.from_arrays(pa.array(np.arange(count + 1) * rows.shape[at], pa.int32()), array)
    return array


def _records(form: Record, values: Sequence[Any]) -> pa.Array:
    kept = list(arrow_type(form) or ())
    rows: list[dict[str, Any]] = [_fields_of(value) for value in values]
    parts = [arrow_array(form.fields[part.name], [row.get(part.name) for row in rows]) for part in kept]
    return pa.StructArray.from_arrays(parts, fields=kept, mask=_mask(values))


def _fields_of(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    pairs = enumerate(value) if isinstance(value, tuple) else value.items()
    return {str(key): item for key, item in pairs}


class TableFile:
    """Writes a Parquet file of columns with these forms, row group by row group; a context manager.

    Args:
        path: the file.
        forms: by name of the column; those with nothing to keep are left out.
        metadata: of the schema.
        compression: of the columns.

    Attributes:
        path: the file.
    """

    def __init__(
        self, path: Path, forms: Mapping[str, Column], metadata: dict[str, str] | None = None, compression: str = "zstd"
    ) -> None:
        self.path = path
        fields = {name: arrow_field(name, form) for name, form in forms.items()}
        self._forms = {name: form for name, form in forms.items() if fields[name] is not None}
        self._schema = pa.schema([fields[name] for name in self._forms], metadata=metadata)
        self._rows: dict[str, list[Any]] = {name: [] for name in self._forms}
        row_bytes = sum(map(byte_size, self._forms.values()))
        self._group_rows = max(1, min(_GROUP_ROWS, _GROUP_BYTES // max(1, row_bytes)))
        self._writer = pq.ParquetWriter(path, self._schema, compression=compression)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._writer.close()
        else:
            self.close()

    def close(self) -> None:
        """Write the rest, and finish the file."""
        self._write(1)
        self._writer.close()

    def add(self, columns: dict[str, list[Any]]) -> None:
        """Append rows."""
        for name, column in self._rows.items():
            column += columns[name]
        self._write(self._group_rows)

    def _write(self, least: int) -> None:
        while (count := len(next(iter(self._rows.values()), ()))) and count >= least:
            group = {name: column[: self._group_rows] for name, column in self._rows.items()}
            arrays = [arrow_array(self._forms[name], column) for name, column in group.items()]
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
            for column in self._rows.values():
                del column[: self._group_rows]


def byte_size(form: Column) -> int:
    """Return about how many bytes a value takes."""
    match form:
        case Number(dtype):
            return dtype.itemsize
        case Tensor(dtype, shape) | Listed(dtype, shape):
            return dtype.itemsize * int(np.prod(shape or (_TEXT_BYTES,)))
        case Record(fields):
            return sum(map(byte_size, fields.values()))
    return _TEXT_BYTES
