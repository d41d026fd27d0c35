"""How a person plays an environment: its keys and the meanings of its actions, as far as it tells them.

`get_keys_to_action` is that of `gymnasium.utils.play`: a dict from keys to the action that they give together. Keys are letters or
key codes of pygame, alone or in a tuple; no key gives the action of doing nothing. `get_action_meanings` is that of the Atari
environments; others have an enumeration `actions`, as MiniGrid's do. Keys are answered by the names that browsers give them
(https://www.w3.org/TR/uievents-key/).
"""

from __future__ import annotations

import enum
import inspect
import operator
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from ...errors import GymHttpServerError
from ..values.codec import contains, encoder

MAX_KEYS: Final = 1024
MAX_TEXT_CHARS: Final = 100
MAX_DOCUMENTATION_CHARS: Final = 20_000

_ARROWS: Final = ("ArrowUp", "ArrowDown", "ArrowRight", "ArrowLeft")
_NAMES: Final = {
    **dict(zip((273, 274, 275, 276), _ARROWS, strict=True)),  # pygame 1
    **dict(zip((1073741906, 1073741905, 1073741903, 1073741904), _ARROWS, strict=True)),  # pygame 2
    8: "Backspace",
    9: "Tab",
    13: "Enter",
    27: "Escape",
}
"""Names of key codes that are no characters."""


def controls(environment: Any, space: Any) -> dict[str, Any]:
    """Return the contract's `Controls` of an environment: what it does not tell, or not in a known form, is left out.

    Args:
        environment: the environment; its wrappers are ignored, except that they may change the action space.
        space: the action space.
    """
    inner = environment.unwrapped
    encode = encoder(space)
    keys = []
    for pressed, action in _items(_told(inner, "get_keys_to_action"))[:MAX_KEYS]:
        names = _names(pressed)
        plain = encode(operator.index(action) if hasattr(action, "__index__") and np.ndim(action) == 0 else action)
        if names is not None and contains(space, plain):
            keys.append({"keys": names, "action": plain})
    meanings = [str(meaning)[:MAX_TEXT_CHARS] for meaning in _meanings(inner, space)]
    return {"keys": keys, "meanings": meanings, **_documentation(inner)}


def _meanings(environment: Any, space: Any) -> Sequence[Any]:
    count = getattr(space, "n", None)
    meanings = _told(environment, "get_action_meanings")
    actions = getattr(environment, "actions", None)
    if meanings is None and isinstance(actions, type) and issubclass(actions, enum.Enum):
        names = {each.value: each.name for each in actions}
        meanings = [names[value] for value in range(len(names)) if value in names]
    if not isinstance(meanings, Sequence) or isinstance(meanings, str) or len(meanings) != count:
        return ()
    return meanings


def _documentation(environment: Any) -> dict[str, str]:
    kind = type(environment)
    # The classes of this package stand for environments that are elsewhere.
    is_elsewhere = kind.__module__.startswith("gym_http_server.")
    text = getattr(environment, "documentation", None) if is_elsewhere else kind.__doc__
    if not isinstance(text, str):
        return {}
    return {"documentation": inspect.cleandoc(text)[:MAX_DOCUMENTATION_CHARS]}


def _told(environment: Any, method: str) -> Any:
    function = getattr(environment, method, None)
    try:
        return function() if callable(function) else None
    except GymHttpServerError:  # the environment is elsewhere, and lost
        raise
    except Exception:  # noqa: BLE001 -- an extra of the environment, which it plays well without
        return None


def _items(told: Any) -> list[tuple[Any, Any]]:
    return list(told.items()) if isinstance(told, Mapping) else []


def _names(pressed: Any) -> list[str] | None:
    """Return the names of keys that are pressed together; None if one is unknown."""
    keys = pressed if isinstance(pressed, tuple | list | str) else (pressed,)
    names = [_name(key) for key in keys if key is not None]
    return None if None in names else [name for name in names if name is not None]


def _name(key: Any) -> str | None:
    if isinstance(key, str):
        return key if 0 < len(key) <= MAX_TEXT_CHARS else None
    if not isinstance(key, int):
        return None
    return _NAMES.get(key) or (chr(key) if 32 <= key < 127 else None)
