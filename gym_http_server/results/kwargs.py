"""`KwargsGuard`: keeps code and paths outside the results roots out of `kwargs` and reset `options`.

A constructor does with its arguments what it likes: Gymnasium's MuJoCo environments open the file that `xml_file` names,
and others import what is named as `module:attribute`. Which of them means what, only they know; a reset likewise. So every text,
at any depth and as a name too, is held to two rules: none names code, and what may be a path lies in the results roots.
"""

from __future__ import annotations

import os
import re
import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import unwrap, urlsplit
from urllib.request import url2pathname

from ..errors import ForbiddenDirectoryError, InvalidValueError
from .roots import LONGEST_PATH

if TYPE_CHECKING:
    from collections.abc import Callable

    from .roots import Roots

Note: TypeAlias = "Callable[[str], None]"
"""Callback that receives each text before its file system lookup."""

CODE: Final = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w./-]*")
"""A text that names code, whether there is such a module or not: `module:attribute`, or `module:Env-v0`.

What stands behind the colon does not matter where there is one: the libraries import it before they look at the rest.
"""

ENV_ID: Final = re.compile(r"[\w-]+/[\w:.-]+-v\d+")
"""The id of an environment in a namespace, such as `ALE/Pong-v5`, which looks like a path and is none."""

_SCHEMES: Final = ("http", "https")
"""What a URL begins with that is no module's name but for Python's own `http`."""


MAX_TEXTS: Final = 10_000
MAX_PATHS: Final = 1_000
MAX_PATH_CHARACTERS: Final = 200_000
"""How many different texts there may be, and how many of them that look like paths or code, with how many characters in all.
Each text is a question to the file system (10 µs), a path or module several (300 µs), and each part of a path one more."""


class KwargsGuard:
    """Refuses values that name code, or a path outside the roots.

    Args:
        roots: the results roots.
        imports: the modules that the server was started with (`--import`), which may be named.
    """

    def __init__(self, roots: Roots, imports: tuple[str, ...] = ()) -> None:
        self._roots = roots
        self._imports = imports

    def check(self, kwargs: dict[str, Any], what: str = "kwargs", note: Note = lambda _: None) -> None:
        """Refuse what must not be passed on to an environment.

        Args:
            kwargs: plain JSON values.
            what: what to call them.
            note: told of each text.

        Raises:
            InvalidValueError: a text names code, no path can be called like that, or there are too many texts.
            ForbiddenDirectoryError: a text names a path outside the results roots.
        """
        seen: set[str] = set()
        paths = path_characters = 0
        for name, value in kwargs.items():
            # One after the other and not within each other: a client may nest them deep.
            left = [name, value]
            while left:
                part = left.pop()
                # Of MessagePack; the system takes bytes as a path, too.
                match os.fsdecode(part) if isinstance(part, bytes) else part:
                    case str() as text if text not in seen:
                        seen.add(text)
                        if len(seen) > MAX_TEXTS:
                            raise _too_many(what, MAX_TEXTS, "different texts")
                        if _may_lead_elsewhere(text):
                            paths += 1
                            # A long text, which can be no path, is not looked up part by part.
                            path_characters += min(len(text), LONGEST_PATH)
                        if paths > MAX_PATHS:
                            raise _too_many(what, MAX_PATHS, "texts that look like paths or code")
                        if path_characters > MAX_PATH_CHARACTERS:
                            raise _too_many(
                                what, MAX_PATH_CHARACTERS, "characters of texts that look like paths or code"
                            )
                        note(text)
                        self._check_text(what, name, text)
                    case dict() as mapping:
                        left += mapping
                        left += mapping.values()
                    case list() as values:
                        left += values

    def _check_text(self, what: str, name: str, text: str) -> None:
        plain = unwrap(text)
        is_url = plain[:5].lower() == "file:"
        try:
            path = url2pathname(urlsplit(plain).path) if is_url else text
        except ValueError as error:
            raise _impossible(what, name, text, error) from None
        exists = len(path) <= LONGEST_PATH and os.path.lexists(path)
        if not is_url and (module := _module_of(text, exists=exists)) is not None:
            if module not in self._imports:
                raise InvalidValueError(
                    f"{what} cannot name code, and {_shown(text)} in {name!r} names the module {module!r}: pass a plain "
                    f"value, or start the server with --import {module}",
                    kwarg=name,
                )
        elif is_url or exists or (_looks_like_path(path) and not ENV_ID.fullmatch(path)):
            self._check_path(what, name, text, path)

    def _check_path(self, what: str, name: str, text: str, path: str) -> None:
        if len(path) > LONGEST_PATH:  # to resolve one of megabytes takes hours
            raise _impossible(what, name, text, ValueError(f"it has more than {LONGEST_PATH} characters"))
        try:
            resolved = Path(os.path.expanduser(path)).resolve()  # noqa: PTH111 -- Path's refuses unknown users
            os.fsencode(resolved)
        except (ValueError, OSError, RuntimeError) as error:  # NUL or half a character; links in a circle
            raise _impossible(what, name, text, error) from None
        # Who starts elsewhere than in the working directory, such as with a package's own files, would be led out of that.
        leaves = not path.startswith((".", "~")) and os.path.normpath(path).startswith(os.pardir)
        if leaves or not any(resolved.is_relative_to(root) for root in self._roots.paths):
            raise ForbiddenDirectoryError(
                f"{_shown(text)} in {name!r} of {what} is a path outside the results roots "
                f"{', '.join(map(str, self._roots.paths))}: choose one inside, or start the server with --results-root",
                kwarg=name,
                roots=[str(root) for root in self._roots.paths],
            )
        try:
            resolved.stat()
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            # It is for the constructor to find out.
            pass
        except OSError as error:  # links in a circle, for which CPython 3.13 gives a path; too long
            raise _impossible(what, name, text, error) from None


def _module_of(text: str, *, exists: bool) -> str | None:
    """Return the module that a text names, or None where it names none.

    Args:
        text: what a client said.
        exists: whether there is a file of that name, which then is what it means if there is no such module.
    """
    module, colon, rest = (part.strip() for part in text.partition(":"))
    if not colon or (module in _SCHEMES and rest.startswith("//")):
        return None
    is_code = not exists and CODE.fullmatch(text.strip()[:LONGEST_PATH]) is not None
    return module if is_code or _is_found(module.partition(".")[0]) else None


def _is_found(module: str) -> bool:
    """Return whether there is a top-level module of that name, here or where `--import` has them from."""
    if len(module) > LONGEST_PATH:
        return False
    if module in sys.modules:
        return True
    try:
        return any(
            spec is not None
            for spec in (find_spec(module), PathFinder.find_spec(module, [os.getcwd()]))  # noqa: PTH109
        )
    except (ImportError, ValueError):  # no name of a module
        return False


def _may_lead_elsewhere(text: str) -> bool:
    return ":" in text or _looks_like_path(text)


def _looks_like_path(text: str) -> bool:
    has_separator = "/" in text or os.sep in text or bool(os.altsep and os.altsep in text)
    return has_separator or text.startswith("~") or text in (os.curdir, os.pardir)


def _impossible(what: str, name: str, text: str, error: Exception) -> InvalidValueError:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return InvalidValueError(f"{_shown(text)} in {name!r} of {what} can be no path: {why}", kwarg=name)


def _too_many(what: str, limit: int, texts: str) -> InvalidValueError:
    return InvalidValueError(
        f"{what} hold more than {limit} {texts}, each of which is looked up on the server: pass numbers, fewer texts, or a "
        "file of them under a results root",
        limit=limit,
    )


def _shown(text: str) -> str:
    shown = ascii(text[:201])
    return shown if len(shown) <= 200 else shown[:200] + "…"
