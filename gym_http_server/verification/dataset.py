"""`parquet_archive`: recorded trajectories as a dataset in Parquet, in a ZIP archive."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import tempfile
import weakref
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MissingDependencyError, NoTrajectoriesError
from ..results.archive import zip_parts
from ..runtime.making.dependencies import REQUIREMENTS, package_of, pip_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .source import Source

PACKAGE = "pyarrow"


def missing_package() -> str | None:
    """Return the command that installs what a dataset needs; None if it is there."""
    if importlib.util.find_spec(PACKAGE) is not None:
        return None
    return pip_command(REQUIREMENTS[PACKAGE], python=sys.executable)


def parquet_archive(source: Source) -> Iterator[bytes]:
    """Write the dataset, and return the parts of its archive.

    The files are unlinked before the first part is sent, so none is left whatever becomes of the reply or the server.

    Raises:
        NoTrajectoriesError: there are none, or only actions.
        MissingDependencyError: a package is missing.
        ExportError: a value has no place in a table.
        GymHttpServerError: as `Source.opened`.
    """
    if (command := missing_package()) is not None:
        package = package_of(REQUIREMENTS[PACKAGE])
        raise MissingDependencyError(f"a dataset needs {PACKAGE}, which is not installed: {command}", package=package)
    with (
        source.opened() as recorded,
        tempfile.TemporaryDirectory(prefix="gym-http-server-") as name,
    ):
        if recorded.kept != "full":
            raise NoTrajectoriesError(
                f"{source.words} has actions without observations: download its files, and repeat them with "
                "gym-http-server export",
                **source.facts,
            )
        # Not at the top: they import pyarrow.
        from ..datasets import parquet_format
        from ..datasets.survey import Survey

        survey = Survey()
        directory = Path(name)
        for episode in recorded:
            survey.add(episode)
        parquet_format.write(directory, parquet_format.description_of(recorded), survey, recorded)
        with contextlib.ExitStack() as opened:
            files = {path.name: opened.enter_context(path.open("rb")) for path in sorted(directory.iterdir())}
            closing = opened.pop_all()
        sizes = [(path.name, path.stat().st_size) for path in sorted(directory.iterdir())]

    def read(name: str, start: int, length: int) -> bytes:
        files[name].seek(start)
        return files[name].read(length)

    made_at = datetime.now(UTC) if source.evaluation is None else source.evaluation.created_at
    parts = zip_parts(sizes, read, made_at.timetuple()[:6])
    # Not by a context manager around the reading: no part of a reply that is never sent is read.
    weakref.finalize(parts, closing.close)
    return parts
