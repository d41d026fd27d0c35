"""`parquet_archive`: the trajectories of an evaluation as a dataset in Parquet, in a ZIP archive."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MissingDependencyError, NoRecordingError, NoTrajectoriesError, UploadTargetError
from ..results.archive import zip_parts
from ..runtime.making.dependencies import REQUIREMENTS, package_of, pip_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..results.scoreboard import Results

PACKAGE = "pyarrow"


def missing_package() -> str | None:
    """Return the command that installs what a dataset needs; None if it is there."""
    if importlib.util.find_spec(PACKAGE) is not None:
        return None
    return pip_command(REQUIREMENTS[PACKAGE], python=sys.executable)


def parquet_archive(results: Results, evaluation_id: str) -> Iterator[bytes]:
    """Write the dataset, and return the parts of its archive.

    The files have no name any more when the first part is sent: whatever becomes of the reply or the server, none is left.

    Raises:
        UnknownEvaluationError: there is no such evaluation.
        NoTrajectoriesError: it has no trajectories, or only actions.
        MissingDependencyError: a package is missing.
        UploadTargetError: the target cannot be reached, or the trajectories are damaged.
        ExportError: a value has no place in a table.
    """
    evaluation = results.get(evaluation_id)
    if (command := missing_package()) is not None:
        package = package_of(REQUIREMENTS[PACKAGE])
        raise MissingDependencyError(f"a dataset needs {PACKAGE}, which is not installed: {command}", package=package)
    with (
        results.open_trajectories(evaluation) as recorded,
        tempfile.TemporaryDirectory(prefix="gym-http-server-") as name,
    ):
        if recorded.kept != "full":
            raise NoTrajectoriesError(
                f"evaluation {evaluation_id!r} has actions without observations: download its files, and repeat them with "
                "gym-http-server export",
                evaluation_id=evaluation_id,
            )
        # Not at the top: they import pyarrow.
        from ..datasets import parquet_format
        from ..datasets.survey import Survey

        survey = Survey()
        directory = Path(name)
        try:
            for episode in recorded:
                survey.add(episode)
            parquet_format.write(directory, parquet_format.description_of(recorded), survey, recorded)
        except NoRecordingError as error:
            raise UploadTargetError(error.detail) from None
        files = {path.name: path.open("rb") for path in sorted(directory.iterdir())}
        sizes = [(path.name, path.stat().st_size) for path in sorted(directory.iterdir())]

    def read(name: str, start: int, length: int) -> bytes:
        files[name].seek(start)
        return files[name].read(length)

    return zip_parts(sizes, read, evaluation.created_at.timetuple()[:6])
