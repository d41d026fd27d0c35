"""Actions that are no members of their space and are taken all the same, because Gymnasium leaves them to the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gymnasium.spaces import Dict, OneOf, Sequence, Space, Text, Tuple

if TYPE_CHECKING:
    from collections.abc import Callable

STRICT: Final = "strict"
LENIENT: Final = "lenient"
LIBRARY: Final = "library"

ACTION_CHECKS: Final = (LENIENT, STRICT, LIBRARY)
"""What an action has to be: a member apart from the characters of its texts; a member; anything that has the space's form."""


def takes(space: Space[Any], action: Any, action_check: str) -> bool:
    """Return whether a decoded action that the compiled check refuses may go to the environment.

    The space itself is asked as well, because an environment may have changed it since the check was compiled.
    """
    if action_check == LIBRARY:
        return True
    try:
        return bool(_takes_texts(space, action) if action_check == LENIENT else space.contains(action))
    except Exception:  # noqa: BLE001 -- third-party code may raise anything
        return False


def _takes_texts(space: Space[Any], value: Any) -> bool:
    kind = next((kind for kind in _CHECKS if isinstance(space, kind)), None)
    if kind is None or type(space).contains is not kind.contains:
        return space.contains(value)
    return _CHECKS[kind](space, value)


_CHECKS: Final[dict[type[Space[Any]], Callable[[Any, Any], bool]]] = {
    # Its default characters have no space and no punctuation, which few authors of environments mean.
    Text: lambda space, value: space.min_length <= len(value) <= space.max_length,
    Dict: lambda space, value: all(_takes_texts(part, value[key]) for key, part in space.spaces.items()),
    Tuple: lambda space, value: all(map(_takes_texts, space.spaces, value)),
    OneOf: lambda space, value: _takes_texts(space.spaces[value[0]], value[1]),
    Sequence: lambda space, value: (
        all(_takes_texts(space.feature_space, each) for each in value)
        if isinstance(value, tuple)
        else space.contains(value)
    ),
}
