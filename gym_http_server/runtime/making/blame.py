"""Exceptions of environments as errors of this package: raised by a constructor, or during a call."""

from __future__ import annotations

import contextlib
import linecache
import re
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ...errors import (
    EnvironmentCreationError,
    EnvironmentRaisedError,
    EnvironmentResultError,
    GymHttpServerError,
    RuntimeDefectError,
)
from .dependencies import is_missing_dependency, known_message, missing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

OWN_PREFIX: Final = "gym_http_server."
CALLERS: Final = frozenset({"_frame", "_frames", "step", "reset", "render"})
"""Functions of this package that only call the environment: an exception raised in them is the environment's."""

ADAPTERS: Final = frozenset(
    f"gym_http_server.runtime.{module}"
    for module in ("guests.link", "making.gym_compat", "making.sources.old_interface")
)
FAILED_UNPACK: Final = re.compile(r"(not enough|too many) values to unpack|cannot unpack|truth value")

READS_RESULTS: Final = frozenset({"reset", "step", "render", "transitions"})
"""Operations in which this package only calls the environment and reads its result."""

LIBRARY: Final = re.compile(r"(gymnasium|gym)(\.envs\.registration|\.(?!envs\.)|$)")
"""Modules of the libraries that only call entry points."""

MISSES_ARGUMENT: Final = re.compile(r"missing \d+ required (positional|keyword-only) argument")
IS_PLAIN_VALUE: Final = re.compile(r"'(str|list|dict|int|float|bool)' object (has no attribute|is not callable)")
"""Errors of constructors that want an argument of a kind that JSON has not."""

MAX_LINE_LENGTH: Final = 200
"""Characters of a source line in an error."""


def blame(error: BaseException, operation: str) -> GymHttpServerError:
    """Return the error for an exception raised during a call: the place where it was raised shows whose fault it is.

    Args:
        error: the exception, caught in a context manager around the call.
        operation: the operation that was called.
    """
    what = f"{type(error).__name__}: {error}"
    # The first frame is the context manager's, the second contains the call.
    frames = [
        (str(frame.f_globals.get("__name__")), frame.f_code.co_name)
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    module, function = frames[-1]
    is_ours = module.startswith(OWN_PREFIX) and module not in ADAPTERS
    is_caller = len(set(frames)) <= 2 or function in CALLERS
    if not is_ours or (is_caller and not FAILED_UNPACK.search(str(error))):
        return EnvironmentRaisedError(f"the environment raised {type(error).__name__} during {operation}: {error}")
    if operation in READS_RESULTS:
        return EnvironmentResultError(f"what the environment's {operation} returned cannot be served: {what}")
    return RuntimeDefectError.of(operation, what)


@contextlib.contextmanager
def constructing(env_id: str, kwargs: Collection[str] = ()) -> Iterator[None]:
    """Turn an exception of a constructor into an error of this package with the same text, and where it was raised.

    Args:
        env_id: the id that is made.
        kwargs: names of the keyword arguments that the client gave.
    """
    try:
        yield
    except GymHttpServerError:
        raise
    except (Exception, SystemExit) as error:
        if is_missing_dependency(error) or known_message(error) is not None:
            raise missing(env_id, error) from error
        what = f"{env_id} could not be made: {type(error).__name__}: {error}{place_of(error)}"
        if MISSES_ARGUMENT.search(str(error)) or (kwargs and IS_PLAIN_VALUE.search(str(error))):
            what += (
                "; kwargs have what JSON has: for anything else (a DataFrame, a callable) the server is to be started with "
                "--env ID=MODULE:CALLABLE, which names a function that makes the environment"
            )
        raise EnvironmentCreationError(what) from error


def place_of(error: BaseException) -> str:
    """Return where an exception left the environment's own code, without paths: ` (my_envs.py, line 3: assert x)`.

    That is the last frame of the package whose frame comes first after those of this package and of the libraries. Empty if
    there is none, because a call itself failed, such as one without a required argument.
    """
    frames: list[tuple[str, str, int]] = []
    cause: BaseException | None = error
    while cause is not None and not frames:
        frames = [
            (str(frame.f_globals.get("__name__")), frame.f_code.co_filename, line)
            for frame, line in traceback.walk_tb(cause.__traceback__)
        ]
        frames = [frame for frame in frames if not (frame[0].startswith(OWN_PREFIX) or LIBRARY.match(frame[0]))]
        frames = [frame for frame in frames if frame[0].partition(".")[0] not in sys.stdlib_module_names]
        cause = cause.__cause__  # Gymnasium's `make` raises a TypeError again
    if not frames:
        return ""
    package = frames[0][0].partition(".")[0]
    module, file, line = next(frame for frame in reversed(frames) if frame[0].partition(".")[0] == package)
    folders = module.split(".")
    if Path(file).stem != "__init__":
        del folders[-1]
    name = "/".join((*folders, Path(file).name))
    return f" ({name}, line {line}: {linecache.getline(file, line).strip()[:MAX_LINE_LENGTH]})"
