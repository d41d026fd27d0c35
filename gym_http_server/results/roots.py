"""`Roots`: the directories that may contain recordings, and the resolution of client paths below them.

Whoever reaches the server may name a directory, so what is outside the roots must not be read, written or uploaded. Links
are followed before it is decided. Who can make links below a root while a request is under way is trusted: environments,
and the users of the machine.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from ..errors import ForbiddenDirectoryError, InvalidValueError, ResultsRootError
from ..support.surroundings import working_directory

LONGEST_PATH: Final = 8192
"""Characters of a path. Linux takes 4096, but there may be more before its `..` and double slashes are resolved."""


class Roots:
    """The results roots.

    Args:
        results_root: directories, which need not exist; where none is given, the working directory, the system's
            temporary directory and, where there is one, `/tmp`, which clients of the v1 contract name.

    Attributes:
        paths: them, absolute and without links.

    Raises:
        ResultsRootError: one of them is something else than a directory.
    """

    def __init__(self, results_root: tuple[str, ...] = ()) -> None:
        for each in results_root:
            if not Path(each).is_dir() and Path(each).exists():
                raise ResultsRootError(f"--results-root {each} is no directory: name one, which need not exist yet")
        self.paths: tuple[Path, ...] = tuple(dict.fromkeys(Path(each).resolve() for each in results_root or _usual()))

    def resolve(self, directory: str) -> Path:
        """Return the absolute path, without links, of a directory or file that need not exist.

        Args:
            directory: as the client named it; a relative one is under the first root.

        Raises:
            ForbiddenDirectoryError: it is outside the roots, be it by `..`, by a link or as it stands.
            InvalidValueError: no directory can have that name.
        """
        if not directory:
            raise InvalidValueError("a directory must have a name, and this one is empty")
        if len(directory) > LONGEST_PATH:  # to resolve one of megabytes takes hours
            raise _impossible(directory, ValueError(f"it has more than {LONGEST_PATH} characters"))
        try:
            path = (self.paths[0] / directory).resolve()
            os.fsencode(path)
        except (ValueError, OSError, RuntimeError) as error:  # NUL or half a character; too long; links in a circle
            raise _impossible(directory, error) from None
        self.check(path, directory)
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            # It is for whoever reads or writes it to find out.
            pass
        except OSError as error:
            raise _impossible(directory, error) from None
        return path

    def check(self, path: Path, named: str) -> None:
        """Refuse a path outside the roots.

        Args:
            path: absolute, without links.
            named: what to call it.

        Raises:
            ForbiddenDirectoryError: it is outside.
        """
        if not any(path.is_relative_to(root) for root in self.paths):
            raise ForbiddenDirectoryError(
                f"directory {_shortened(named)} is outside the results roots {_listed(self.paths)}: choose one inside, "
                "or start the server with --results-root",
                roots=[str(root) for root in self.paths],
            )


def _usual() -> tuple[str, ...]:
    # The temporary directory can be elsewhere (TMPDIR, macOS), and old clients say /tmp all the same.
    usual = [working_directory(), _temporary_directory(), "/tmp" if Path("/tmp").is_dir() else None]  # noqa: S108 -- see above
    # Where there is none of them, nothing can be recorded, and all else is served.
    return tuple(each for each in usual if each is not None) or (os.sep,)


def _temporary_directory() -> str | None:
    try:
        return tempfile.gettempdir()
    except OSError:  # none is writable
        return None


def _impossible(directory: str, error: Exception) -> InvalidValueError:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return InvalidValueError(f"no directory can be called {_shortened(directory)}: {why}")


def _shortened(text: str) -> str:
    text = text[:201]
    shown = ascii(text) if any("\ud800" <= each <= "\udfff" for each in text) else repr(text)
    return shown if len(shown) <= 200 else shown[:200] + "…"


def _listed(paths: tuple[Path, ...]) -> str:
    *most, last = map(str, paths)
    return f"{', '.join(most)} and {last}" if most else last
