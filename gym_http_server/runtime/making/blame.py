"""Whose fault an exception is that came out of a call of an environment: told by where it was raised."""

from __future__ import annotations

import re
import traceback
from typing import TYPE_CHECKING, Final

from ...errors import EnvironmentRaisedError, EnvironmentResultError, RuntimeDefectError

if TYPE_CHECKING:
    from ...errors import GymHttpServerError

OWN: Final = "gym_http_server."
CALLERS: Final = frozenset({"_frame", "_frames", "step", "reset", "render"})
"""Functions of ours that call an environment and do nothing with what it returns, besides the one that blames."""

ADAPTERS: Final = frozenset({"gym_http_server.runtime.making.gym_compat"})
FAILED_UNPACK: Final = re.compile(r"(not enough|too many) values to unpack|cannot unpack|truth value")

READS_RESULTS: Final = frozenset({"reset", "step", "render", "transitions"})
"""Operations in which our code does nothing but to call the environment and to read what that returns."""


def blame(error: BaseException, operation: str) -> GymHttpServerError:
    """Return the error of ours for an exception that came out of a call of an environment.

    Args:
        error: as it was caught, in a context manager around the call.
        operation: what was called.
    """
    what = f"{type(error).__name__}: {error}"
    # The first frame is the context manager's, the second the one that has the call in it.
    frames = [
        (str(frame.f_globals.get("__name__")), frame.f_code.co_name)
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    module, function = frames[-1]
    is_ours = module.startswith(OWN) and module not in ADAPTERS
    is_caller = len(set(frames)) <= 2 or function in CALLERS
    if not is_ours or (is_caller and not FAILED_UNPACK.search(str(error))):
        return EnvironmentRaisedError(f"the environment raised {type(error).__name__} during {operation}: {error}")
    if operation in READS_RESULTS:
        return EnvironmentResultError(f"what the environment's {operation} returned cannot be served: {what}")
    return RuntimeDefectError.of(operation, what)
