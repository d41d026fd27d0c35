"""The environment that a mistyped id means: the id most like it among those that can be made here."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final

from gymnasium.envs.registration import load_env_creator

from ..messages import CreateRequest
from .found import LONGEST_ID, OWN

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION: Final = re.compile(r"[-_ ]*v?\d*$", re.IGNORECASE)
"""The end of an id that names its version, also a mistyped one."""

SIMILARITY: Final = 0.75
"""How alike two names are, from 0 to 1, before one is taken for the other."""

MAX_TRIED: Final = 3
"""How many environments are tried to be made; each takes a fraction of a second."""


def nearest(request: CreateRequest, libraries: tuple[str, ...]) -> str | None:
    """Return the id that a mistyped one means, or None where none that can be made here is like it.

    Args:
        request: has an id that no library registers.
        libraries: where the request is looked up, `gymnasium` or `gym`, the first one first.
    """
    for env_id, library in _like(request.env_id, libraries):
        if _can_be_made(CreateRequest(env_id, library=library, strict_env_ids=True, imports=request.imports)):
            return env_id
    return None


def _like(env_id: str, libraries: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    from .ids import registrations

    # The newest version of each name, of the library that is asked first where both have the name.
    newest: dict[str, tuple[int, str, str]] = {}
    for library in reversed(libraries):
        for specification in registrations(library).values():
            version = -1 if specification.version is None else specification.version
            name = _name(specification.id)
            if name not in newest or newest[name][2] != library or newest[name][0] < version:
                newest[name] = version, specification.id, library
    for name in difflib.get_close_matches(_name(env_id), newest, MAX_TRIED, SIMILARITY):
        yield newest[name][1:]


def _name(env_id: str) -> str:
    return VERSION.sub("", env_id[:LONGEST_ID].strip()).lower()


def _can_be_made(request: CreateRequest) -> bool:
    from .construct import quiet
    from .ids import find
    from .library import make

    try:
        entry_point = find(request).specification.entry_point
        module = entry_point.partition(":")[0] if isinstance(entry_point, str) else entry_point.__module__
        if f"{module}.".startswith(OWN):
            make(request).environment.close()
        elif isinstance(entry_point, str):
            # Another package's may open a window or drive a robot as it is made.
            with quiet():
                load_env_creator(entry_point)
    except (Exception, SystemExit):  # noqa: BLE001 -- whatever it is, this one cannot be made
        return False
    return True
