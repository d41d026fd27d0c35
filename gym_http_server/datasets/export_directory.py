"""`ExportDirectory`: a new directory that exists only as a whole."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any, Final, Self

from ..errors import ExportError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

MARK: Final = ".gym-http-server-export.json"
"""Written into each export, so that `--force` never removes anything else."""


class ExportDirectory:
    """The directory of an export: written beside under a hidden name, and renamed when it is complete.

    Args:
        path: what it is to be called.
        force: whether to replace an earlier export of that name.
        facts: what its mark says: the format, the recording, the version.

    Attributes:
        path: its name in the end.
        part: where to write it.

    Raises:
        ExportError: the path exists and may not be replaced, or cannot be written to.
    """

    def __init__(self, path: Path, *, force: bool, facts: dict[str, Any]) -> None:
        self.path = path.absolute()
        self.part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        self._facts = facts
        if self.path.exists() or self.path.is_symlink():
            if not force:
                raise ExportError(
                    f"{path} exists already: name another --output, or replace an earlier export by --force"
                )
            if not (self.path / MARK).is_file():
                raise ExportError(f"{path} is no earlier export, so --force does not replace it: name another --output")

    def __enter__(self) -> Self:
        try:
            self.part.mkdir(parents=True)
        except OSError as error:
            raise ExportError(f"cannot write to {self.part.parent}: {error.strerror}; name another --output") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            shutil.rmtree(self.part, ignore_errors=True)
            if isinstance(error, OSError):
                raise ExportError(f"cannot write {self.path}: {error}") from error
            return
        (self.part / MARK).write_text(json.dumps(self._facts, indent=2) + "\n", encoding="utf-8")
        earlier = self.part.with_name(f"{self.part.name}.earlier")
        if self.path.exists():
            self.path.rename(earlier)
        self.part.rename(self.path)
        shutil.rmtree(earlier, ignore_errors=True)
