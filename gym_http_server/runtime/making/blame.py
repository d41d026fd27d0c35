"""Exceptions of environments as errors of this package: raised by a constructor, or during a call."""

from __future__ import annotations

import contextlib
import re
import traceback
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
    from collections.abc import Iterator

OWN_PREFIX: Final = "gym_http_server."
CALLERS: Final = frozenset({"_frame", "_frames", "step", "reset", "render"})
"""Functions of this package that only call the environment: an exception raised in them is the environment's."""

ADAPTERS: Final = frozenset(
    f"gym_http_server.runtime.{module}" for module in ("guests.link", "making.gym_compat", "making.sources.old_interface")
)
FAILED_UNPACK: Final = re.compile(r"(not enough|too many) values to unpack|cannot unpack|truth value")

READS_RESULTS: Final = frozenset({"reset", "step", "render", "transitions"})
"""Operations in which this package only calls the environment and reads its result."""


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
def constructing(env_id: str) -> Iterator[None]:
    """Turn an exception of a constructor into an error of this package with the same text."""
    try:
        yield
    except GymHttpServerError:
        raise
    except Exception as error:
        if is_missing_dependency(error) or known_message(error) is not None:
            raise missing(env_id, error) from error
        raise EnvironmentCreationError(f"{env_id} could not be made: {type(error).__name__}: {error}") from error
    except SystemExit as error:
        raise EnvironmentCreationError(f"{env_id} could not be made: SystemExit: {error}") from error
