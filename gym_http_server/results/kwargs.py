"""`KwargsGuard`: keeps code and paths outside the results roots out of `kwargs` and reset `options`.

Environments give their arguments any meaning: Gymnasium's MuJoCo environments open the file `xml_file`, others import
`module:attribute`. So every text, at any depth, names of members included, must not name code, and if it may be a path, the
path must lie in the results roots.
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
from ..support.files import reason
from .roots import MAX_PATH_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from .roots import Roots

Note: TypeAlias = "Callable[[str], None]"
"""Callback that receives each text before its file system lookup."""

CODE: Final = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w./-]*")
"""A text that names code, whether or not the module exists: `module:attribute` or `module:Env-v0`.

For a module that exists any text after the colon counts, because the libraries import the module first.
"""

ENV_ID: Final = re.compile(r"[\w-]+/[\w:.-]+-v\d+")
"""An environment id with a namespace, such as `ALE/Pong-v5`, which looks like a path."""

_SCHEMES: Final = ("http", "https")
"""Schemes of URLs, which are not taken for modules, although Python has a module `http`."""

MAX_TEXTS: Final = 10_000
MAX_PATHS: Final = 1_000
MAX_TOTAL_PATH_CHARACTERS: Final = 200_000
"""Limits of different texts, of texts that look like paths or code, and of the total characters of the latter.
A text takes one file system call (10 µs), a path or module several (300 µs), and each part of a path one more."""


class KwargsGuard:
    """Refuses values that name code, or a path outside the roots.

    Args:
        roots: the results roots.
        imports: the values of `--import` and `--interpreter-import`, whose modules may be named.
    """

    def __init__(self, roots: Roots, imports: tuple[str, ...] = ()) -> None:
        self._roots = roots
        self._modules = {each.rpartition("=")[2].partition(":")[0].strip() for each in imports}

    def check(self, kwargs: dict[str, Any], what: str = "kwargs", note: Note = lambda _: None) -> None:
        """Check values before they are passed to an environment.

        Args:
            kwargs: plain JSON values.
            what: their name in errors.
            note: called with each text.

        Raises:
            InvalidValueError: a text names code or is an impossible path, or there are too many texts.
            ForbiddenDirectoryError: a text names a path outside the results roots.
        """
        seen: set[str] = set()
        paths = path_characters = 0
        for name, value in kwargs.items():
            # Not recursive, because a client may nest values deeply.
            left = [name, value]
            while left:
                part = left.pop()
                # Bytes come from MessagePack; the file system takes them as a path.
                match os.fsdecode(part) if isinstance(part, bytes) else part:
                    case str() as text if text not in seen:
                        seen.add(text)
                        if len(seen) > MAX_TEXTS:
                            raise _too_many(what, MAX_TEXTS, "different texts")
                        if ":" in text or _looks_like_path(text):
                            paths += 1
                            # A longer text cannot be a path and is not resolved.
                            path_characters += min(len(text), MAX_PATH_CHARACTERS)
                        if paths > MAX_PATHS:
                            raise _too_many(what, MAX_PATHS, "texts that look like paths or code")
                        if path_characters > MAX_TOTAL_PATH_CHARACTERS:
                            raise _too_many(
                                what, MAX_TOTAL_PATH_CHARACTERS, "characters of texts that look like paths or code"
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
        exists = len(path) <= MAX_PATH_CHARACTERS and os.path.lexists(path)
        if not is_url and (module := _module_of(text, exists=exists)) is not None:
            if module not in self._modules:
                raise InvalidValueError(
                    f"{what} cannot name code, and {_shown(text)} in {name!r} names the module {module!r}: pass a plain "
                    f"value, or start the server with --import {module}; --interpreter-import NAME={module} if an interpreter has it",
                    kwarg=name,
                )
        elif is_url or exists or (_looks_like_path(path) and not ENV_ID.fullmatch(path)):
            self._check_path(what, name, text, path)

    def _check_path(self, what: str, name: str, text: str, path: str) -> None:
        if len(path) > MAX_PATH_CHARACTERS:  # resolving megabytes would take hours
            raise _impossible(what, name, text, ValueError(f"it has more than {MAX_PATH_CHARACTERS} characters"))
        try:
            resolved = Path(os.path.expanduser(path)).resolve()  # noqa: PTH111 -- Path's refuses unknown users
            os.fsencode(resolved)
        except (ValueError, OSError, RuntimeError) as error:  # NUL, lone surrogate, link loop
            raise _impossible(what, name, text, error) from None
        # An environment may join a relative path to another directory, such as its package's own.
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
            pass  # the constructor reports it
        except OSError as error:  # too long, or a link loop, which CPython 3.13 resolves
            raise _impossible(what, name, text, error) from None


def _module_of(text: str, *, exists: bool) -> str | None:
    """Return the module that a text names, or None.

    Args:
        text: the client's text.
        exists: whether a file of that name exists; then the text names a module only if the module exists, too.
    """
    module, colon, rest = (part.strip() for part in text.partition(":"))
    if not colon or (module in _SCHEMES and rest.startswith("//")):
        return None
    is_code = not exists and CODE.fullmatch(text.strip()[:MAX_PATH_CHARACTERS]) is not None
    return module if is_code or _is_found(module.partition(".")[0]) else None


def _is_found(module: str) -> bool:
    """Return whether a top-level module of that name exists, on the search path or in the working directory."""
    if len(module) > MAX_PATH_CHARACTERS:
        return False
    if module in sys.modules:
        return True
    try:
        return any(
            spec is not None
            for spec in (find_spec(module), PathFinder.find_spec(module, [os.getcwd()]))  # noqa: PTH109
        )
    except (ImportError, ValueError):  # not a valid module name
        return False


def _looks_like_path(text: str) -> bool:
    has_separator = "/" in text or os.sep in text or bool(os.altsep and os.altsep in text)
    return has_separator or text.startswith("~") or text in (os.curdir, os.pardir)


def _impossible(what: str, name: str, text: str, error: Exception) -> InvalidValueError:
    return InvalidValueError(f"{_shown(text)} in {name!r} of {what} can be no path: {reason(error)}", kwarg=name)


def _too_many(what: str, limit: int, texts: str) -> InvalidValueError:
    return InvalidValueError(
        f"{what} hold more than {limit} {texts}, each of which is looked up on the server: pass numbers, fewer texts, or a "
        "file of them under a results root",
        limit=limit,
    )


def _shown(text: str) -> str:
    shown = ascii(text[:201])
    return shown if len(shown) <= 200 else shown[:200] + "…"
