"""What the libraries of an interpreter register, asked of a guest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...errors import EnvironmentCreationError, EnvironmentDiedError, InquiryFailedError
from .link import GuestLink
from .wire import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..messages import Interpreter

MEMBERS: Final = frozenset(
    (
        "id",
        "library",
        "installed",
        "reason",
        "max_episode_steps",
        "reward_threshold",
        "vector_entry_point",
        "render_modes",
    )
)


def list_registered(
    interpreter: Interpreter, seconds: float = 60.0, variables: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return the registered environments of an interpreter: `MEMBERS` of each, whose values the caller checks.

    Args:
        interpreter: the interpreter.
        seconds: time limit of each wait for it.
        variables: environment variables for it; None for those of this process.

    Raises:
        InquiryFailedError: it cannot be started, raised, hung or died.
    """
    try:
        link = GuestLink(interpreter, variables=variables, seconds=seconds)
        try:
            found = link.call(REGISTRY, 0, None)
            if not isinstance(found, list) or not all(
                isinstance(each, dict) and each.keys() == MEMBERS for each in found
            ):
                raise link.malformed("a registry")
        finally:
            link.close()
    except (EnvironmentCreationError, EnvironmentDiedError) as error:
        raise InquiryFailedError(
            f"interpreter {interpreter.name!r} cannot be asked what its libraries register: {error.detail}"
        ) from None
    except Exception as error:
        raise InquiryFailedError(
            f"interpreter {interpreter.name!r} cannot be asked what its libraries register: {type(error).__name__}: {error}"
        ) from error
    return found
