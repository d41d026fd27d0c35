"""`Roots`: the directories that may contain recordings, and the resolution of client paths below them.

Any client may name a directory, so nothing outside the roots is read, written or uploaded. Links are resolved before the
check. Environments and users of the machine, who can make links below a root during a request, are trusted.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from ..errors import ForbiddenDirectoryError, InvalidValueError, ResultsRootError
from ..support.files import reason
from ..support.surroundings import working_directory

MAX_PATH_CHARACTERS: Final = 8192
"""Characters of one path. Linux takes 4096, but `..` and double slashes may make it longer before it is resolved."""


class Roots:
    """The results roots.

    Args:
        results_root: directories, which need not exist; empty for the working directory, the system's temporary directory
            and, if it exists, `/tmp`, which clients of the v1 contract name.

    Attributes:
        paths: their absolute paths without links.

    Raises:
        ResultsRootError: one of them exists and is not a directory.
    """

    def __init__(self, results_root: tuple[str, ...] = ()) -> None:
        for root in results_root:
            if not Path(root).is_dir() and Path(root).exists():
                raise ResultsRootError(f"--results-root {root} is no directory: name one, which need not exist yet")
        self.paths: tuple[Path, ...] = tuple(
            dict.fromkeys(Path(root).resolve() for root in results_root or _defaults())
        )

    def resolve(self, directory: str) -> Path:
        """Return the absolute path, without links, of a directory or file that need not exist.

        Args:
            directory: the client's path; a relative one is resolved under the first root.

        Raises:
            ForbiddenDirectoryError: it is outside the roots.
            InvalidValueError: no directory can have that name.
        """
        if not directory:
            raise InvalidValueError("a directory must have a name, and this one is empty")
        if len(directory) > MAX_PATH_CHARACTERS:  # resolving megabytes would take hours
            raise _impossible(directory, ValueError(f"it has more than {MAX_PATH_CHARACTERS} characters"))
        try:
            path = (self.paths[0] / directory).resolve()
            os.fsencode(path)
        except (ValueError, OSError, RuntimeError) as error:  # NUL, lone surrogate, too long, link loop
            raise _impossible(directory, error) from None
        self.check(path, directory)
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            pass  # the read or write reports it
        except OSError as error:
            raise _impossible(directory, error) from None
        return path

    def check(self, path: Path, named: str) -> None:
        """Check an absolute path without links.

        Args:
            path: the path.
            named: its name in the error.

        Raises:
            ForbiddenDirectoryError: it is outside the roots.
        """
        if not any(path.is_relative_to(root) for root in self.paths):
            raise ForbiddenDirectoryError(
                f"directory {_shortened(named)} is outside the results roots {_listed(self.paths)}: choose one inside, "
                "or start the server with --results-root",
                roots=[str(root) for root in self.paths],
            )


def _defaults() -> tuple[str, ...]:
    # The temporary directory may be another than /tmp (TMPDIR, macOS), which old clients name.
    paths = [working_directory(), _temporary_directory(), "/tmp" if Path("/tmp").is_dir() else None]  # noqa: S108 -- see above
    # A server without any of them records nothing and serves the rest.
    return tuple(path for path in paths if path is not None) or (os.sep,)


def _temporary_directory() -> str | None:
    try:
        return tempfile.gettempdir()
    except OSError:  # none is writable
        return None


def _impossible(directory: str, error: Exception) -> InvalidValueError:
    return InvalidValueError(f"no directory can be called {_shortened(directory)}: {reason(error)}")


def _shortened(text: str) -> str:
    text = text[:201]
    shown = ascii(text) if any("\ud800" <= character <= "\udfff" for character in text) else repr(text)
    return shown if len(shown) <= 200 else shown[:200] + "…"


def _listed(paths: tuple[Path, ...]) -> str:
    *others, last = map(str, paths)
    return f"{', '.join(others)} and {last}" if others else last
