"""Opening an environment or a batch, by the request."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ...errors import EnvironmentCreationError, InvalidValueError, MissingDependencyError
from .batch import Batch
from .environment import Environment

if TYPE_CHECKING:
    from ..messages import CreateRequest
    from ..shared.usage import Usage
    from .base import Served

logger = logging.getLogger(__name__)


def open_served(request: CreateRequest, *, may_fork: bool = True, usage: Usage | None = None) -> Served:
    """Make an environment or a batch.

    Args:
        request: the request to make it.
        may_fork: this process serves only this instance, so that it may have child processes.
        usage: its counters in shared memory; None for private memory.

    Raises:
        UsageError: the request is invalid.
    """
    try:
        return _open(request, may_fork=may_fork, usage=usage)
    except MissingDependencyError:
        raise
    except EnvironmentCreationError as error:
        logger.error("%s", error.detail, exc_info=error.__cause__)  # noqa: TRY400 -- the constructor's own traceback
        raise


def _open(request: CreateRequest, *, may_fork: bool, usage: Usage | None) -> Served:
    if request.num_envs is not None:
        if request.autoreset:
            raise InvalidValueError(
                "autoreset is for a single environment: ask for an autoreset_mode with num_envs, such as 'next_step'"
            )
        return Batch(request, may_fork=may_fork, usage=usage)
    for name, given in (
        ("vectorization_mode", request.vectorization_mode != "auto"),
        ("autoreset_mode", request.autoreset_mode is not None),
    ):
        if given:
            instead = " (a single environment has autoreset: true)" if name == "autoreset_mode" else ""
            raise InvalidValueError(f"{name} is for a batch: give num_envs as well, or leave {name} out{instead}")
    return Environment(request, owns_process=may_fork, usage=usage)
